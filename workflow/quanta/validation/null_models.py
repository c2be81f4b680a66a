"""The sceptic's null models: cosines, or groups, that hold no skills, to be sent through the functions of the main line.

Each makes cosines (N, N) with unit diagonal, symmetric, or labels. A slope that a null shares says nothing about skills.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Float32, Int
from quanta.errors import QuantaError
from quanta.streams import Purpose, generator


def _cosines(features: Array) -> Float32[Array, "token token"]:
    unit = cosine.unit_rows(features)
    return cosine.settled(unit @ unit.T)


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
    return cosine.settled(matrix / root[:, None] / root[None, :])


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


@dataclass(frozen=True)
class Data:
    """What null models are made from; a model that needs something absent is left out."""

    cosines: Float[Array, "token token"]
    features: Float32[Array, "token feature"] | None
    untrained: Float[Array, "token token"] | None
    target: Int[Array, " token"]
    bigram: Int[Array, " token"]
    dimension: int  # of the isotropic Gaussian
    seed: int

    def rng(self, index: int) -> np.random.Generator:
        """The random numbers of one null model."""
        return generator(self.seed, Purpose.NULL_MODEL, index)


def _untrained(data: Data) -> Array | None:
    return None if data.untrained is None else np.asarray(data.untrained)


def _shuffled(data: Data) -> Array | None:
    return None if data.features is None else shuffled(data.features, data.rng(5))


def _within_commonest(data: Data) -> Array:
    chosen = within_commonest(data.target)
    return np.asarray(data.cosines[np.ix_(chosen, chosen)])


@dataclass(frozen=True)
class NullModel:
    """A null model: its name in tables, what the page says of it, and how it is made (None: something is absent)."""

    name: str
    meaning: str
    make: Callable[[Data], Array | None]


MODELS = (
    NullModel(
        "Gaussian, the data's spectrum",
        "cosines of random vectors with the data's eigenvalues: no groups",
        lambda data: gaussian(data.cosines, data.rng(1)),
    ),
    NullModel(
        "isotropic Gaussian",
        "cosines of random vectors, without preferred directions: no groups",
        lambda data: isotropic(len(data.cosines), data.dimension, data.rng(2)),
    ),
    NullModel(
        "clusters = target token",
        "one random direction per target token; as alike within, and as spread between, as the data",
        lambda data: grouped(data.cosines, data.target, data.rng(3)),
    ),
    NullModel(
        "clusters = bigram",
        "the same, one direction per bigram",
        lambda data: grouped(data.cosines, data.bigram, data.rng(4)),
    ),
    NullModel(
        "untrained model, same tokens",
        "gradients of the same architecture with random weights",
        _untrained,
    ),
    NullModel(
        "shuffled features",
        "each feature of the gradients shuffled among the tokens",
        _shuffled,
    ),
    NullModel(
        "the data, within the commonest target",
        "the data's own cosines, for tokens with the commonest target only",
        _within_commonest,
    ),
)
MEANINGS = {model.name: model.meaning for model in MODELS}


def make(data: Data, names: Collection[str] | None = None) -> dict[str, Array]:
    """Null models by name, all or those of `names`, as cosines. Those that need what is absent (features, an untrained model) are left out."""
    made = ((model.name, model.make(data)) for model in MODELS if names is None or model.name in names)
    return {name: cosines for name, cosines in made if cosines is not None}
