"""Mean loss against size: power laws, with and without a floor, and their intervals (the paper's section 4)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import curve_fit
from scipy.stats import norm

from quanta.arrays import ENDS_90, Array, Float, Int, log_log_fit
from quanta.corpus import resampling
from quanta.streams import Purpose, generator

# ------------------------------------------------------------------------------------------------ mean loss


def power_law(sizes: Array, losses: Array) -> tuple[float, float]:
    """(α, A) of L = A·N^−α by least squares in log-log, as the paper fits it."""
    gradient, constant = log_log_fit(sizes, losses)
    return float(-gradient), float(np.exp(constant))


def power_law_with_floor(sizes: Array, losses: Array) -> tuple[float, float, float] | None:
    """(α, A, E) of L = E + A·N^−α with E ≥ 0, least squares of log L; None where the search does not converge."""

    def model(n: Array, alpha: float, log_a: float, floor: float) -> Array:
        return np.asarray(np.log(floor + np.exp(log_a) * n**-alpha))

    best = None
    for share in (0.0, 0.5, 0.9):
        floor = share * losses.min()
        alpha, scale = power_law(sizes, losses - floor)
        try:
            fit, _ = curve_fit(
                model,
                sizes.astype(float),
                np.log(losses),
                p0=(min(max(alpha, 1e-3), 4.9), np.log(scale), floor),
                bounds=([1e-4, -20, 0], [5, 60, losses.min()]),
                max_nfev=2000,
            )
        except (RuntimeError, ValueError):
            continue
        error = float(np.sum((model(sizes, *fit) - np.log(losses)) ** 2))
        if best is None or error < best[0]:
            best = (error, (float(fit[0]), float(np.exp(fit[1])), float(fit[2])))
    return best[1] if best else None


def fit_mean_loss(
    names: Sequence[str],
    sizes: Array,
    sums: Float[Array, "model document"],
    counts: Array,
    *,
    left_out: Sequence[str],
    draws: int,
    seed: int,
    groups: Int[Array, " document"] | None = None,
) -> dict[str, Any]:
    """Fits of mean loss against non-embedding parameters, one point a size, with 90 % intervals.

    `sums` are nats a document and model, `counts` (document,) the predictions in it, `groups` the text that each document is a
    piece of (`resampling`). Models in `left_out` are not fitted (the paper leaves out its largest).

    A size that was trained with several seeds is one point, the mean over them: else sizes that are cheap to repeat would weigh
    more. The interval is of the test set, drawn anew by whole texts, and of the seed: each point is moved as another training
    would move it, by the deviation of log loss that the repeated sizes show, pooled, and uncertain itself by its degrees of
    freedom. It is taken to be that of all sizes. Without a repeated size the seed is left out, and `interval_method` says so.
    Which sizes were trained is a choice, too: where the jackknife over sizes (`sizes_left_out`) has a larger variance than test
    set and seed, as a bend makes, the interval has that one.

    `bend` holds the slope at the smallest and at the largest size of a parabola in log-log, and whether a straight line is
    refused at 5 %: then there is no single power law over these sizes, and α_N is an average of local ones.

    Values are None where fewer than two sizes are left to fit.
    """
    used = [i for i, name in enumerate(names) if name not in left_out]
    points, size_of = np.unique(np.asarray(sizes, dtype=float)[used], return_inverse=True)
    seeds = np.bincount(size_of)
    common: dict[str, Any] = {
        "points_used": [names[i] for i in used],
        "points_left_out": [name for name in names if name in left_out],
        "n_sizes": len(points),
    }
    if len(points) < 2:
        why = f"{len(points)} size is left to fit, a power law needs two"
        return {"alpha_n": {"value": None, "interval": None, "why": why} | common}
    to_points = (size_of == np.arange(len(points))[:, None]) / seeds[:, None]
    text = resampling.numbered(groups, len(counts))
    of_text = np.array([np.bincount(text, row) for row in sums[used]])
    n_of_text = np.bincount(text, counts)
    each = of_text.sum(axis=1) / n_of_text.sum()
    mean = to_points @ each
    rng = generator(seed, Purpose.MEAN_LOSS_BOOTSTRAP)
    weights = resampling.weights(len(n_of_text), draws, rng)
    means = (weights @ of_text.T) / (weights @ n_of_text)[:, None] @ to_points.T
    deviation, freedom = seed_deviation(each, size_of)
    moved = means
    if deviation is not None:
        spread = deviation * np.sqrt(freedom / rng.chisquare(freedom, draws))
        apart = spread[:, None] * rng.standard_normal(means.shape) / np.sqrt(seeds)
        moved = means * np.exp(np.clip(apart, -50, 50))  # a single degree of freedom knows no bounds
    of = "the test set and of the seed" if deviation is not None else "the test set alone, no size has several seeds"
    common |= {
        "interval_method": f"90 %, {draws} bootstrap draws of {resampling.UNIT}: of {of}",
        "seed_deviation": None
        if deviation is None
        else {"of_log_loss": deviation, "degrees_of_freedom": freedom, "seeds_of_each_size": seeds.tolist()},
    }
    fitted = _power_laws(points, moved)
    of_seeds = fitted[:, 0]
    left_out_one, error = _jackknife(points, mean)
    excess = float(np.sqrt(max(error**2 - of_seeds.var(ddof=1), 0.0)))
    if excess:
        common["interval_method"] += ", and of the sizes, by the jackknife, where it is more"
    along = np.geomspace(points.min(), points.max(), 50)
    band = np.quantile(_curves(fitted, along), ENDS_90, axis=0)
    alpha, scale = power_law(points, mean)
    fits: dict[str, Any] = {
        "alpha_n": {
            "value": alpha,
            "interval": _interval(of_seeds + excess * rng.standard_normal(draws)),
            "interval_of_test_set": _interval(_power_laws(points, means)[:, 0]),
            "interval_of_test_set_and_seed": _interval(of_seeds),
            "sizes_left_out": [
                {"parameters": float(size), "value": value} for size, value in zip(points, left_out_one, strict=True)
            ],
            "bend": bend(points, mean, moved),
            "band_nats": {"parameters": along.tolist(), "low": band[0].tolist(), "high": band[1].tolist()},
            "scale_nats": scale,
            "method": "least squares of log mean loss on log non-embedding parameters, one point a size: the mean over its seeds",
            **common,
        }
    }
    floor = _with_floor(points, mean, moved)
    if floor is not None:
        fits["alpha_n_with_irreducible_loss"] = floor | common
    return fits


def _with_floor(
    points: Float[Array, " size"], mean: Float[Array, " size"], moved: Float[Array, "draw size"]
) -> dict[str, Any] | None:
    """The fit with an irreducible loss, its intervals from a fifth of the draws; None for fewer than four sizes, or without a fit."""
    floor = power_law_with_floor(points, mean) if len(points) > 3 else None
    if floor is None:
        return None
    searched = [power_law_with_floor(points, row) for row in moved[: max(len(moved) // 5, 1)]]
    found = np.array([fit for fit in searched if fit is not None])
    return {
        "value": floor[0],
        "interval": _interval(found[:, 0]) if len(found) else None,
        "scale_nats": floor[1],
        "irreducible_nats": floor[2],
        "irreducible_interval_nats": _interval(found[:, 2]) if len(found) else None,
        "method": "least squares of log mean loss on log(E + A·N^−α), E ≥ 0, one point a size",
    }


def _power_laws(sizes: Array, losses: Float[Array, "draw size"]) -> Float[Array, "draw 2"]:
    """`power_law` of each row."""
    gradient, constant = log_log_fit(sizes, losses.T)
    return np.stack([-gradient, np.exp(constant)], axis=1)


def _curves(fits: Float[Array, "draw 2"], sizes: Float[Array, " size"]) -> Float[Array, "draw size"]:
    """The power law of each row of `_power_laws` at some sizes."""
    return np.asarray(fits[:, 1:] * sizes ** -fits[:, :1])


def _jackknife(sizes: Float[Array, " size"], losses: Float[Array, " size"]) -> tuple[list[float], float]:
    """α without each size in turn, and the jackknife's standard error; none and 0 for fewer than three sizes."""
    n = len(sizes)
    if n < 3:
        return [power_law(sizes, losses)[0]] * n, 0.0
    values = [power_law(np.delete(sizes, i), np.delete(losses, i))[0] for i in range(n)]
    return values, float(np.sqrt((n - 1) ** 2 / n) * np.std(values, ddof=1))


def bend(
    sizes: Float[Array, " size"], losses: Float[Array, " size"], draws: Float[Array, "draw size"]
) -> dict[str, Any] | None:
    """How far log loss over log size is from a straight line: a parabola's −slope at both ends, and its curvature.

    The test is of the curvature against its deviation over `draws`, which move the losses as another test set and, where some
    size has several seeds, another training would. None for fewer than four sizes, through three of which any parabola goes.

    Returns:
        curvature (of log loss, a natural unit of log size squared), standard_error, p_value (two-sided, normal),
        alpha_at_smallest, alpha_at_largest, single_power_law (False where a straight line is refused at 5 %).
    """
    if len(sizes) < 4:
        return None
    x = np.log(sizes)
    curvature, slope, _ = np.polyfit(x, np.log(losses), 2)
    error = float(np.polyfit(x, np.log(draws).T, 2)[0].std(ddof=1))
    p_value = float(2 * norm.sf(abs(curvature) / error)) if error else 0.0
    return {
        "curvature": float(curvature),
        "standard_error": error,
        "p_value": p_value,
        "alpha_at_smallest": float(-slope - 2 * curvature * x[0]),
        "alpha_at_largest": float(-slope - 2 * curvature * x[-1]),
        "single_power_law": p_value >= 0.05,
    }


def seed_deviation(losses: Float[Array, " model"], size_of: Int[Array, " model"]) -> tuple[float | None, int]:
    """(deviation of log mean loss between seeds of one size, pooled over sizes; its degrees of freedom).

    None without a size that has several models.
    """
    logs = np.log(losses)
    number = np.bincount(size_of)
    freedom = int((number - 1).sum())
    if freedom < 1:
        return None, 0
    apart = logs - (np.bincount(size_of, logs) / number)[size_of]
    return float(np.sqrt((apart**2).sum() / freedom)), freedom


def _interval(draws: Array) -> list[float]:
    return [float(q) for q in np.quantile(draws, ENDS_90)]
