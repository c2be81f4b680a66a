"""Spectral clustering for a whole list of cluster counts from one eigendecomposition (the paper's section 5).

Follows `sklearn.cluster.SpectralClustering(affinity="precomputed")`: symmetric normalised affinity without its diagonal,
eigenvectors divided by the square root of the degree, k-means on the first k of them. The eigensolver, the k-means and
the choice of rows were settled by measurement: docs/clustering.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.linalg import eigh

from quanta.arrays import Array, Float, Int
from quanta.clustering import kmeans
from quanta.errors import QuantaError
from quanta.progress import Progress

ASSIGNMENTS = ("kmeans", "restarts", "cluster_qr", "discretize")
ROWS = ("degree", "unit")
FULL_SWEEP = 20_000  # tokens up to which k-means keeps the distances of all tokens to all centres
RESIDUAL = 1e-9  # of |A v − λ v|; float64 LAPACK stays below 1e-13
WHERE = "qdg/affinity.npy"


def check_similarity(similarity: Array) -> None:
    """Refuse what is no graph of similarities.

    Raises:
        QuantaError: not square; an entry negative, not finite or unlike its mirror image; a token without any neighbour.
    """
    n = len(similarity)
    expected = "a symmetric (N, N) matrix of finite similarities from 0 up"
    if similarity.ndim != 2 or similarity.shape != (n, n) or n < 2:
        raise QuantaError(WHERE, f"shape {similarity.shape}", expected, "make it anew")
    for begin in range(0, n, 512):
        rows = similarity[begin : begin + 512]
        wrong = ~(np.isfinite(rows) & (rows >= 0) & (np.abs(rows - similarity[:, begin : begin + 512].T) <= 1e-6))
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            raise QuantaError(
                WHERE,
                f"{rows[i, j]} at ({begin + i}, {j}) and {similarity[j, begin + i]} at ({j}, {begin + i})",
                expected,
                "raw cosines can be negative: turn them into angular similarities",
            )


def embedding(similarity: Array, k: int, *, device: str = "cpu") -> tuple[Float[Array, "token k"], Float[Array, " k"]]:
    """Eigenvectors and eigenvalues of the normalised affinity D^-½ A D^-½, largest first, in float64.

    `similarity` (N, N) is non-negative and symmetric; it is overwritten. Signs are fixed by making the largest entry of
    each vector positive. The first vector is √degree, up to scale. On the CPU this is LAPACK's subset; on a GPU all
    eigenvectors are taken, which is what cuSOLVER offers.

    Raises:
        QuantaError: no graph of similarities (`check_similarity`); k is not between 1 and N; the graph is not connected,
            so that the first vector is not unique; or the solver's residual is above 1e-9.
    """
    check_similarity(similarity)
    n = len(similarity)
    if not 1 <= k <= n:
        raise QuantaError("qdg.n_clusters", f"{k} eigenvectors of {n} tokens", "1 to N", "lower qdg.n_clusters")
    np.fill_diagonal(similarity, 0)
    degree = similarity.sum(axis=1)
    if not (degree > 0).all():
        raise QuantaError(
            WHERE, f"token {int(degree.argmin())} is similar to no other", "every degree above 0", "drop that token"
        )
    root = np.sqrt(degree)
    similarity /= root[:, None]
    similarity /= root[None, :]
    probe = similarity[:: max(n // 64, 1)].copy()
    if device == "cpu":
        # single precision is enough for k-means, but not for telling an eigenvalue of 1 from its neighbour
        values, vectors = eigh(similarity, subset_by_index=[n - k, n - 1], overwrite_a=True, check_finite=False)
    else:
        import torch

        all_values, all_vectors = torch.linalg.eigh(torch.from_numpy(similarity).to(device))
        values, vectors = all_values[-k:].cpu().numpy(), all_vectors[:, -k:].cpu().numpy()
    values, vectors = values[::-1], vectors[:, ::-1]
    # LAPACK overwrote the matrix, so the equation is checked on a sample of its rows
    residual = float(np.abs(probe @ vectors - vectors[:: max(n // 64, 1)] * values).max())
    if not residual < RESIDUAL:
        raise QuantaError(WHERE, f"eigenvectors with a residual of {residual:.1e}", "below 1e-9", "make it anew")
    if k > 1 and values[1] > 1 - 1e-10:
        multiplicity = int((values > 1 - 1e-10).sum())
        raise QuantaError(
            WHERE,
            f"the graph of similarities is not connected: it falls into {multiplicity}{' or more' if multiplicity == k else ''} components",
            "a connected graph, as angular similarities make",
            "cluster its components apart, or give similarities without exact zeros",
        )
    return _settle_signs(vectors), values


def _settle_signs(vectors: Array) -> Array:
    largest = np.abs(vectors).argmax(axis=0)
    return np.asarray(vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])]))


def degenerate(values: Float[Array, " k"], n_clusters: Sequence[int], gap: float = 1e-8) -> list[int]:
    """Numbers of clusters k at which the k-th and the (k+1)-th eigenvalue agree to `gap`: their subspace is not unique."""
    return [k for k in n_clusters if 0 < k < len(values) and values[k - 1] - values[k] < gap]


def scaled_rows(vectors: Float[Array, "token k"], rows: str = "degree") -> Float[Array, "token k"]:
    """What is clustered: each eigenvector over √degree (scikit-learn's default), or rows of unit length for `unit`.

    `unit` (Ng, Jordan and Weiss 2001) must be applied to the first k columns alone; `cluster` does.
    """
    if rows == "unit":
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300))
    # the first eigenvector is √degree; k-means does not mind the common scale
    return np.asarray(vectors / vectors[:, :1])


def assign(
    vectors: Float[Array, "token k"],
    n_clusters: Sequence[int],
    *,
    method: str = "kmeans",
    rows: str = "degree",
    restarts: int = 30,
    rounds: int = kmeans.ROUNDS,
    seed: int = 0,
    whole: int | None = None,
) -> dict[int, Int[Array, " token"]]:
    """Labels for each k, from the first k eigenvectors; 0 is the largest cluster.

    `method` is `kmeans` (one improved solution, `quanta.clustering.kmeans`), `restarts` (scikit-learn's KMeans from `restarts`
    starts, as in the paper), `cluster_qr` or `discretize`; `rows` is for the first two, see `scaled_rows`. `rounds` is how
    often `kmeans` breathes. Of more than 20,000 tokens, `kmeans` is scikit-learn's in mini-batches, each k by itself. For tokens that are part of
    more, `whole` is the number of all: parts are clustered as the whole is.

    Raises:
        QuantaError: an unknown method, k above the number of eigenvectors or of distinct rows.
    """
    if method not in ASSIGNMENTS or rows not in ROWS:
        raise QuantaError("qdg.assign, qdg.rows", f"{method}, {rows}", f"one of {ASSIGNMENTS}, one of {ROWS}", "choose")
    ks = sorted(set(n_clusters))
    if ks[0] < 1 or ks[-1] > vectors.shape[1]:
        raise QuantaError(
            "qdg.n_clusters", f"{ks[-1]} clusters of {vectors.shape[1]} eigenvectors", "at most as many", "lower it"
        )
    progress = Progress("clustering", sum(ks), "clusters")
    found: dict[int, Array] = {}
    scaled = scaled_rows(vectors)
    in_batches = (len(scaled) if whole is None else whole) > FULL_SWEEP
    if method == "kmeans" and rows == "degree" and not in_batches:
        for k, partition in kmeans.sweep(scaled, ks, seed=seed, rounds=rounds):
            found[k] = by_size(partition.labels)
            progress.advance(k, f"at {k}")
    else:
        for k in ks:
            points = scaled[:, :k] if rows == "degree" else scaled_rows(vectors[:, :k], rows)
            if method == "kmeans" and in_batches:
                labels = _in_batches(points, k, seed=seed)
            elif method == "kmeans":
                [(_, partition)] = kmeans.sweep(points, [k], seed=seed, rounds=rounds)
                labels = partition.labels
            elif method == "restarts":
                state = int(np.random.SeedSequence([seed, 3, k]).generate_state(1)[0])
                from sklearn.cluster import KMeans  # more than a second, which no other method needs

                labels = KMeans(k, n_init=restarts, random_state=state, copy_x=False).fit(points.copy()).labels_
            elif method == "cluster_qr":
                labels = kmeans.cluster_qr(vectors[:, :k])
            else:
                labels = kmeans.discretize(vectors[:, :k], seed=seed)
            found[k] = by_size(labels)
            progress.advance(k, f"at {k}")
    progress.done()
    return found


@dataclass(frozen=True)
class Assignment:
    """How labels are made from eigenvectors (`assign`), for data, halves, null models and simulations alike."""

    method: str = "kmeans"
    rows: str = "degree"
    restarts: int = 30

    def __call__(self, vectors: Float[Array, "token k"], n_clusters: Sequence[int], **how: Any) -> dict[int, Array]:
        """`assign`, given the rest of its settings: seed, rounds, whole."""
        return assign(vectors, n_clusters, method=self.method, rows=self.rows, restarts=self.restarts, **how)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


MAIN = Assignment()


def _in_batches(points: Array, k: int, *, seed: int) -> Int[Array, " token"]:
    state = int(np.random.SeedSequence([seed, 3, k]).generate_state(1)[0])
    # sampled points seed it: k-means++ over all tokens would cost more than the clustering
    from sklearn.cluster import MiniBatchKMeans

    fit = MiniBatchKMeans(
        k, n_init=3, init_size=max(6 * k, 3000), batch_size=4096, max_iter=60, random_state=state
    ).fit(np.ascontiguousarray(points, dtype=np.float32))
    return np.asarray(fit.labels_)


def cluster(
    vectors: Array,
    n_clusters: Sequence[int],
    *,
    method: str = "kmeans",
    rows: str = "degree",
    restarts: int = 30,
    seed: int = 0,
) -> pd.DataFrame:
    """`assign` as a table.

    Returns:
        columns n_clusters, token, label. Labels are by falling size: 0 is the largest cluster.
    """
    return as_table(assign(vectors, n_clusters, method=method, rows=rows, restarts=restarts, seed=seed))


def as_table(found: Mapping[int, Int[Array, " token"]]) -> pd.DataFrame:
    """Labels for each k as a table: n_clusters, token, label."""
    tables = [
        pd.DataFrame({"n_clusters": k, "token": np.arange(len(labels)), "label": labels}) for k, labels in found.items()
    ]
    return pd.concat(tables, ignore_index=True).astype({"n_clusters": "int32", "token": "int32", "label": "int32"})


def by_size(labels: Array) -> Int[Array, " token"]:
    """Rename labels by falling cluster size; of equal sizes, the one whose first token comes first."""
    names, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[inverse]


def one_hot(labels: Int[Array, " token"]) -> sp.csr_array:
    """Membership as a sparse matrix (cluster, token)."""
    n = len(labels)
    return sp.csr_array((np.ones(n), (np.asarray(labels), np.arange(n))), shape=(int(labels.max()) + 1, n))
