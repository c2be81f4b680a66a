"""Rank correlation of a cluster's size with when it is learned, given what else orders them."""

from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import kendalltau, rankdata

from quanta.arrays import ENDS_90, Array, Float, Int
from quanta.streams import Purpose, generator

FEWEST = 4  # clusters that a rank correlation is given for
EQUAL_DRAWS = 200  # of as many tokens from every cluster


def middle_ranks(group: Int[Array, " token"], places: Float[Array, " token"]) -> Float[Array, " group"]:
    """Median rank of each group's tokens among all, the mean of both middle ones where their number is even; NaN for an empty group.

    Tokens that are not learned share the last rank. Correlations take these and not `median`, the lower of both middle places:
    among groups of the same tokens that makes small ones look early.
    """
    return np.asarray(middles(np.asarray(group), rankdata(places)[None, :])[0])


def middles(group: Array, ranks: Float[Array, "draw token"]) -> Float[Array, "draw group"]:
    """Median rank of each group, in every draw; NaN for a group without tokens."""
    parts = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    columns = [np.median(ranks[:, part], axis=1) if len(part) else np.full(len(ranks), np.nan) for part in parts]
    return np.stack(columns, axis=1)


# --------------------------------------------------------------------------------------------------- correlation


def correlate(
    frequency: Float[Array, " cluster"],
    place: Float[Array, " cluster"],
    *,
    given: Float[Array, " cluster"] | None = None,
    centre: float = 0.0,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Spearman's rank correlation of frequency with the place of learning, partial with `given` held fixed.

    Partial: the correlation of what is left of both ranks after their regression on the ranks of `given`. The interval, 90 %,
    is by bootstrap over clusters, the two-sided p-value by permutation of the frequencies' residuals: how often these lie further from 0 than the correlation from
    `centre`, where it is without any order (`dealt`). Kendall's τ-b stands
    beside it where nothing is given. Values are None where there are too few clusters, or no spread.
    """
    n = len(place)
    nothing = {"value": None, "interval": None, "kendall": None, "p_value": None, "n": n}
    if n < FEWEST:
        return nothing
    rng = generator(seed, Purpose.RANK_CORRELATION)
    one = np.arange(n)[None, :]
    x, y = (part[0] for part in _residuals(frequency, place, given, one))
    value = float(_pearson(x[None, :], y[None, :])[0])
    if not np.isfinite(value):
        return nothing
    found = _pearson(*_residuals(frequency, place, given, rng.integers(0, n, (draws, n))))
    found = found[np.isfinite(found)]
    permuted = _pearson(rng.permuted(np.tile(x, (draws, 1)), axis=1), y[None, :])
    exceed = int((np.abs(permuted) >= abs(value - centre) - 1e-12).sum())
    return {
        "value": value,
        "interval": [float(q) for q in np.quantile(found, ENDS_90)] if len(found) else None,
        "kendall": float(kendalltau(frequency, place).statistic) if given is None else None,
        "p_value": (1 + exceed) / (1 + draws),
        "n": n,
    }


def _residuals(frequency: Array, place: Array, given: Array | None, rows: Array) -> tuple[Array, Array]:
    """Centred ranks (draw, cluster) of both for the clusters of each draw, less their regression on the ranks of `given`."""
    x, y = (_centred(np.asarray(values)[rows]) for values in (frequency, place))
    if given is None:
        return x, y
    z = _centred(np.asarray(given)[rows])
    square = (z * z).sum(axis=1, keepdims=True)

    def less(values: Array) -> Array:
        slope = np.divide((values * z).sum(axis=1, keepdims=True), square, out=np.zeros_like(square), where=square > 0)
        return np.asarray(values - slope * z)

    return less(x), less(y)


def _centred(values: Array) -> Array:
    ranks = rankdata(values, axis=1)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))


def _pearson(x: Array, y: Array) -> Array:
    """Correlation of centred rows; NaN without spread, which rounding must not hide."""
    scale = np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return np.asarray(np.divide((x * y).sum(axis=1), scale, out=np.full(len(scale), np.nan), where=scale > 1e-9))


def dealt(
    frequency: Float[Array, " cluster"],
    middles: Float[Array, "draw cluster"],
    *,
    given: Float[Array, " cluster"] | None = None,
) -> dict[str, Any] | None:
    """The correlation where tokens are dealt out anew among the clusters, which keep their sizes.

    `middles` are the clusters' `middle_ranks` in each draw. Unlike the permutation of clusters, this knows that a small cluster's
    median is noisier than a large one's. It takes tokens as alike but for chance: p-values from it are small where
    clusters differ at all in when they are learned, whatever their sizes. So it is the null's centre that is told.

    Returns:
        mean of ρ over draws, and interval, its 5 % and 95 % quantiles; None where there are too few clusters, or no spread.
    """
    n = len(frequency)
    if n < FEWEST:
        return None
    x = _residuals(frequency, middles[0], given, np.arange(n)[None, :])[0]
    drawn = _centred(middles)
    if given is not None:
        z = _centred(np.asarray(given)[None, :])
        drawn = drawn - (drawn * z).sum(axis=1, keepdims=True) / max(float((z * z).sum()), 1e-12) * z
    found = _pearson(x, drawn)
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    return {"mean": float(found.mean()), "interval": [float(q) for q in np.quantile(found, ENDS_90)]}


def within_groups(
    frequency: Float[Array, " cluster"],
    place: Float[Array, " cluster"],
    group: Int[Array, " cluster"],
    *,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Kendall's τ over the pairs of clusters of one group alone, so that what the group stands for is held fixed exactly.

    Concordant less discordant pairs, over those that differ in both. The p-value, two-sided, is by permutation of the places
    within groups. `value` is None where no pair differs.
    """
    pairs = np.array(
        [pair for name in np.unique(group) for pair in combinations(np.flatnonzero(group == name), 2)], dtype=int
    ).reshape(-1, 2)
    ranks = rankdata(place)
    signs = np.sign(np.asarray(frequency)[pairs[:, 0]] - np.asarray(frequency)[pairs[:, 1]])

    def tau(values: Array) -> tuple[float, int]:
        product = signs * np.sign(values[pairs[:, 0]] - values[pairs[:, 1]])
        used = int(np.abs(product).sum())
        return (float(product.sum() / used) if used else np.nan), used

    value, used = tau(ranks)
    if not used:
        return {"value": None, "p_value": None, "pairs": 0}
    rng = generator(seed, Purpose.WITHIN_GROUPS)
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    exceed = 0
    for _ in range(draws):
        drawn = ranks.copy()
        for inside in members:
            drawn[inside] = rng.permutation(ranks[inside])
        exceed += abs(tau(drawn)[0]) >= abs(value) - 1e-12
    return {"value": value, "p_value": (1 + exceed) / (1 + draws), "pairs": used}


def equal_tokens(
    label: Int[Array, " token"],
    places: Float[Array, " token"],
    *,
    least: int,
    seed: int,
) -> dict[str, Any]:
    """The correlation with cluster size where each cluster's median is of `least` tokens drawn from it.

    Medians of small clusters are noisier than those of large ones; here all are alike. Mean over draws, and their 5 % and 95 %
    quantiles, which say how much the choice of tokens matters and not how sure the correlation is.
    """
    size = np.bincount(label)
    kept = np.flatnonzero(size >= least)
    nothing = {"value": None, "over_draws": None, "n": len(kept)}
    if len(kept) < FEWEST:
        return nothing
    rng = generator(seed, Purpose.EQUAL_TOKENS)
    ranks = rankdata(places)
    inside = [ranks[label == cluster] for cluster in kept]
    medians = np.array(
        [[np.median(rng.choice(part, least, replace=False)) for part in inside] for _ in range(EQUAL_DRAWS)]
    )
    found = _pearson(_centred(np.tile(size[kept].astype(float), (EQUAL_DRAWS, 1))), _centred(medians))
    found = found[np.isfinite(found)]
    if not len(found):
        return nothing
    return {
        "value": float(found.mean()),
        "over_draws": [float(q) for q in np.quantile(found, ENDS_90)],
        "n": len(kept),
    }
