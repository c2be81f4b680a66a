"""Spectral clustering for a whole list of cluster counts from one eigendecomposition (the paper's section 5.1).

Follows `sklearn.cluster.SpectralClustering(affinity="precomputed")`: symmetric normalised affinity without its diagonal,
eigenvectors divided by the square root of the degree, k-means on the first k of them.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.linalg import eigh
from sklearn.cluster import KMeans

from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.shapes import Array, Float, Int


def embedding(similarity: Array, k: int) -> tuple[Float[Array, "token k"], Float[Array, " k"]]:
    """Eigenvectors and eigenvalues of the normalised affinity D^-½ A D^-½, largest first, in float64.

    `similarity` (N, N) is non-negative and symmetric; it is overwritten. Signs are fixed by making the largest entry of
    each vector positive. The first vector is √degree, up to scale.

    Raises:
        QuantaError: the graph is not connected, so that the first vector is not unique.
    """
    n = len(similarity)
    np.fill_diagonal(similarity, 0)
    root = np.sqrt(similarity.sum(axis=1))
    similarity /= root[:, None]
    similarity /= root[None, :]
    # single precision is enough for k-means, but not for telling an eigenvalue of 1 from its neighbour
    values, vectors = eigh(similarity, subset_by_index=[n - k, n - 1], overwrite_a=True, check_finite=True)
    values, vectors = values[::-1], vectors[:, ::-1]
    if k > 1 and values[1] > 1 - 1e-10:
        raise QuantaError(
            "qdg/affinity.npy", "the graph of similarities is not connected", "angular similarities", "make it anew"
        )
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.sign(vectors[largest, np.arange(k)]), values


def cluster(vectors: Array, n_clusters: Sequence[int], *, restarts: int, seed: int) -> pd.DataFrame:
    """Labels for each number of clusters k: k-means on the first k eigenvectors, each divided by √degree.

    Returns:
        columns n_clusters, token, label. Labels are by falling size: 0 is the largest cluster.
    """
    # the first eigenvector is √degree; k-means does not mind the common scale
    rows = np.ascontiguousarray(vectors / vectors[:, :1])
    progress = Progress("clustering", sum(n_clusters), "clusters")
    tables = []
    for k in n_clusters:
        state = int(np.random.SeedSequence([seed, 3, k]).generate_state(1)[0])
        means = KMeans(k, n_init=restarts, random_state=state, copy_x=False).fit(rows[:, :k].copy())
        labels = by_size(means.labels_)
        tables.append(pd.DataFrame({"n_clusters": k, "token": np.arange(len(rows)), "label": labels}))
        progress.advance(k, f"at {k}")
    progress.done()
    return pd.concat(tables, ignore_index=True).astype({"n_clusters": "int32", "token": "int32", "label": "int32"})


def by_size(labels: Array) -> Int[Array, " token"]:
    """Rename labels by falling cluster size; of equal sizes, the one whose first token comes first."""
    names, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[inverse]
