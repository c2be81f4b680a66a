"""Scaling: mean loss against size, densities of token losses, curves of single tokens (the paper's section 4)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit

from quanta.errors import QuantaError
from quanta.shapes import Array, Bool, Float

BITS_PER_NAT = 1 / np.log(2)


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
) -> dict[str, Any]:
    """Fits of mean loss against non-embedding parameters, with 90 % intervals by bootstrap over documents.

    `sums` are nats a document and model, `counts` (document,) the predictions in it. Models in `left_out` are not fitted
    (the paper leaves out its largest).

    Raises:
        QuantaError: fewer than two models are left to fit.
    """
    used = [i for i, name in enumerate(names) if name not in left_out]
    if len(used) < 2:
        raise QuantaError("scaling.leave_out", f"{len(used)} models are left", "at least two", "leave out fewer models")
    sizes = np.asarray(sizes, dtype=float)[used]
    mean = sums[used].sum(axis=1) / counts.sum()
    rng = np.random.default_rng([seed, 5])
    weights = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=draws)
    means = (weights @ sums[used].T) / (weights @ counts)[:, None]
    drawn = np.array([power_law(sizes, row) for row in means])
    along = np.geomspace(sizes.min(), sizes.max(), 50)
    band = np.quantile(drawn[:, 1:] * along ** -drawn[:, :1], [0.05, 0.95], axis=0)
    common = {
        "interval_method": f"90 %, {draws} bootstrap draws of documents",
        "points_used": [names[i] for i in used],
        "points_left_out": [name for name in names if name in left_out],
    }
    alpha, scale = power_law(sizes, mean)
    fits: dict[str, Any] = {
        "alpha_n": {
            "value": alpha,
            "interval": _interval(drawn[:, 0]),
            "band_nats": {"parameters": along.tolist(), "low": band[0].tolist(), "high": band[1].tolist()},
            "scale_nats": scale,
            "method": "least squares of log mean loss on log non-embedding parameters",
            **common,
        }
    }
    floor = power_law_with_floor(sizes, mean) if len(used) > 3 else None
    if floor is not None:
        searched = [power_law_with_floor(sizes, row) for row in means[: max(draws // 5, 1)]]
        found = np.array([fit for fit in searched if fit is not None])
        fits["alpha_n_with_irreducible_loss"] = {
            "value": floor[0],
            "interval": _interval(found[:, 0]) if len(found) else None,
            "scale_nats": floor[1],
            "irreducible_nats": floor[2],
            "irreducible_interval_nats": _interval(found[:, 2]) if len(found) else None,
            "method": "least squares of log mean loss on log(E + A·N^−α), E ≥ 0",
            **common,
        }
    return fits


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
    least `drop` nats.
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
        "sharp": int((fell >= 0.8).sum()),
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
