"""From a similarity of samples to labels: one function per assignment, by name in `ASSIGNMENTS`.

An assignment gets cosines (N, N) and numbers of clusters, and gives labels for each. −1 is a sample that it leaves out.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import eigh

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Int
from quanta.clustering import assignment as clustering_assignment
from quanta.clustering import graph, kmeans, spectral
from quanta.streams import Purpose, integer

Labels = dict[int, Int[Array, " sample"]]
Assign = Callable[[Float[Array, "sample sample"], Sequence[int], int], Labels]
ASSIGNMENTS: dict[str, Assign] = {}
LEFT_OUT = -1
CANDIDATES = 12  # numbers of clusters that `number_by_silhouette` compares


def assignment(name: str) -> Callable[[Assign], Assign]:
    """Register an assignment: (cosines, numbers of clusters, seed) → labels by number of clusters."""

    def register(function: Assign) -> Assign:
        ASSIGNMENTS[name] = function
        return function

    return register


@assignment("angular, spectral")
def angular(cosines: Array, ks: Sequence[int], seed: int) -> Labels:
    """The paper's: angular similarity, normalised eigenvectors, k-means."""
    return _spectral(cosine.angular(cosines), ks, seed)


@assignment("eigenvectors")
def eigenvectors(cosines: Array, ks: Sequence[int], seed: int) -> Labels:
    """k-means on the leading eigenvectors of the cosines, each scaled by the root of its eigenvalue."""
    n = len(cosines)
    values, vectors = eigh(cosines.astype(np.float64), subset_by_index=[n - max(ks), n - 1])
    points = (vectors * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    found = {}
    for k in ks:
        [(_, partition)] = kmeans.sweep(np.ascontiguousarray(points[:, :k]), [k], seed=seed)
        found[k] = partition.labels
    return found


@assignment("neighbours, spectral")
def neighbours(cosines: Array, ks: Sequence[int], seed: int) -> Labels:
    """Spectral clustering of the graph of nearest neighbours."""
    return _spectral(graph.nearest(cosines), ks, seed)


@assignment("average linkage")
def average_linkage(cosines: Array, ks: Sequence[int], seed: int) -> Labels:
    """Agglomerative: the two clusters with the largest mean cosine merge, until k are left."""
    return graph.average_linkage(cosines, ks)


@assignment("average linkage, small left out")
def without_small(cosines: Array, ks: Sequence[int], seed: int) -> Labels:
    """The same tree, cut where k clusters have `LEAST` samples or more; the samples of smaller ones are left out."""
    counts = np.unique(np.geomspace(2, len(cosines) // 2, 60).astype(int))
    cuts = list(graph.average_linkage(cosines, counts.tolist()).values())
    large = [int((np.bincount(cut) >= LEAST).sum()) for cut in cuts]
    found = {}
    for k in ks:
        cut = cuts[int(np.argmin([abs(n - k) for n in large]))]
        found[k] = np.where(np.bincount(cut)[cut] >= LEAST, cut, LEFT_OUT)
    return found


LEAST = 5  # samples of a cluster that is kept by `without_small`


@assignment("HDBSCAN")
def hdbscan(cosines: Array, ks: Sequence[int], seed: int) -> Labels:
    """Density clusters of the distances 1 − c; it chooses its own number, so that all ks get the same labels."""
    from sklearn.cluster import HDBSCAN  # more than a second, which no other assignment needs

    distances = np.maximum(1 - cosines.astype(np.float64), 0)
    labels = HDBSCAN(min_cluster_size=LEAST, metric="precomputed", copy=True).fit(distances).labels_.astype(np.int64)
    return dict.fromkeys(ks, labels)


def number_by_silhouette(cosines: Float[Array, "sample sample"], name: str, seed: int) -> int:
    """The number of clusters whose labels have the largest mean silhouette, where the true number is unknown.

    Candidates are twelve numbers from 4 to a quarter of the samples, evenly spaced in the logarithm. Distances are 1 − c.
    """
    from sklearn.metrics import silhouette_score

    n = len(cosines)
    ks = sorted({int(k) for k in np.geomspace(4, max(n // 4, 5), CANDIDATES)})
    labels = ASSIGNMENTS[name](cosines.copy(), ks, seed)
    distances = np.maximum(1 - cosines.astype(np.float64), 0)
    np.fill_diagonal(distances, 0)
    found = {k: labels[k] for k in ks if 1 < len(np.unique(labels[k])) < n}
    return max(found, key=lambda k: float(silhouette_score(distances, found[k], metric="precomputed")))


def _spectral(similarity: Array, ks: Sequence[int], seed: int) -> Labels:
    vectors, _ = spectral.embedding(similarity, max(ks))
    return clustering_assignment.assign(vectors, list(ks), seed=integer(seed, Purpose.SKILL_ASSIGNMENT, max(ks)))
