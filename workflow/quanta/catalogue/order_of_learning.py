"""When each cluster is learned, and whether frequent ones are learned earlier: the quantization hypothesis itself, tested.

The paper's section 2 has a model learn its quanta in the order of their use frequencies. Here a token is learned where its
loss has halved, a cluster where half of its tokens are, and the order is held against frequencies by rank correlation.
Where a token is not learned within the axis its place is infinite; ranks and medians need no more than that.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, kendalltau, rankdata

from quanta.arrays import Array, Float, Int
from quanta.catalogue import contexts
from quanta.errors import QuantaError

INTERVAL = (0.05, 0.95)
EVEN_ODDS = 2 * np.log(2)  # nats; half of it is the loss of a target that has the probability ½
FEWEST = 4  # clusters that a rank correlation is given for
EQUAL_DRAWS = 200  # of as many tokens from every cluster


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
    low, high = (float(ordered[min(int(np.searchsorted(chance, q)), n - 1)]) for q in INTERVAL)
    return float(ordered[middle - 1]), low, high


def middle_ranks(group: Int[Array, " token"], places: Float[Array, " token"]) -> Float[Array, " group"]:
    """Median rank of each group's tokens among all, the mean of both middle ones where their number is even; NaN for an empty group.

    Tokens that are not learned share the last rank. Correlations take these and not `median`, the lower of both middle places:
    among groups of the same tokens that makes small ones look early.
    """
    return np.asarray(_middles(np.asarray(group), rankdata(places)[None, :])[0])


def _middles(group: Array, ranks: Float[Array, "draw token"]) -> Float[Array, "draw group"]:
    parts = np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])
    columns = [np.median(ranks[:, part], axis=1) if len(part) else np.full(len(ranks), np.nan) for part in parts]
    return np.stack(columns, axis=1)


def learned(labels: pd.DataFrame, places: Mapping[tuple[str, str], Float[Array, " token"]]) -> pd.DataFrame:
    """Where every cluster of every clustering is learned.

    `places` are those of the tokens for each (axis, reference), as `halving` gives them.

    Returns:
        columns n_clusters, label, rank (by size), size (tokens), axis, reference, learned, low, high (infinite: not within the
        axis), share_learned (of its tokens, within the axis).
    """
    rows = []
    for k in np.unique(labels["n_clusters"]):
        own = contexts.at(labels, int(k))
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
    rng = np.random.default_rng([seed, 14])
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
        "interval": [float(q) for q in np.quantile(found, INTERVAL)] if len(found) else None,
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
    return {"mean": float(found.mean()), "interval": [float(q) for q in np.quantile(found, INTERVAL)]}


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
    rng = np.random.default_rng([seed, 15])
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
    rng = np.random.default_rng([seed, 16])
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
        "over_draws": [float(q) for q in np.quantile(found, INTERVAL)],
        "n": len(kept),
    }


def order_of_learning(
    table: pd.DataFrame,
    labels: pd.DataFrame,
    places: Mapping[tuple[str, str], Float[Array, " token"]],
    target: Int[Array, " token"],
    corpus_count: Int[Array, " id"],
    rule_count: Float[Array, " cluster"],
    starts: Mapping[str, float],
    *,
    show: int,
    least: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """All that is said of the order of learning, the main line first.

    `table` is that of `learned`, `target` the token id that each token is, `corpus_count` how often the corpus has each id, and
    `rule_count` how often it has what the descriptions of the `show` clusters say, `starts` the first point of each axis. Groups
    of fewer than `least` tokens are left out.

    Returns:
        correlations: a list with axis, reference, groups (clusters, or targets: the null that groups tokens by their target),
        frequency (size, target, rule), given (null or target), what `correlate` and `dealt` say, with the numbers of groups that are not
        learned within the axis and that are at its first point; within_target, equal_tokens and by_n_clusters beside it.
    """
    own = contexts.at(labels, show)
    size = np.bincount(own)
    typical = np.array([np.bincount(target[own == label]).argmax() for label in range(len(size))])
    names, group = np.unique(target, return_inverse=True)
    group_size = np.bincount(group)
    draw: dict[str, Any] = {"draws": draws, "seed": seed}
    groupings = {"clusters": own, "targets": group}
    lines: list[dict[str, Any]] = []
    within, equal, by_k = [], [], []
    for (axis, reference), values in places.items():
        about = {"axis": axis, "reference": reference}
        part = table[(table["axis"] == axis) & (table["reference"] == reference)]
        place = part[part["n_clusters"] == show].sort_values("label")["learned"].to_numpy()
        alone = np.array([median(values[group == index])[0] for index in range(len(names))])
        middles = {name: middle_ranks(by, values) for name, by in groupings.items()}
        rng = np.random.default_rng([seed, 18])
        shuffled = rng.permuted(np.tile(rankdata(values), (draws, 1)), axis=1)
        anew = {name: _middles(by, shuffled) for name, by in groupings.items()}
        of_clusters = {"size": size, "target": corpus_count[typical], "rule": rule_count}
        of_targets = {"size": group_size, "target": corpus_count[names]}
        wanted = (
            ("clusters", of_clusters, place, "size", None),
            ("clusters", of_clusters, place, "size", "target"),
            ("clusters", of_clusters, place, "target", None),
            ("clusters", of_clusters, place, "rule", None),
            ("clusters", of_clusters, place, "rule", "target"),
            ("targets", of_targets, alone, "size", None),
            ("targets", of_targets, alone, "target", None),
        )
        for groups, frequencies, where, frequency, given in wanted:
            kept = frequencies["size"] >= least
            of, held = frequencies[frequency][kept], frequencies[given][kept] if given else None
            middle = middles[groups][kept]
            null = dealt(of, anew[groups][:, kept], given=held)
            found = correlate(of, middle, given=held, centre=null["mean"] if null else 0.0, **draw) | {"dealt": null}
            ends = {
                "not_learned": int(np.isinf(where[kept]).sum()),
                "at_first_point": int((where[kept] <= starts[axis]).sum()),
            }
            lines.append(about | {"groups": groups, "frequency": frequency, "given": given} | found | ends)
        kept = size >= least
        within.append(about | within_groups(size[kept], middles["clusters"][kept], typical[kept], **draw))
        equal.append(about | equal_tokens(own, values, least=least, seed=seed))
        for k, clustering in part.groupby("n_clusters"):
            number = clustering.sort_values("label")["size"].to_numpy()
            some = number >= least
            found = correlate(number[some], middle_ranks(contexts.at(labels, int(k)), values)[some], **draw)
            by_k.append(about | {"n_clusters": int(k), **{key: found[key] for key in ("value", "interval", "n")}})
    return {
        "n_clusters": show,
        "least_tokens": least,
        "correlations": lines,
        "within_target": within,
        "equal_tokens": equal,
        "by_n_clusters": by_k,
        "method": "Spearman's rank correlation with the median rank of a cluster's tokens; 90 % intervals by bootstrap over clusters and "
        f"two-sided p-values by permutation, {draws} draws each; tokens that are not learned within the axis rank last",
    }


def verdict(line: Mapping[str, Any]) -> str:
    """What a correlation says of the hypothesis, in words."""
    if line["value"] is None or not line["interval"]:
        return "too few clusters to say whether frequent ones are learned earlier"
    low, high = line["interval"]
    if high < 0:
        return "frequent clusters are learned earlier"
    if low > 0:
        return "frequent clusters are learned later"
    return "it is open whether frequent clusters are learned earlier"


def line_of(order: Mapping[str, Any], axis: str, **wanted: Any) -> dict[str, Any]:
    """The first correlation of an axis that has the wanted reference, groups, frequency or given."""
    wanted = {"axis": axis, **wanted}
    return next(dict(line) for line in order["correlations"] if all(line[key] == v for key, v in wanted.items()))


def main_reference(axis: str) -> str:
    """What the main line of an axis is learned against.

    Over steps the untrained model's loss. Over sizes even odds for the target: the smallest model of a family has already
    halved nearly all of what a larger one predicts with confidence.
    """
    return "even odds" if axis == "size" else "untrained"


def main_line(order: Mapping[str, Any], axis: str) -> dict[str, Any]:
    """The correlation of cluster size with the place of learning on an axis."""
    return line_of(order, axis, reference=main_reference(axis), groups="clusters", frequency="size", given=None)
