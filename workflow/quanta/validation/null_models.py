"""The sceptic's null models: cosines, or groups, that hold no skills, to be sent through the functions of the main line.

Each makes cosines (N, N) with unit diagonal, symmetric, or labels. A slope that a null shares says nothing about skills.
"""

import numpy as np
from scipy.stats import norm

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Float32, Int
from quanta.errors import QuantaError
from quanta.streams import Purpose, generator


def _cosines(features: Array) -> Float32[Array, "token token"]:
    unit = cosine.unit_rows(features)
    matrix = np.clip(unit @ unit.T, -1, 1)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1)
    return np.asarray(matrix, dtype=np.float32)


def gaussian(cosines: Float[Array, "token token"], rng: np.random.Generator) -> Float32[Array, "token token"]:
    """Gaussian vectors whose covariance has the spectrum of the data's cosine matrix: no clusters, the same directions' weight."""
    values = np.linalg.eigvalsh(np.asarray(cosines, dtype=np.float64))
    n = len(values)
    scale = np.sqrt(np.maximum(values, 0)).astype(np.float32)
    return _cosines(rng.standard_normal((n, n), dtype=np.float32) * scale)


def isotropic(n: int, dimension: int, rng: np.random.Generator) -> Float32[Array, "token token"]:
    """Gaussian vectors in `dimension` dimensions, all directions alike.

    Above N dimensions the Gram matrix is drawn as a Wishart matrix by its triangular factor (Bartlett 1933).
    """
    if dimension <= n:
        return _cosines(rng.standard_normal((n, dimension), dtype=np.float32))
    factor = np.tril(rng.standard_normal((n, n)), -1)
    factor[np.arange(n), np.arange(n)] = np.sqrt(rng.chisquare(dimension - np.arange(n)))
    return _cosines(factor)


def shuffled(features: Float32[Array, "token feature"], rng: np.random.Generator) -> Float32[Array, "token token"]:
    """Each feature's values dealt out anew among the unit rows: the same distribution of every feature, no token left.

    `features` may be memory-mapped.
    """
    length = cosine.lengths(features)[:, None]
    matrix = np.zeros((len(features), len(features)), dtype=np.float64)
    squares = np.zeros(len(features))
    for begin in range(0, features.shape[1], 4096):
        unit = np.asarray(features[:, begin : begin + 4096] / length, dtype=np.float32)
        block = rng.permuted(unit, axis=0)
        matrix += block @ block.T
        squares += np.einsum("ij,ij->i", block, block, dtype=np.float64)
    root = np.sqrt(np.maximum(squares, 1e-300))
    matrix = np.clip(matrix / root[:, None] / root[None, :], -1, 1)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1)
    return np.asarray(matrix, dtype=np.float32)


def grouped(
    cosines: Float[Array, "token token"], group: Int[Array, " token"], rng: np.random.Generator
) -> Float32[Array, "token token"]:
    """Clusters that are nothing but groups: one direction a group, as similar within and as spread between as the data are.

    The mean cosine within groups and the mean and deviation between them are the data's; all groups are alike.
    """
    matrix = np.asarray(cosines)
    n = len(matrix)
    names, own = np.unique(group, return_inverse=True)
    same = own[:, None] == own[None, :]
    np.fill_diagonal(same, False)
    between = matrix[~same & ~np.eye(n, dtype=bool)]
    if not len(between):
        raise QuantaError("null model", "all tokens in one group", "at least two groups", "leave this null out")
    shared = float(np.clip(np.median(between), 0, 0.9))
    within = float(np.clip(matrix[same].mean() if same.any() else shared, shared, 0.99))
    low, middle = np.quantile(between, [float(norm.cdf(-1)), 0.5])
    dimension = int(np.clip((1 - shared) ** 2 / max(middle - low, 1e-3) ** 2, 16, 4096))
    noise = rng.standard_normal((n, dimension), dtype=np.float32) / np.float32(np.sqrt(dimension))
    axis = rng.standard_normal((len(names), dimension), dtype=np.float32) / np.float32(np.sqrt(dimension))
    common = rng.standard_normal(dimension, dtype=np.float32) / np.float32(np.sqrt(dimension))
    x = np.sqrt(shared) * common + np.sqrt(within - shared) * axis[own] + np.sqrt(1 - within) * noise
    return _cosines(np.asarray(x, dtype=np.float32))


def within_commonest(identity: Int[Array, " token"]) -> Int[Array, " chosen"]:
    """Tokens whose target is the commonest one: identity can explain nothing among them."""
    names, counts = np.unique(identity, return_counts=True)
    return np.flatnonzero(identity == names[counts.argmax()])


def make(
    cosines: Float[Array, "token token"],
    features: Float32[Array, "token feature"] | None,
    untrained: Float[Array, "token token"] | None,
    target: Int[Array, " token"],
    bigram: Int[Array, " token"],
    *,
    dimension: int,
    seed: int,
) -> dict[str, Array]:
    """All null models by name, as cosines. Those that need what is not at hand (features, an untrained model) are left out."""

    def rng(index: int) -> np.random.Generator:
        return generator(seed, Purpose.NULL_MODEL, index)

    made = {
        "Gaussian, the data's spectrum": gaussian(cosines, rng(1)),
        "isotropic Gaussian": isotropic(len(cosines), dimension, rng(2)),
        "clusters = target token": grouped(cosines, target, rng(3)),
        "clusters = bigram": grouped(cosines, bigram, rng(4)),
    }
    if untrained is not None:
        made["untrained model, same tokens"] = np.asarray(untrained)
    if features is not None:
        made["shuffled features"] = shuffled(features, rng(5))
    chosen = within_commonest(target)
    made["the data, within the commonest target"] = np.asarray(cosines[np.ix_(chosen, chosen)])
    return made
