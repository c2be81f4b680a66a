"""What sweeps over sparse-parity nets say: exponents beside the theory's, convergence against frequency, emergence.

Curves come as one table (`quanta.parity.learning_curves`): the held-out loss of every task (bits) at every step measured, for each net of a
sweep. `sweep` is "fresh" (new samples each step; size is the width) or "data" (a fixed training set; size is its samples).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float
from quanta.errors import QuantaError
from quanta.parity.learning_curves import LEARNED_BITS
from quanta.theory import closed_form

# ------------------------------------------------------------------------------------------------ scaling points


def task_losses(curves: pd.DataFrame, nets: pd.DataFrame, resource: str) -> pd.DataFrame:
    """Per-task losses along one resource of one (α, seed): an index of scales, a column for each task.

    parameters: the last step of each net of the fresh sweep; the scale is its parameters. steps: the widest net that did
    not diverge. data: each training set at the step of least mean loss (early stopping). Nets that diverged are left out.
    """
    sound = nets[nets["diverged_step"] < 0]
    sweep = "data" if resource == "data" else "fresh"
    sound = sound[sound["sweep"] == sweep].sort_values("size")
    mine = curves[(curves["sweep"] == sweep) & curves["size"].isin(sound["size"])]
    if mine.empty:
        return pd.DataFrame()
    if resource == "steps":
        widest = mine[mine["size"] == mine["size"].max()]
        wide = widest.pivot(index="step", columns="task", values="loss_bits")
        return wide[wide.index > 0].rename_axis("scale")
    wide = mine.pivot(index=["size", "step"], columns="task", values="loss_bits")
    alpha = float(mine["alpha"].iloc[0])
    mean = wide.to_numpy() @ closed_form.frequencies(alpha, wide.shape[1])
    best = pd.Series(mean, index=wide.index).groupby(level="size")
    places = best.idxmin() if resource == "data" else wide.index.to_frame().groupby(level="size")["step"].max()
    chosen = wide.loc[list(places) if resource == "data" else list(places.items())].droplevel("step")
    if resource == "parameters":
        parameters = sound.set_index("size")["parameters"]
        chosen.index = pd.Index(parameters.loc[chosen.index].to_numpy())
    return chosen.rename_axis("scale")


def resources_of(curves: pd.DataFrame) -> list[str]:
    """The resources that the sweeps of a run vary: parameters and steps, and data if it has that sweep."""
    return ["parameters", "steps", *(["data"] if (curves["sweep"] == "data").any() else [])]


def learned_tasks(losses: Float[Array, "scale task"]) -> Float[Array, " scale"]:
    """How many tasks' worth of loss is gone: Σ (1 − L_i), each between 0 and 1. The n of the theory, measured."""
    return np.asarray(np.clip(1 - np.asarray(losses, dtype=np.float64), 0, 1).sum(axis=1))


def fit_exponent(
    groups: Sequence[pd.DataFrame],
    resource: str,
    alpha: float,
    *,
    loss_range: tuple[float, float],
    scale_range: tuple[float, float] | None,
    draws: int,
    rng: np.random.Generator,
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """Exponent of the mean loss along a resource over all seeds of one α, with the theory's over the very same range.

    `groups` holds a table of `task_losses` for each seed. A scale is used if the mean loss over seeds lies within
    `loss_range` (bits; above it nothing is learned yet, below it the finitely many tasks run out) and, if given, the scale
    within `scale_range`. The interval (90 %) is by bootstrap over seeds and, within each, over tasks.

    `theory_finite` is the slope of the exact sum over K tasks if as many are learned at both ends as were measured there.

    The value is None where fewer than two scales are left.
    """
    n_tasks = groups[0].shape[1]
    frequencies = closed_form.frequencies(alpha, n_tasks)
    scales = sorted(set.intersection(*(set(group.index) for group in groups)))
    stacked = np.stack([group.loc[scales].to_numpy(dtype=np.float64) for group in groups])  # seed, scale, task
    mean = stacked.mean(axis=0) @ frequencies
    use = (mean >= loss_range[0]) & (mean <= loss_range[1])
    if scale_range is not None:
        use &= (np.array(scales) >= scale_range[0]) & (np.array(scales) <= scale_range[1])
    used = np.array(scales, dtype=np.float64)[use]
    result: dict[str, Any] = {
        "resource": resource,
        "alpha": alpha,
        "seeds": len(groups),
        "points_used": used.tolist(),
        "points_left_out": np.array(scales, dtype=np.float64)[~use].tolist(),
        "nets_left_out": list(left_out),
        "loss_range_bits": list(loss_range),
        "theory_asymptotic": closed_form.exponent(resource, alpha),
        "method": "least squares of log mean loss (bits) on log scale",
    }
    if use.sum() < 2:
        return result | dict.fromkeys(("value", "interval", "theory_finite", "learned_tasks"))
    result["value"] = closed_form.fitted_slope(used, mean[use])
    learned = learned_tasks(stacked.mean(axis=0)[use])
    first, last = float(learned.min()), float(learned.max())
    inside = 0 < first < last < n_tasks
    result["learned_tasks"] = [first, last]
    result["theory_finite"] = closed_form.slope_over(first, last, alpha, resource, n_quanta=n_tasks) if inside else None
    slopes = []
    for _ in range(draws):
        seeds = rng.integers(0, len(groups), len(groups))
        total, weight = np.zeros(int(use.sum())), np.zeros(1)
        for seed in seeds:
            count = rng.multinomial(n_tasks, np.full(n_tasks, 1 / n_tasks)) * frequencies
            total, weight = total + stacked[seed][use] @ count, weight + count.sum()
        if (total > 0).all():
            slopes.append(closed_form.fitted_slope(used, total / weight))
    result["interval"] = [float(q) for q in np.quantile(slopes, [0.05, 0.95])] if slopes else None
    result["interval_method"] = f"90 %, {draws} bootstrap draws of seeds and of tasks within each"
    return result


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


def emergence(losses: pd.DataFrame, frequencies: Array) -> pd.DataFrame:
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
    """Slope of log steps to convergence on log frequency (the theory: −1), over tables of `emergence`, one a seed.

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
        return float(np.polyfit(np.log(table["frequency"]), np.log(table["converged_scale"]), 1)[0])

    result["value"] = slope(everything)
    if result["value"] is not None:
        drawn = []
        for _ in range(draws):
            chosen = [points[i] for i in rng.integers(0, len(points), len(points))]
            again = [table.iloc[rng.integers(0, len(table), len(table))] for table in chosen if len(table)]
            found = slope(pd.concat(again)) if again else None
            drawn += [] if found is None else [found]
        result["interval"] = [float(q) for q in np.quantile(drawn, [0.05, 0.95])] if drawn else None
        result["interval_method"] = f"90 %, {draws} bootstrap draws of seeds and of tasks within each"
    return result


def fit_all(
    curves: pd.DataFrame,
    nets: pd.DataFrame,
    *,
    loss_range: tuple[float, float],
    step_range: tuple[float, float] | None,
    draws: int,
    seed: int,
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """All fits of a run. Returns them with a table of points and one of emergence along the three resources.

    Raises:
        QuantaError: no net is left.
    """
    if nets.empty or (nets["diverged_step"] >= 0).all():
        raise QuantaError("parity", "no net that did not diverge", "at least one", "lower parity.learning_rate")
    rng = np.random.default_rng([seed, 6])
    fits: dict[str, Any] = {"exponents": [], "convergence": []}
    points, emerged = [], []
    for alpha, curves_a in curves.groupby("alpha", sort=True):
        nets_a = nets[nets["alpha"] == alpha]
        seeds = sorted(curves_a["seed"].unique())
        frequencies = closed_form.frequencies(float(alpha), int(curves_a["task"].max()))
        for resource in closed_form.RESOURCES:
            kind = "data" if resource == "data" else "fresh"
            groups, tables = [], []
            for number in seeds:
                chosen = nets_a[nets_a["seed"] == number]
                losses = task_losses(curves_a[curves_a["seed"] == number], chosen, resource)
                if losses.empty:
                    continue
                groups.append(losses)
                keys = {"alpha": alpha, "seed": number, "resource": resource}
                table = emergence(losses, frequencies)
                tables.append(table)
                emerged.append(table.assign(**keys))
                points.append(
                    pd.DataFrame(
                        {
                            "scale": losses.index.to_numpy(dtype=np.float64),
                            "loss_bits": losses.to_numpy(dtype=np.float64) @ frequencies,
                            "learned_tasks": learned_tasks(losses.to_numpy()),
                        }
                    ).assign(**keys)
                )
            if not groups:
                continue
            lost = nets_a[(nets_a["sweep"] == kind) & (nets_a["diverged_step"] >= 0)]
            fits["exponents"].append(
                fit_exponent(
                    groups,
                    resource,
                    float(alpha),
                    loss_range=loss_range,
                    scale_range=step_range if resource == "steps" else None,
                    draws=draws,
                    rng=rng,
                    left_out=[
                        f"{row['sweep']}, size {row['size']}, seed {row['seed']}: diverged at step {row['diverged_step']}"
                        for row in lost.to_dict(orient="records")
                    ],
                )
            )
            if resource == "steps":
                sharp = pd.concat(tables)["decades"].dropna()
                fits["convergence"].append(
                    {"alpha": float(alpha)}
                    | fit_convergence(tables, draws=draws, rng=rng)
                    | {
                        "median_decades_of_a_task": float(sharp.median()) if len(sharp) else None,
                        "decades_of_the_mean": mean_curve_decades(groups[0], frequencies),
                    }
                )
    return fits, pd.concat(points, ignore_index=True), pd.concat(emerged, ignore_index=True)


def exponent_table(fits: dict[str, Any]) -> pd.DataFrame:
    """The exponents of `fit_all` as a table: one row an α and resource, with interval, theory and what was used."""
    rows = []
    for fit in fits["exponents"]:
        low, high = fit["interval"] or (None, None)
        first, last = fit["learned_tasks"] or (None, None)
        rows.append(
            {
                "alpha": fit["alpha"],
                "resource": fit["resource"],
                "exponent": fit["value"],
                "low": low,
                "high": high,
                "theory_asymptotic": fit["theory_asymptotic"],
                "theory_finite": fit["theory_finite"],
                "learned_tasks_first": first,
                "learned_tasks_last": last,
                "points_used": len(fit["points_used"]),
                "points_left_out": len(fit["points_left_out"]),
                "nets_left_out": len(fit["nets_left_out"]),
                "seeds": fit["seeds"],
            }
        )
    return pd.DataFrame(rows)


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
