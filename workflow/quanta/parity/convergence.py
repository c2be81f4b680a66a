"""When each task is learned, and how its curve falls: convergence times against frequencies."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import ENDS_90, Array, log_log_fit
from quanta.parity.learning_curves import LEARNED_BITS

# ------------------------------------------------------------------------------------------ convergence, emergence


def crossing(scales: Array, losses: Array, level: float) -> float:
    """The scale at which a curve first falls below `level`, interpolated in log scale; NaN if it never does."""
    below = np.flatnonzero(losses < level)
    if not len(below):
        return float("nan")
    i = int(below[0])
    if i == 0:
        return float(scales[0])
    share = (losses[i - 1] - level) / (losses[i - 1] - losses[i])
    return float(np.exp(np.log(scales[i - 1]) + share * np.log(scales[i] / scales[i - 1])))


def drops(losses: pd.DataFrame, frequencies: Array) -> pd.DataFrame:
    """When each task drops, and how sharply, along the scale of a table from `task_losses`.

    Columns: task, frequency, converged_scale (loss below 0.1 bits), half_scale (below 0.5), decades (from 0.9 down to 0.1
    bits, in powers of ten of the scale), final_bits. NaN where the curve does not get there.
    """
    scales = losses.index.to_numpy(dtype=np.float64)
    rows = []
    for task, curve in losses.items():
        values = curve.to_numpy(dtype=np.float64)
        marks = {level: crossing(scales, values, level) for level in (0.9, 0.5, LEARNED_BITS)}
        rows.append(
            {
                "task": int(str(task)),
                "frequency": float(frequencies[int(str(task)) - 1]),
                "converged_scale": marks[LEARNED_BITS],
                "half_scale": marks[0.5],
                "decades": float(np.log10(marks[LEARNED_BITS] / marks[0.9])),
                "final_bits": float(values[-1]),
            }
        )
    return pd.DataFrame(rows)


def mean_curve_decades(losses: pd.DataFrame, frequencies: Array) -> float | None:
    """Powers of ten of the scale in which the mean loss falls from 0.9 to 0.1 bits: the smooth curve that tasks add up to."""
    scales, mean = losses.index.to_numpy(dtype=np.float64), losses.to_numpy(dtype=np.float64) @ frequencies
    width = float(np.log10(crossing(scales, mean, LEARNED_BITS) / crossing(scales, mean, 0.9)))
    return width if np.isfinite(width) else None


def fit_convergence(tables: Sequence[pd.DataFrame], *, draws: int, rng: np.random.Generator) -> dict[str, Any]:
    """Slope of log steps to convergence on log frequency (the theory: −1), over tables of `drops`, one a seed.

    Tasks that do not converge are left out and counted; this bends the slope up, because they are the slow ones. The
    interval (90 %) is by bootstrap over seeds and tasks.
    """
    points = [table.dropna(subset=["converged_scale"]) for table in tables]
    everything = pd.concat(points)
    result: dict[str, Any] = {
        "tasks_used": len(everything),
        "tasks_left_out": int(sum(len(table) for table in tables) - len(everything)),
        "theory": -1.0,
        "method": "least squares of log steps to a loss below 0.1 bits on log frequency",
        "value": None,
        "interval": None,
    }

    def slope(table: pd.DataFrame) -> float | None:
        if table["frequency"].nunique() < 2:
            return None
        return float(log_log_fit(table["frequency"], table["converged_scale"])[0])

    result["value"] = slope(everything)
    if result["value"] is not None:
        drawn = []
        for _ in range(draws):
            chosen = [points[i] for i in rng.integers(0, len(points), len(points))]
            again = [table.iloc[rng.integers(0, len(table), len(table))] for table in chosen if len(table)]
            found = slope(pd.concat(again)) if again else None
            drawn += [] if found is None else [found]
        result["interval"] = [float(q) for q in np.quantile(drawn, ENDS_90)] if drawn else None
        result["interval_method"] = f"90 %, {draws} bootstrap draws of seeds and of tasks within each"
    return result


def convergence_table(fits: dict[str, Any]) -> pd.DataFrame:
    """Steps to convergence against frequency as a table: one row an α, with the slope's interval and what was used."""
    rows = []
    for fit in fits["convergence"]:
        low, high = fit["interval"] or (None, None)
        rows.append(
            {
                "alpha": fit["alpha"],
                "slope": fit["value"],
                "low": low,
                "high": high,
                "theory": fit["theory"],
                "tasks_used": fit["tasks_used"],
                "tasks_left_out": fit["tasks_left_out"],
                "median_decades_of_a_task": fit["median_decades_of_a_task"],
                "decades_of_the_mean": fit["decades_of_the_mean"],
            }
        )
    return pd.DataFrame(rows)
