"""What the tokens of each cluster have in common: targets, subsets of the corpus, how pure and how stable it is."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float, Int
from quanta.catalogue import naming
from quanta.clustering import membership
from quanta.corpus.decoding import Texts


def clusters_by_subset(labels: pd.DataFrame, chosen: pd.DataFrame, subsets: Sequence[str]) -> pd.DataFrame:
    """Columns n_clusters, label, subset, n_tokens, from labels (n_clusters, token, label) and tokens (token, document)."""
    parts = np.asarray(list(subsets), dtype=object)[chosen["document"].to_numpy()]
    of_token = pd.Series(parts, index=chosen["token"].to_numpy())
    table = labels[["n_clusters", "label"]].assign(subset=of_token.loc[labels["token"]].to_numpy())
    return table.groupby(["n_clusters", "label", "subset"], sort=True).size().rename("n_tokens").reset_index()


def purity(labels: Int[Array, " token"], group: Int[Array, " token"]) -> Float[Array, " cluster"]:
    """Share of each cluster's tokens that belong to its commonest group."""
    table = membership.contingency(labels, np.unique(group, return_inverse=True)[1])
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


def facts(
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
        one, counts = membership.one_hot(seen), np.bincount(seen)
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


def content(labels: pd.DataFrame, selection: pd.DataFrame, documents: pd.DataFrame, texts: Texts) -> pd.DataFrame:
    """A row a cluster of every clustering, in the order of n_clusters and label.

    Columns: n_clusters, label, fingerprint, size (tokens), n_sources, target (text of its commonest target token) and purity
    (the share of its tokens that have this target).
    """
    sources = documents["source"].to_numpy()[selection["document"].to_numpy()]
    rows = []
    for k in np.unique(labels["n_clusters"]):
        own = membership.at(labels, int(k))
        for label in range(int(own.max()) + 1):
            inside = np.flatnonzero(own == label)
            part = selection.iloc[inside]
            ids, counts = np.unique(part["token_id"], return_counts=True)
            rows.append(
                {
                    "n_clusters": int(k),
                    "label": label,
                    "fingerprint": naming.fingerprint(part["document"].to_numpy(), part["position"].to_numpy()),
                    "size": len(inside),
                    "n_sources": len(np.unique(sources[inside])),
                    "target": texts.of(int(ids[counts.argmax()])),
                    "purity": float(counts.max() / len(inside)),
                }
            )
    return pd.DataFrame(rows).astype({"n_clusters": "int32", "label": "int32", "size": "int32", "n_sources": "int32"})
