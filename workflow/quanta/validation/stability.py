"""Are the clusters real? Stability under resampling and seeds, purity, splits over the sweep, lineage between runs.

All scores lie in [0, 1]. Stability of a cluster is the Jaccard index with its best match in a clustering made anew (Hennig
2007), over halves of the tokens drawn without replacement: copies of a token would be each other's nearest neighbours
and make any cluster look stable.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment
from scipy.special import stdtrit

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Int
from quanta.clustering import kmeans, spectral
from quanta.corpus import resampling
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.rank_frequency import zipf

CHANCE_DRAWS = 20  # permutations that say what score chance gives
FEW_ROUNDS = 2  # of breathing on halves, whose spread is asked for and not their best clustering


def contingency(left: Int[Array, " token"], right: Int[Array, " token"]) -> Int[Array, "left right"]:
    """Tokens that each pair of clusters shares."""
    return np.asarray((spectral.one_hot(left) @ spectral.one_hot(right).T).toarray().round().astype(np.int64))


def jaccard(left: Int[Array, " token"], right: Int[Array, " token"]) -> Float[Array, "left right"]:
    """Jaccard index of each pair of clusters of two labellings of the same tokens: shared over all of either."""
    shared = contingency(left, right)
    either = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None, :] - shared
    return np.asarray(shared / np.maximum(either, 1))


def cluster_like_data(
    cosines: Array,
    n_clusters: Sequence[int],
    how: spectral.Assignment = spectral.MAIN,
    *,
    seed: int,
    rounds: int = kmeans.ROUNDS,
    whole: int | None = None,
) -> dict[int, Int[Array, " token"]]:
    """Labels for each k from cosines (N, N): the functions of the main line, as nulls and resamples go through them."""
    vectors, _ = spectral.embedding(cosine.angular(cosines), max(n_clusters))
    return how(vectors, n_clusters, rounds=rounds, seed=seed, whole=whole)


def of_cosines(cosines: Array, how: spectral.Assignment = spectral.MAIN) -> Callable[..., dict[int, Array]]:
    """`cluster_like_data` of some of the tokens, as `resample` asks for it."""

    def cluster(tokens: Array, n_clusters: Sequence[int], **settings: Any) -> dict[int, Array]:
        return cluster_like_data(np.asarray(cosines)[np.ix_(tokens, tokens)], n_clusters, how, **settings)

    return cluster


def resample(
    cluster: Callable[..., dict[int, Array]],
    vectors: Float[Array, "token k"],
    labels: Mapping[int, Array],
    shares: tuple[float, float],
    how: spectral.Assignment = spectral.MAIN,
    *,
    draws: int,
    seed: int,
    groups: Int[Array, " token"] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cluster halves of the tokens anew and hold them against `labels` (n_clusters → labels of all tokens).

    `cluster(tokens, n_clusters, seed=, rounds=, whole=)` gives labels of a half for each k, halved with N, as the main line does.
    Odd draws take another seed of the assignment `how` on the `vectors` of all tokens instead. The halves are the first of `halves`,
    of whole `groups` where these are given.

    Returns:
        a row a cluster: n_clusters, label, stability_halves, stability_seeds (means of the best Jaccard index, NaN where
        no half holds two of its tokens); and a row a draw: draw, kind (half, seed), slope of the envelope, ari at the
        largest k.
    """
    from sklearn.metrics import adjusted_rand_score  # more than a second, which what else is here need not wait

    n, ks = len(vectors), sorted(labels)
    chosen_halves = halves(n, (draws + 1) // 2, seed=seed, groups=groups)
    scores = {k: {"half": _Mean(labels[k].max() + 1), "seed": _Mean(labels[k].max() + 1)} for k in ks}
    progress = Progress("stability", draws, "draws")
    slopes = []
    for draw in range(draws):
        kind = "half" if draw % 2 == 0 else "seed"
        if kind == "half":
            chosen = chosen_halves[draw // 2]
            halved = {k: max(k // 2, 2) for k in ks}
            found = cluster(chosen, sorted(set(halved.values())), seed=seed + draw, rounds=FEW_ROUNDS, whole=n)
        else:
            chosen, halved = np.arange(n), {k: k for k in ks}
            found = how(vectors, ks, seed=seed + 1000 + draw)
        for k in ks:
            whole = labels[k][chosen]
            # clusters may be absent from a half: their rows are all zero and not counted
            overlap = jaccard(whole, found[halved[k]])
            present = np.bincount(whole, minlength=len(overlap)) > 1
            scores[k][kind].add(np.flatnonzero(present), overlap[present].max(axis=1))
        slopes.append(
            {
                "draw": draw,
                "kind": kind,
                "slope": envelope_slope(found, len(chosen), shares),
                "ari": float(adjusted_rand_score(labels[ks[-1]][chosen], found[halved[ks[-1]]])),
            }
        )
        progress.advance()
    progress.done()
    table = pd.concat(
        [
            pd.DataFrame(
                {
                    "n_clusters": k,
                    "label": np.arange(len(scores[k]["half"].total)),
                    "stability_halves": scores[k]["half"].value(),
                    "stability_seeds": scores[k]["seed"].value(),
                }
            )
            for k in ks
        ],
        ignore_index=True,
    )
    return table, pd.DataFrame(slopes)


class _Mean:
    def __init__(self, number: int) -> None:
        self.total, self.count = np.zeros(number), np.zeros(number)

    def add(self, where: Array, values: Array) -> None:
        self.total[where] += values
        self.count[where] += 1

    def value(self) -> Array:
        return np.asarray(np.divide(self.total, self.count, out=np.full(len(self.total), np.nan), where=self.count > 0))


def purity(labels: Int[Array, " token"], group: Int[Array, " token"]) -> Float[Array, " cluster"]:
    """Share of each cluster's tokens that belong to its commonest group."""
    table = contingency(labels, np.unique(group, return_inverse=True)[1])
    return np.asarray(table.max(axis=1) / np.maximum(table.sum(axis=1), 1))


def skill(cosines: Array, labels: Int[Array, " token"], identity: Int[Array, " token"]) -> Float[Array, " cluster"]:
    """What tells a skill from mere token identity: an area under the curve, ½ where a cluster is no more than its targets.

    Take a token of the cluster, another of it with the same target, and one with the same target outside of it: the
    chance that the first two are the more similar, ties counting half. Where a cluster shares no target with tokens
    outside, or holds each target once, its pairs of different targets inside stand for the first and those of
    different targets outside for the second, so that a cluster of one target alone that nothing else predicts is NaN.
    """
    scores = np.full(int(labels.max()) + 1, np.nan)
    for cluster in range(len(scores)):
        inside = np.flatnonzero(labels == cluster)
        if len(inside) < 2:
            continue
        rows = np.asarray(cosines[inside], dtype=np.float64)
        same = identity[inside][:, None] == identity[None, :]
        within = np.zeros_like(same)
        within[:, inside] = True
        own = np.zeros_like(same)
        own[np.arange(len(inside)), inside] = True
        for kind in (same, ~same):
            near, far = rows[kind & within & ~own], rows[kind & ~within]
            if len(near) and len(far):
                scores[cluster] = _area(near, far)
                break
    return scores


def _area(near: Array, far: Array) -> float:
    """Chance that a value of `near` is above one of `far`."""
    order = np.sort(far)
    below = np.searchsorted(order, near, side="left") + np.searchsorted(order, near, side="right")
    return float(below.mean() / (2 * len(far)))


def describe(
    cosines: Array,
    held: Int[Array, " held"],
    labels: Mapping[int, Array],
    groups: Mapping[str, Array],
    stability: pd.DataFrame,
) -> pd.DataFrame:
    """One table a run, a row a cluster.

    `cosines` (held, held) are of the tokens `held`, all or a sample: skill and cosine_within are of these, NaN where too few
    of them are in a cluster. `groups` has the groups to be pure in, `target` among them. Columns: n_clusters, label, size, purity_… for each group,
    skill, cosine_within (mean), and the columns of `stability`.
    """
    rows = []
    for k in sorted(labels):
        own = labels[k]
        size = np.bincount(own)
        present, seen = np.unique(own[held], return_inverse=True)
        found = {"skill": np.full(len(size), np.nan), "cosine_within": np.full(len(size), np.nan)}
        found["skill"][present] = skill(cosines, seen, groups["target"][held])
        one, counts = spectral.one_hot(seen), np.bincount(seen)
        # mean cosine of pairs within, without the diagonal
        inside = np.asarray(one.multiply(one @ np.asarray(cosines, dtype=np.float64)).sum(axis=1)).ravel() - counts
        found["cosine_within"][present] = np.divide(
            inside, counts * (counts - 1), out=np.full(len(counts), np.nan), where=counts > 1
        )
        rows.append(
            pd.DataFrame(
                {
                    "n_clusters": k,
                    "label": np.arange(len(size)),
                    "size": size,
                    **{f"purity_{name}": purity(own, group) for name, group in groups.items()},
                    **found,
                }
            )
        )
    return pd.concat(rows, ignore_index=True).merge(stability, on=["n_clusters", "label"], how="left")


def tree(labels: Mapping[int, Array]) -> pd.DataFrame:
    """Which cluster splits into which: each cluster's parent is the cluster at the next smaller k that holds most of it.

    Returns:
        a row for each cluster but those of the smallest k: n_clusters, label, parent_n_clusters, parent_label, tokens (shared),
        share_of_child, share_of_parent.
    """
    ks = sorted(labels)
    rows = []
    for before, k in pairwise(ks):
        shared = contingency(labels[k], labels[before])
        parent = shared.argmax(axis=1)
        tokens = shared.max(axis=1)
        rows.append(
            pd.DataFrame(
                {
                    "n_clusters": k,
                    "label": np.arange(len(shared)),
                    "parent_n_clusters": before,
                    "parent_label": parent,
                    "tokens": tokens,
                    "share_of_child": tokens / shared.sum(axis=1),
                    "share_of_parent": tokens / shared.sum(axis=0)[parent],
                }
            )
        )
    columns = [
        "n_clusters",
        "label",
        "parent_n_clusters",
        "parent_label",
        "tokens",
        "share_of_child",
        "share_of_parent",
    ]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def lineage(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Match the clusters of two clusterings by the tokens that they share, one to one, by the largest sum of Jaccard indices.

    Each table has columns token and label, where token names the same prediction in both (of other seeds, model sizes,
    checkpoints or k); tokens of only one of them are left out.

    Returns:
        a row a match with any shared token: left, right, tokens, score (Jaccard index).

    Raises:
        QuantaError: the two share no token, or one names a token twice.
    """
    for table in (left, right):
        if table["token"].duplicated().any():
            token = table["token"][table["token"].duplicated()].iloc[0]
            raise QuantaError("lineage", f"token {token} twice", "each token once", "choose one n_clusters")
    both = left[["token", "label"]].merge(right[["token", "label"]], on="token", suffixes=("_left", "_right"))
    if not len(both):
        raise QuantaError("lineage", "no token in common", "clusterings of some of the same tokens", "select alike")
    a, b = both["label_left"].to_numpy(), both["label_right"].to_numpy()
    score, shared = jaccard(a, b), contingency(a, b)
    rows, columns = linear_sum_assignment(-score)
    table = pd.DataFrame(
        {"left": rows, "right": columns, "tokens": shared[rows, columns], "score": score[rows, columns]}
    )
    return table[table["tokens"] > 0].reset_index(drop=True)


def found_again(
    own: Int[Array, " token"], other: Int[Array, " token"], *, seed: int, draws: int = CHANCE_DRAWS
) -> pd.DataFrame:
    """`lineage` of a clustering with another of the same tokens, beside what chance gives.

    Chance: the other's labels dealt out anew among the tokens, so that both keep their sizes; the mean over `draws`.

    Returns:
        a row a cluster of `own`: label, size, match (the other's label, missing where no cluster is left that shares a token), match_size, tokens
        (shared), score (Jaccard index, 0 without a match), score_by_chance.
    """
    rng = np.random.default_rng([seed, 13])
    size = np.bincount(own)

    def scores(labels: Array) -> pd.DataFrame:
        tables = [pd.DataFrame({"token": np.arange(len(one)), "label": one}) for one in (own, labels)]
        return lineage(*tables).set_index("left").reindex(np.arange(len(size)))

    found = scores(other)
    chance = [scores(rng.permutation(other))["score"].fillna(0).to_numpy() for _ in range(draws)]
    match = found["right"].astype("Int64")
    return pd.DataFrame(
        {
            "label": np.arange(len(size)),
            "size": size,
            "match": match.to_numpy(),
            "match_size": match.map(dict(enumerate(np.bincount(other)))).astype("Int64").to_numpy(),
            "tokens": found["tokens"].fillna(0).astype("int64").to_numpy(),
            "score": found["score"].fillna(0).to_numpy(),
            "score_by_chance": np.mean(chance, axis=0),
        }
    )


def across(labels: Mapping[int, Array]) -> pd.DataFrame:
    """`lineage` of the clusters at the largest k with those at every smaller k; a column n_clusters says which."""
    ks = sorted(labels)

    def at(k: int) -> pd.DataFrame:
        return pd.DataFrame({"token": np.arange(len(labels[k])), "label": labels[k]})

    tables = [lineage(at(ks[-1]), at(k)).assign(n_clusters=k) for k in ks[:-1]]
    return pd.concat(tables, ignore_index=True) if tables else lineage(at(ks[-1]), at(ks[-1])).assign(n_clusters=ks[-1])


def halves(n: int, number: int, *, seed: int, groups: Int[Array, " token"] | None = None) -> list[Int[Array, " half"]]:
    """Halves of N tokens, drawn without replacement: the same for all that is made of N tokens, which makes pairs of them.

    By whole `groups`, the texts that tokens are of (`resampling.half`): then a half is as large as its texts make it.
    """
    rng = np.random.default_rng([seed, 7])
    own = resampling.numbered(groups, n)
    return [resampling.half(own, rng) for _ in range(number)]


def half_slopes(
    cosines: Array,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    how: spectral.Assignment = spectral.MAIN,
    *,
    draws: int,
    seed: int,
    groups: Int[Array, " token"] | None = None,
) -> Float[Array, " draw"]:
    """Slopes of the envelope on the first of `halves`, k halved with N, as `resample` has them; NaN where there is none."""
    n, cluster = len(cosines), of_cosines(cosines, how)
    ks = sorted({max(k // 2, 2) for k in n_clusters})
    slopes = []
    for draw, chosen in enumerate(halves(n, draws, seed=seed, groups=groups)):
        found = cluster(chosen, ks, seed=seed + 2 * draw, rounds=FEW_ROUNDS, whole=n)
        slopes.append(envelope_slope(found, len(chosen), shares))
    return np.array(slopes)


def envelope_slope(labels: Mapping[int, Array], n_tokens: int, shares: tuple[float, float]) -> float:
    """The paper's fit to labels for every k; NaN where the ranks hold fewer than two clusters."""
    curve = zipf.envelope([zipf.sizes(own) for own in labels.values()])
    try:
        return zipf.slope(curve, *zipf.rank_range(n_tokens, shares))
    except QuantaError:
        return float("nan")


def half_sample_interval(value: float, halves: Array, level: float = 0.9) -> dict[str, Any]:
    """Interval of an estimate from its values on halves of the tokens drawn without replacement.

    The variance over halves is the delete-half jackknife's estimate of the whole's variance (Shao and Wu 1989); few halves
    widen the interval by Student's law.
    """
    kept = np.asarray(halves)[np.isfinite(halves)]
    if len(kept) < 2:
        return {"value": value, "interval": None, "why_no_interval": f"{len(kept)} halves gave a value"}
    sd = float(np.std(kept, ddof=1))
    reach = sd * float(stdtrit(len(kept) - 1, (1 + level) / 2))
    return {"value": value, "interval": [value - reach, value + reach], "standard_deviation": sd}
