"""Spectral clustering for a whole list of cluster counts from one eigendecomposition (the paper's section 5).

Follows `sklearn.cluster.SpectralClustering(affinity="precomputed")`: symmetric normalised affinity without its diagonal,
eigenvectors divided by the square root of the degree, k-means on the first k of them. The eigensolver, the k-means and
the choice of rows were settled by measurement: docs/clustering.md.
"""

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh

from quanta.arrays import Array, Float
from quanta.errors import QuantaError

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
        raise QuantaError(WHERE, f"shape {similarity.shape}", expected, "make it again")
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
        raise QuantaError(WHERE, f"eigenvectors with a residual of {residual:.1e}", "below 1e-9", "make it again")
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
