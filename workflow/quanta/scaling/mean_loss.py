"""Scaling: mean loss against size, densities of token losses, curves of single tokens (the paper's section 4)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from quanta.arrays import Array, Bool, Float, Int
from quanta.corpus import resampling

BITS_PER_NAT = 1 / np.log(2)
SHARP = (0.8, 1.1)  # share of the whole fall in one step; more of it means that the curve rises elsewhere


# ------------------------------------------------------------------------------------------------ mean loss


def power_law(sizes: Array, losses: Array) -> tuple[float, float]:
    """(α, A) of L = A·N^−α by least squares in log-log, as the paper fits it."""
    gradient, constant = np.polyfit(np.log(sizes), np.log(losses), 1)
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
    freedom. It is taken to be that of all sizes. Without a repeated size the interval is of the test set alone, and says so.

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
    rng = np.random.default_rng([seed, 5])
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
    drawn = _power_laws(points, moved)
    along = np.geomspace(points.min(), points.max(), 50)
    band = np.quantile(drawn[:, 1:] * along ** -drawn[:, :1], [0.05, 0.95], axis=0)
    alpha, scale = power_law(points, mean)
    fits: dict[str, Any] = {
        "alpha_n": {
            "value": alpha,
            "interval": _interval(drawn[:, 0]),
            "interval_of_test_set": _interval(_power_laws(points, means)[:, 0]),
            "band_nats": {"parameters": along.tolist(), "low": band[0].tolist(), "high": band[1].tolist()},
            "scale_nats": scale,
            "method": "least squares of log mean loss on log non-embedding parameters, one point a size: the mean over its seeds",
            **common,
        }
    }
    floor = power_law_with_floor(points, mean) if len(points) > 3 else None
    if floor is not None:
        searched = [power_law_with_floor(points, row) for row in moved[: max(draws // 5, 1)]]
        found = np.array([fit for fit in searched if fit is not None])
        fits["alpha_n_with_irreducible_loss"] = {
            "value": floor[0],
            "interval": _interval(found[:, 0]) if len(found) else None,
            "scale_nats": floor[1],
            "irreducible_nats": floor[2],
            "irreducible_interval_nats": _interval(found[:, 2]) if len(found) else None,
            "method": "least squares of log mean loss on log(E + A·N^−α), E ≥ 0, one point a size",
            **common,
        }
    return fits


def _power_laws(sizes: Array, losses: Float[Array, "draw size"]) -> Float[Array, "draw 2"]:
    """`power_law` of each row."""
    gradient, constant = np.polyfit(np.log(sizes), np.log(losses).T, 1)
    return np.stack([-gradient, np.exp(constant)], axis=1)


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
    return [float(q) for q in np.quantile(draws, [0.05, 0.95])]


# ------------------------------------------------------------------------------------------------- densities


def density(losses: Array, *, bins: int, limit_bits: float) -> tuple[Float[Array, " bin"], Float[Array, " bin"]]:
    """Centres of bins in bits, and the probability density p(L) per bit; losses beyond the limit are in the last bin."""
    bits = np.minimum(losses * BITS_PER_NAT, np.nextafter(np.float32(limit_bits), np.float32(0)))
    counts, edges = np.histogram(bits, bins=bins, range=(0, limit_bits))
    return (edges[:-1] + edges[1:]) / 2, counts / (len(losses) * np.diff(edges))


# --------------------------------------------------------------------------------------------- single tokens


def largest_drop_share(curves: Float[Array, "scale token"]) -> tuple[Float[Array, " token"], Float[Array, " token"]]:
    """(total drop in nats from the first scale to the last, share of it in the largest single step).

    The share is 1 where all of the drop falls in one step, 1/(scales − 1) where it is even, above 1 where the curve
    rises elsewhere; NaN where there is no drop. It is free of scale, unlike `monogenic`.
    """
    curves = np.asarray(curves, dtype=np.float64)
    total = curves[0] - curves[-1]
    largest = (curves[:-1] - curves[1:]).max(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return total, np.where(total > 0, largest / total, np.nan)


def sharp(share: Float[Array, " token"]) -> Bool[Array, " token"]:
    """80 % of the fall or more in one step, and no rise elsewhere of more than 10 % of it."""
    return np.asarray((share >= SHARP[0]) & (share <= SHARP[1]))


def monogenic(curves: Float[Array, "scale token"], above: float, below: float) -> Bool[Array, " token"]:
    """Above `above` nats at every scale before some scale j and below `below` nats from j on (the paper: 5 and 0.3).

    Both plateaus have at least one scale.
    """
    found = np.zeros(curves.shape[1], dtype=bool)
    for j in range(1, len(curves)):
        found |= (curves[:j] > above).all(axis=0) & (curves[j:] < below).all(axis=0)
    return found


def polygenic(curves: Float[Array, "scale token"], drop: float, share: float) -> Bool[Array, " token"]:
    """A smooth decline: falls at every step, by `drop` nats in all, no step with more than `share` of it."""
    total, largest = largest_drop_share(curves)
    return np.asarray((np.diff(curves, axis=0) < 0).all(axis=0) & (total >= drop) & (largest <= share))


def token_curves(
    curves: Float[Array, "scale token"], *, above: float, below: float, drop: float, share: float
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Classify every prediction; one row each of total_drop_nats, largest_drop_share, monogenic, polygenic.

    The counts say how many predictions are in each class, and the distribution of the share over those that fall by at
    least `drop` nats: how many of these fall sharply (`sharp`), and how many rise elsewhere by over 10 % of the fall
    (`not_monotone`), whose share says nothing of sharpness.
    """
    total, largest = largest_drop_share(curves)
    table = pd.DataFrame(
        {
            "total_drop_nats": total.astype(np.float32),
            "largest_drop_share": largest.astype(np.float32),
            "monogenic": monogenic(curves, above, below),
            "polygenic": polygenic(curves, drop, share),
        }
    )
    fell = table.loc[table["total_drop_nats"] >= drop, "largest_drop_share"].to_numpy()
    counts = {
        "predictions": len(table),
        "fell": len(fell),
        "fall_nats": drop,
        "monogenic": int(table["monogenic"].sum()),
        "polygenic": int(table["polygenic"].sum()),
        "largest_drop_share_quartiles": [float(q) for q in np.quantile(fell, [0.25, 0.5, 0.75])] if len(fell) else None,
        "sharp": int(sharp(fell).sum()),
        "not_monotone": int((fell > SHARP[1]).sum()),
    }
    return table, counts


def examples(table: pd.DataFrame, ids: Array, number: int, *, drop: float) -> tuple[list[int], list[int]]:
    """Flat indices of tokens to show: the sharpest falls and the smoothest, the deepest first, each token id once.

    Sharp ones are monogenic; where these are too few, those with at least 85 % of their fall in one step and little rise
    elsewhere. `table` has the columns of `token_curves` and `index`.
    """
    fallen = table[table["total_drop_nats"] >= drop]
    nearly = fallen["largest_drop_share"].between(0.85, 1.1) & ~fallen["monogenic"]
    chosen = []
    for groups in ((fallen[fallen["monogenic"]], fallen[nearly]), (fallen[fallen["polygenic"]],)):
        deepest = [part.sort_values("total_drop_nats", ascending=False, kind="stable") for part in groups]
        index = pd.concat(deepest)["index"].astype(int)
        chosen.append(index[~pd.Series(ids[index], index=index.index).duplicated()].tolist()[:number])
    return chosen[0], chosen[1]
