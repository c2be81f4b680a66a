"""Clusters over k and over models: which splits into which, and which are found again."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from quanta.arrays import Array, Int
from quanta.clustering import membership
from quanta.errors import QuantaError
from quanta.streams import Purpose, generator
from quanta.validation.stability import CHANCE_DRAWS


def tree(labels: Mapping[int, Array]) -> pd.DataFrame:
    """Which cluster splits into which: each cluster's parent is the cluster at the next smaller k that holds most of it.

    Returns:
        a row for each cluster but those of the smallest k: n_clusters, label, parent_n_clusters, parent_label, tokens (shared),
        share_of_child, share_of_parent.
    """
    ks = sorted(labels)
    rows = []
    for before, k in pairwise(ks):
        shared = membership.contingency(labels[k], labels[before])
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
    score, shared = membership.jaccard(a, b), membership.contingency(a, b)
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
    rng = generator(seed, Purpose.LINEAGE_CHANCE)
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
