"""The main line in one call: from cosines to labels for every k."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from quanta.arrays import Array, Int
from quanta.clustering import assignment, graph, kmeans, membership, spectral


def cluster_like_data(
    cosines: Array,
    n_clusters: Sequence[int],
    how: assignment.Assignment = assignment.MAIN,
    *,
    seed: int,
    rounds: int = kmeans.ROUNDS,
    whole: int | None = None,
) -> dict[int, Int[Array, " token"]]:
    """Labels for each k from cosines (N, N): the functions of the main line, as nulls and resamples go through them.

    Average linkage (`how.graph`) has no eigenvectors, seed or rounds.
    """
    if how.graph == graph.LINKAGE:
        found = graph.average_linkage(cosines, sorted(set(n_clusters)))
        return {k: membership.by_size(labels) for k, labels in found.items()}
    vectors, _ = spectral.embedding(graph.weights(cosines, how.graph), max(n_clusters))
    return how(vectors, n_clusters, rounds=rounds, seed=seed, whole=whole)


def of_cosines(cosines: Array, how: assignment.Assignment = assignment.MAIN) -> Callable[..., dict[int, Array]]:
    """`cluster_like_data` of some of the tokens, as `resample` asks for it."""

    def cluster(tokens: Array, n_clusters: Sequence[int], **settings: Any) -> dict[int, Array]:
        return cluster_like_data(np.asarray(cosines)[np.ix_(tokens, tokens)], n_clusters, how, **settings)

    return cluster
