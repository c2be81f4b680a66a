"""Estimators of α beside the calibrated one, and how well each of them resolves α in the simulations."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import ERRORS_90
from quanta.calibration.simulations import GRAPHS, THRESHOLDS
from quanta.rank_frequency import collisions

QUANTA = 100_000.0  # K of the estimators that need one: more than any clustering tells apart


def simple_estimates(found: Mapping[str, float], *, level: float = ERRORS_90) -> dict[str, dict[str, Any]]:
    """α by each estimator that needs no simulation, from one set of summaries; with an interval where it has one of its own.

    The interval of a collision estimate is that of its U-statistic (`collisions.standard_error`).

    Returns:
        by name: value, low, high (the last two None without an interval).
    """

    def collisions_of(log_pairs: float, error: float) -> dict[str, Any]:
        pair = 10**log_pairs
        return {
            "value": collisions.invert(pair, QUANTA),
            "low": collisions.invert(max(pair - level * error, 0), QUANTA),
            "high": collisions.invert(pair + level * error, QUANTA),
        }

    def bare(value: float) -> dict[str, Any]:
        return {"value": value, "low": None, "high": None}

    estimates = {"pairs above 6 deviations": bare(collisions.invert(10 ** found["above_6_sd"], QUANTA))}
    estimates["pairs, mixture"] = bare(collisions.invert(10 ** found["excess"], QUANTA))
    for t in THRESHOLDS:
        estimates[f"pairs above {t}"] = collisions_of(found[f"pairs_{t}"], found[f"error_{t}"])
        triple = 10 ** (found[f"triples_{t}"] + 1.5 * found[f"pairs_{t}"])
        estimates[f"triples above {t}"] = bare(collisions.invert(triple, QUANTA, 3))
    for t in GRAPHS:
        estimates[f"degrees above {t}"] = bare(found[f"degree_law_{t}"])
        growth = found[f"growth_{t}"]
        # Heaps' law: the number of quanta seen grows as N^(1/(1+α))
        estimates[f"growth of components, {t}"] = bare(1 / max(growth, 0.2) - 1)
        estimates[f"pairs after projection, {t}"] = collisions_of(
            found[f"denoised_pairs_{t}"], found[f"error_denoised_{t}"]
        )
        estimates[f"degrees after projection, {t}"] = bare(found[f"denoised_degree_law_{t}"])
    return estimates


def compare_estimators(simulations: pd.DataFrame, posterior: pd.DataFrame) -> pd.DataFrame:
    """Every estimator on the same held-out simulations; `posterior` is `Calibration.coverage` of them.

    Returns:
        estimator, bias, sd (of the error), rmse, coverage and width of its own 90 % interval (NaN without one), n.
    """
    rows: dict[str, list[tuple[float, float, float, float]]] = {}
    for record in simulations.to_dict(orient="records"):
        alpha = record["planted_alpha"]
        for name, e in simple_estimates(record).items():
            low, high = (np.nan, np.nan) if e["low"] is None else (e["low"], e["high"])
            rows.setdefault(name, []).append((alpha, e["value"], low, high))
    rows["calibrated"] = list(posterior[["alpha", "value", "low", "high"]].itertuples(index=False, name=None))
    found = []
    for name, values in rows.items():
        alpha, value, low, high = np.array(values, dtype=np.float64).T
        error = value - alpha
        own = np.isfinite(low)
        found.append(
            {
                "estimator": name,
                "bias": error.mean(),
                "sd": error.std(),
                "rmse": np.sqrt((error**2).mean()),
                "coverage": ((low <= alpha) & (alpha <= high))[own].mean() if own.any() else np.nan,
                "width": (high - low)[own].mean() if own.any() else np.nan,
                "n": len(alpha),
            }
        )
    return pd.DataFrame(found).sort_values("rmse", kind="stable", ignore_index=True)


def best_resolution(simulations: pd.DataFrame, value: float, share: float = 0.25) -> float:
    """The cosine threshold whose collisions err least on the simulations with α nearest to `value`."""
    near = simulations.iloc[
        np.argsort(np.abs(simulations["planted_alpha"].to_numpy() - value), kind="stable")[
            : max(int(share * len(simulations)), 20)
        ]
    ]
    errors = {}
    for t in THRESHOLDS:
        found = np.array([collisions.invert(10**p, QUANTA) for p in near[f"pairs_{t}"]])
        errors[t] = float(((found - near["planted_alpha"]) ** 2).mean())
    return min(errors, key=lambda t: errors[t])
