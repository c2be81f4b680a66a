"""Losses of single tokens over size or steps: densities, monogenic and polygenic curves, sharp drops (section 4)."""

from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import BITS_PER_NAT, Array, Bool, Float

SHARP = (0.8, 1.1)  # share of the whole fall in one step; more of it means that the curve rises elsewhere


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
