"""Exponents that others have published, against what the theory predicts of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import Array, Bool
from quanta.errors import QuantaError
from quanta.storage import files
from quanta.theory import closed_form

# ---------------------------------------------------------------------------------------------- published exponents

PUBLISHED = Path(__file__).parents[2] / "data" / "published_exponents.csv"
PUBLISHED_COLUMNS = ("source", "task", "alpha_n", "alpha_d")


def read_exponents(*paths: str | Path) -> pd.DataFrame:
    """Published pairs (α_N, α_D) from one or more tables; `file` says which one a row is from.

    Raises:
        QuantaError: a table lacks a column, or an exponent is not a positive number; the row is named.
    """
    tables = []
    for path in paths:
        table = files.read_table(path, PUBLISHED_COLUMNS)
        for column in ("alpha_n", "alpha_d"):
            values = pd.to_numeric(table[column], errors="coerce")
            wrong = np.flatnonzero(~(values.to_numpy() > 0))
            if len(wrong):
                raise QuantaError(
                    f"{path}, row {wrong[0] + 1}",
                    f"{column} = {table[column].iloc[wrong[0]]}",
                    "a positive number, the exponent without its minus sign",
                    "fix the row",
                )
            table[column] = values
        tables.append(table.assign(file=Path(path).name))
    return pd.concat(tables, ignore_index=True)


def residuals(table: pd.DataFrame, factor: float = 1.5) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Published α_D against α_N/(α_N+1): columns predicted_alpha_d, log_ratio, within; and counts.

    `within` says whether measured and predicted lie within `factor` of each other. The counts hold the geometric mean of
    measured over predicted and the same count for two null models: α_D = α_N, and α_D their common mean.
    """
    predicted = closed_form.data_exponent(table["alpha_n"].to_numpy())
    measured = table["alpha_d"].to_numpy(dtype=np.float64)

    def near(other: Array | float) -> Bool[Array, " row"]:
        return np.asarray(np.abs(np.log(measured / other)) <= np.log(factor))

    out = table.assign(predicted_alpha_d=predicted, log_ratio=np.log(measured / predicted), within=near(predicted))
    counts = {
        "pairs": len(table),
        "factor": factor,
        "within_factor": int(near(predicted).sum()),
        "within_factor_if_equal": int(near(table["alpha_n"].to_numpy(dtype=np.float64)).sum()),
        "within_factor_if_constant": int(near(float(np.exp(np.log(measured).mean()))).sum()),
        "geometric_mean_of_measured_over_predicted": float(np.exp(np.log(measured / predicted).mean())),
    }
    return out, counts
