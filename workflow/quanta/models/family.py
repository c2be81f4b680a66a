"""Family: the table of models and steps. `models` makes it; the stages that only read it do not import torch."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

FAMILY_COLUMNS = ("model", "step", "non_embedding_parameters", "revision", "sha256")
# the hub's label of a step is not always the optimiser's count of steps; a commit only where the hub was asked
FURTHER_COLUMNS = ("seed", "optimiser_step", "commit")


def in_order(members: Sequence[Sequence[Any]], family: pd.DataFrame) -> list[tuple[str, int]]:
    """(model, step) pairs in the order of the family's table: by size, then by step."""
    wanted = {(str(model), int(step)) for model, step in members}
    return [pair for pair in zip(family["model"], family["step"].astype(int), strict=True) if pair in wanted]


def between_seeds(mean_loss: pd.DataFrame, family: pd.DataFrame, final_step: int) -> pd.DataFrame:
    """Mean and standard deviation (nats, of the sample) of the mean loss over the seeds of each size.

    Columns non_embedding_parameters, n_seeds, mean_loss_nats, standard_deviation_nats (NaN for a single seed).
    """
    final = family[family["step"] == final_step].merge(
        mean_loss[["model", "step", "mean_loss_nats"]], on=["model", "step"], validate="one_to_one"
    )
    groups = final.groupby("non_embedding_parameters")
    table = (
        groups["mean_loss_nats"].agg(["mean", "std"]).set_axis(["mean_loss_nats", "standard_deviation_nats"], axis=1)
    )
    table.insert(0, "n_seeds", groups["seed"].nunique())
    return table.reset_index()
