"""When the tokens of a cluster are learned, over the sizes of models or the steps of one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binom

from quanta.arrays import ENDS_90, Array, Float, Int
from quanta.clustering import membership
from quanta.errors import QuantaError


@dataclass(frozen=True)
class Reference:
    """A loss that a token's loss is compared with to say when the token is learned."""

    name: str  # in qdg/learned.csv and qdg/learned.json
    meaning: str  # as the page explains it


UNTRAINED = Reference("untrained", "its loss is half of the untrained model's")
ONE_HALF = Reference("one half", "its target has the probability ½, a loss of ln 2 = 0.69 nats")
UNIGRAM = Reference("unigram", "its loss is half of what the target's frequency alone gives")
ONE_HALF_NATS = 2 * np.log(2)  # half of it is the loss of a target that has the probability ½


def halving(
    curves: Float[Array, "point token"], at: Float[Array, " point"], initial: Float[Array, " token"] | float
) -> Float[Array, " token"]:
    """Where along an axis each token's loss first is at half of `initial` (nats) or below.

    Between two points it is interpolated, linearly in loss and in the logarithm of the axis; a step 0 stands at 1 there.
    The first point itself where the loss is there already, infinite where it never is.

    Raises:
        QuantaError: fewer than two points, or they do not rise.
    """
    at = np.maximum(np.asarray(at, dtype=np.float64), 1)
    if len(at) < 2 or (np.diff(at) <= 0).any():
        raise QuantaError(
            "axis of learning", f"points {at.tolist()}", "at least two, rising", "give other steps or sizes"
        )
    curves = np.asarray(curves, dtype=np.float64)
    half = np.broadcast_to(np.asarray(initial, dtype=np.float64) / 2, curves.shape[1:])
    below = curves <= half
    first = below.argmax(axis=0)
    before, token = np.maximum(first - 1, 0), np.arange(curves.shape[1])
    high, low = curves[before, token], curves[first, token]
    share = np.divide(high - half, high - low, out=np.zeros(len(token)), where=first > 0)
    found = np.exp(np.log(at)[before] + share * (np.log(at)[first] - np.log(at)[before]))
    found[first == 0] = at[0]
    return np.asarray(np.where(below.any(axis=0), found, np.inf))


def median(places: Float[Array, " token"]) -> tuple[float, float, float]:
    """(median, low, high) of places that may be infinite, which is to say censored at the end of the axis.

    All are censored at the same place, so that Kaplan and Meier's median is the ⌈n/2⌉-th of n: infinite if more than half are.
    Low and high are the 5 % and 95 % quantiles of its bootstrap over tokens, in closed form (Efron 1979): the chance that the
    m-th smallest of a resample is at most the i-th smallest of the sample is that of at least m of n draws among the first i.
    """
    ordered = np.sort(np.asarray(places, dtype=np.float64))
    n = len(ordered)
    middle = (n + 1) // 2
    chance = binom.sf(middle - 1, n, np.arange(1, n + 1) / n)
    low, high = (float(ordered[min(int(np.searchsorted(chance, q)), n - 1)]) for q in ENDS_90)
    return float(ordered[middle - 1]), low, high


def learned(labels: pd.DataFrame, places: Mapping[tuple[str, str], Float[Array, " token"]]) -> pd.DataFrame:
    """Where every cluster of every clustering is learned.

    `places` are those of the tokens for each (axis, reference), as `halving` gives them.

    Returns:
        columns n_clusters, label, rank (by size), size (tokens), axis, reference, learned, low, high (infinite: not within the
        axis), share_learned (of its tokens, within the axis).
    """
    rows = []
    for k in np.unique(labels["n_clusters"]):
        own = membership.at(labels, int(k))
        size = np.bincount(own)
        order = np.argsort(own, kind="stable")
        rank = np.empty(len(size), dtype=int)
        rank[np.argsort(-size, kind="stable")] = np.arange(1, len(size) + 1)
        for (axis, reference), values in places.items():
            for label, part in enumerate(np.split(np.asarray(values)[order], np.cumsum(size)[:-1])):
                middle, low, high = median(part) if len(part) else (np.nan, np.nan, np.nan)
                share = float(np.isfinite(part).mean()) if len(part) else np.nan
                rows.append((int(k), label, rank[label], size[label], axis, reference, middle, low, high, share))
    columns = ["n_clusters", "label", "rank", "size", "axis", "reference", "learned", "low", "high", "share_learned"]
    return pd.DataFrame(rows, columns=columns).astype({"n_clusters": "int32", "label": "int32"})


def by_fall(mean: Float[Array, "cluster member"]) -> Int[Array, " cluster"]:
    """Order of clusters by where along an axis their mean loss has fallen half of its way, the earliest first.

    Between members the crossing is interpolated, so that clusters of one step have an order.
    """
    middle = (mean.max(axis=1) + mean.min(axis=1)) / 2
    places = []
    for curve, level in zip(mean, middle, strict=True):
        below = np.flatnonzero(curve <= level)
        below = below[below > int(curve.argmax())]
        last = int(below[0]) if len(below) else len(curve) - 1
        drop = curve[last - 1] - curve[last] if last else 0.0
        places.append(last - 1 + float((curve[last - 1] - level) / drop) if drop > 0 else float(last))
    return np.argsort(places, kind="stable")
