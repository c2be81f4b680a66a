"""Scaling exponents of sweeps over sparse-parity nets, beside the theory's.

Curves come as one table (`quanta.parity.learning_curves`): the held-out loss of every task (bits) at every step measured, for each net of a
sweep. `sweep` is "fresh" (new samples each step; size is the width) or "data" (a fixed training set; size is its samples).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import ENDS_90
from quanta.errors import QuantaError
from quanta.parity import convergence, learning_curves
from quanta.streams import Purpose, generator
from quanta.theory import closed_form


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
    learned = learning_curves.learned_tasks(stacked.mean(axis=0)[use])
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
    result["interval"] = [float(q) for q in np.quantile(slopes, ENDS_90)] if slopes else None
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
    rng = generator(seed, Purpose.PARITY_EXPONENT_BOOTSTRAP)
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
                losses = learning_curves.task_losses(curves_a[curves_a["seed"] == number], chosen, resource)
                if losses.empty:
                    continue
                groups.append(losses)
                keys = {"alpha": alpha, "seed": number, "resource": resource}
                table = convergence.drops(losses, frequencies)
                tables.append(table)
                emerged.append(table.assign(**keys))
                points.append(
                    pd.DataFrame(
                        {
                            "scale": losses.index.to_numpy(dtype=np.float64),
                            "loss_bits": losses.to_numpy(dtype=np.float64) @ frequencies,
                            "learned_tasks": learning_curves.learned_tasks(losses.to_numpy()),
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
                    | convergence.fit_convergence(tables, draws=draws, rng=rng)
                    | {
                        "median_decades_of_a_task": float(sharp.median()) if len(sharp) else None,
                        "decades_of_the_mean": convergence.mean_curve_decades(groups[0], frequencies),
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
