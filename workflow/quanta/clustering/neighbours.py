"""Spectral clustering for large N: nearest neighbours and features instead of all pairs, k-means on the eigenvectors.

A graph of neighbours alone cuts a cluster of more tokens than neighbours into pieces. So the part of the affinity that
is linear in the cosine is kept whole, by the features, and neighbours bring what is beyond it. Memory is N × features
and N × neighbours, not N². The tiles are matrix products in torch, on the CPU or a GPU. docs/clustering.md has times, and the agreement with the dense path by number of neighbours.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import eigsh

from quanta.affinity.cosine import unit_rows
from quanta.arrays import Array, Float, Float32, Int
from quanta.clustering import assignment, kmeans
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.streams import Purpose, generator

WHERE = "qdg/features.npy"


def nearest(
    features: Float32[Array, "token feature"], neighbours: int, *, device: str = "cpu", tile: int = 4096
) -> tuple[Int[Array, "token neighbour"], Float32[Array, "token neighbour"]]:
    """Exact nearest neighbours by cosine, nearest first, without the token itself; and their cosines.

    `features` may be memory-mapped: it is read by tiles, and all of it, normalised, is held once in float32.
    Of equal cosines the smaller index comes first only by chance; labels do not depend on it beyond that tie.

    Raises:
        QuantaError: a row is zero or not finite, or `neighbours` is not between 1 and N − 1.
    """
    import torch  # seconds, which the rest of the module need not wait

    n = len(features)
    if not 1 <= neighbours < n:
        raise QuantaError("qdg.neighbours", f"{neighbours} neighbours of {n} tokens", "1 to N − 1", "lower it")
    unit = torch.from_numpy(unit_rows(features)).to(device)
    index = np.empty((n, neighbours), dtype=np.int64)
    value = np.empty((n, neighbours), dtype=np.float32)
    progress = Progress("neighbours", n * n, "pairs")
    for begin in range(0, n, tile):
        left = unit[begin : begin + tile]
        best_value = torch.full((len(left), 0), 0.0, device=device)
        best_index = torch.empty((len(left), 0), dtype=torch.int64, device=device)
        for other in range(0, n, tile):
            right = unit[other : other + tile]
            block = left @ right.T
            if other == begin:
                block.fill_diagonal_(-2)
            top = torch.topk(block, min(neighbours, len(right)), dim=1)
            best_value = torch.cat([best_value, top.values], dim=1)
            best_index = torch.cat([best_index, top.indices + other], dim=1)
            if best_value.shape[1] > neighbours:
                kept = torch.topk(best_value, neighbours, dim=1)
                best_value, best_index = kept.values, best_index.gather(1, kept.indices)
            progress.advance(block.numel())
        index[begin : begin + tile] = best_index.cpu().numpy()
        value[begin : begin + tile] = best_value.cpu().numpy()
    progress.done()
    return index, np.clip(value, -1, 1)


def graph(
    index: Int[Array, "token neighbour"], cosine: Float32[Array, "token neighbour"], *, linear: bool = False
) -> sp.csr_array:
    """Symmetric sparse affinity where either of two tokens is the other's neighbour: arcsin(c)/π, the angular similarity above ½.

    ½ is what the dense path has for orthogonal tokens, so missing entries stand for it. With `linear`, c/π is taken off as
    well, because `embedding` adds it for all pairs from the features; what is not above zero is dropped.
    """
    n, m = index.shape
    c = np.clip(cosine, -1, 1).astype(np.float64)
    weight = ((np.arcsin(c) - c if linear else np.arcsin(c)) / np.pi).ravel()
    keep = weight > 1e-9
    rows = np.repeat(np.arange(n), m)[keep]
    one = sp.csr_array((weight[keep], (rows, index.ravel()[keep])), shape=(n, n))
    return sp.csr_array(one.maximum(one.T))


def embedding(
    affinity: sp.csr_array,
    k: int,
    *,
    unit: Float32[Array, "token feature"] | None = None,
    background: float = 0.5,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> tuple[Float[Array, "token k"], Float[Array, " k"], int]:
    """Leading eigenvectors of D^-½ A D^-½ for A = `background` · 11ᵀ + UUᵀ/π + W, without its diagonal; and W's components.

    W is the sparse `affinity`, U the unit features where they are given (then W must be `graph` with `linear`): angular
    similarity is ½ + arcsin(c)/π, whose constant and linear part have rank one and rank `feature` and need no pairs;
    what is left, (arcsin c − c)/π, is small but for near neighbours. The constant keeps the graph connected, so that
    a component of W needs no treatment of its own. Lanczos (ARPACK), to `tolerance` of each eigenvalue.

    Raises:
        QuantaError: k is not between 1 and N − 2, or the solver's residual stays above ten times the tolerance.
    """
    n = affinity.shape[0]
    if not 1 <= k < n - 1:
        raise QuantaError("qdg.n_clusters", f"{k} eigenvectors of {n} tokens", "1 to N − 2", "lower qdg.n_clusters")
    components = int(connected_components(affinity, directed=False)[0])

    def times(y: Array) -> Array:
        """A y, y of shape (token, vector)."""
        product = affinity @ y + background * (y.sum(axis=0)[None, :] - y)
        if unit is not None:
            product += (unit @ (unit.T @ y.astype(np.float32))).astype(np.float64) / np.pi - y / np.pi
        return np.asarray(product)

    root = np.sqrt(times(np.ones((n, 1))))

    def apply(x: Array) -> Array:
        return times(x.reshape(n, -1) / root) / root

    operator = sp.linalg.LinearOperator((n, n), matvec=lambda x: apply(x).ravel(), matmat=apply, dtype=np.float64)
    start = generator(seed, Purpose.NEIGHBOUR_LANCZOS).standard_normal(n)
    values, vectors = eigsh(operator, k, which="LA", v0=start, tol=tolerance, ncv=min(max(2 * k, 20), n - 1))
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    residual = float((np.linalg.norm(apply(vectors) - vectors * values, axis=0) / np.abs(values)).max())
    # float32 features leave about 1e-6 of the largest eigenvalue, 1, which the small ones feel more
    if not residual <= 10 * tolerance + (1e-5 / abs(values[-1]) if unit is not None else 0):
        raise QuantaError(
            WHERE, f"eigenvectors with a relative residual of {residual:.1e}", f"{10 * tolerance:.0e}", "try again"
        )
    largest = np.abs(vectors).argmax(axis=0)
    return vectors * np.sign(vectors[largest, np.arange(k)]), values, components


def cluster(
    features: Float32[Array, "token feature"],
    n_clusters: Sequence[int],
    *,
    neighbours: int,
    how: assignment.Assignment = assignment.MAIN,
    seed: int,
    rounds: int = kmeans.ROUNDS,
    whole: int | None = None,
    device: str = "cpu",
) -> dict[int, Int[Array, " token"]]:
    """Labels for each k from features (N, feature), without any N × N matrix; fewer neighbours where N is as small."""
    index, cosine = nearest(features, min(neighbours, len(features) - 1), device=device)
    vectors, _, _ = embedding(
        graph(index, cosine, linear=True),
        max(n_clusters),
        unit=unit_rows(features),
        seed=seed,
    )
    return how(vectors, n_clusters, rounds=rounds, seed=seed, whole=whole)


def of_features(
    features: Float32[Array, "token feature"], neighbours: int, how: assignment.Assignment = assignment.MAIN
) -> Callable[..., dict[int, Int[Array, " token"]]]:
    """`cluster` of some of the tokens, as `stability.resample` asks for it."""

    def some(tokens: Array, n_clusters: Sequence[int], **settings: Any) -> dict[int, Array]:
        return cluster(features[tokens], n_clusters, neighbours=neighbours, how=how, **settings)

    return some
