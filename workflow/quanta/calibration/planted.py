"""Planted quanta: tokens in a high-dimensional space whose quanta follow a known Zipf law, to test estimators on.

A token of quantum q that predicts the target token t has the feature vector

    √shared · s + √identity · u_t + √strength_q · (cone of q) + √rest · noise,

s one direction common to all, u_t one for each target, the cone of q a direction with a few more around it, noise with
a decaying spectrum. Several quanta predict one target, so identity nests quanta. Some tokens use a second quantum too.
"""

from dataclasses import dataclass, replace

import numpy as np

from quanta.arrays import Array, Bool, Float, Float32, Int
from quanta.errors import QuantaError

PRIOR = {
    "alpha": (-0.4, 1.2),  # below 0 the law needs its finite K; data must be free to say so
    "n_quanta": (300.0, 100_000.0),
    "strength": (0.1, 0.95),
    "strength_spread": (0.05, 0.7),
    "cone_width": (0.0, 0.6),
    "shared": (0.0, 0.1),
    "identity": (0.0, 0.5),
    "identities_per_quantum": (0.02, 1.0),
    "mixed": (0.0, 0.3),
    "noise_decay": (0.0, 1.0),
}
LOGARITHMIC = ("n_quanta", "identities_per_quantum")


@dataclass(frozen=True)
class Settings:
    """What is planted. Shares are of the squared length of a token's vector, before noise fills it up to 1."""

    n_tokens: int = 2000
    alpha: float = 0.4  # quantum k has the frequency p_k ∝ k^-(α+1), the paper's section 2
    n_quanta: int = 20_000
    dimension: int = 512
    strength: float = 0.5  # mean share of the quantum's cone in what shared and identity leave
    strength_spread: float = (
        0.0  # deviation between quanta (a beta law), over the largest possible: 0 all alike, 1 all or none
    )
    cone_width: float = 0.0  # share of the cone that lies off its axis
    cone_rank: int = 4
    shared: float = 0.0
    identity: float = 0.0  # share of the target token's direction
    identities_per_quantum: float = 0.2  # number of distinct targets over number of quanta that occur
    mixed: float = 0.0  # share of tokens that use a second quantum, at equal strength
    noise_decay: float = 0.0  # variance of noise direction j ∝ j^-decay; 0 is isotropic


@dataclass(frozen=True)
class Planted:
    """Unit features, the quantum of each token (0 is the most frequent), its target token's identity."""

    features: Float32[Array, "token feature"]
    quantum: Int[Array, " token"]
    identity: Int[Array, " token"]


def frequencies(alpha: float, n_quanta: int) -> Float[Array, " quantum"]:
    """p_k ∝ k^-(α+1) for k = 1 … K, summing to 1."""
    p = np.arange(1, n_quanta + 1) ** -(alpha + 1.0)
    return np.asarray(p / p.sum())


def draw(settings: Settings, rng: np.random.Generator) -> Planted:
    """Draw quanta by their frequencies and features as the module says.

    Raises:
        QuantaError: a share is outside [0, 1], or shared and identity leave no room.
    """
    s = settings
    shares = (s.strength, s.strength_spread, s.cone_width, s.shared, s.identity, s.mixed)
    if min(shares) < 0 or max(shares) > 1 or s.shared + s.identity > 0.95:
        raise QuantaError("planted settings", str(s), "shares within [0, 1], shared + identity up to 0.95", "fix them")
    quantum = rng.choice(s.n_quanta, s.n_tokens, p=frequencies(s.alpha, s.n_quanta))
    unit, identity = features(s, quantum, rng)
    return Planted(unit, quantum, identity)


def features(
    s: Settings, quantum: Int[Array, " token"], rng: np.random.Generator
) -> tuple[Float32[Array, "token feature"], Int[Array, " token"]]:
    """Unit rows for given quanta, and their targets' identities. A quantum's target is drawn by a Zipf law of its own."""
    n, d = len(quantum), s.dimension
    present, own = np.unique(quantum, return_inverse=True)
    # a second quantum comes from those that occur, as often as they do
    second = np.where(rng.random(n) < s.mixed, own[rng.integers(0, n, n)], own)

    def directions(count: int) -> Array:
        return rng.standard_normal((count, d), dtype=np.float32) / np.float32(np.sqrt(d))

    n_targets = max(round(s.identities_per_quantum * len(present)), 1)
    target = rng.choice(n_targets, len(present), p=frequencies(0.0, n_targets))
    room = 1 - s.shared - s.identity
    strength = (room * _strengths(s, len(present), rng))[own].astype(np.float32)
    axis = directions(len(present))
    x = axis[own]
    if s.cone_width > 0:
        basis = directions(len(present) * s.cone_rank).reshape(len(present), s.cone_rank, d)
        lean = rng.standard_normal((n, s.cone_rank), dtype=np.float32) / np.float32(np.sqrt(s.cone_rank))
        off = np.empty_like(x)
        for begin in range(0, n, 512):
            part = slice(begin, begin + 512)
            off[part] = np.einsum("tr,trd->td", lean[part], basis[own[part]])
        x = np.float32(np.sqrt(1 - s.cone_width)) * x + np.float32(np.sqrt(s.cone_width)) * off
    two = second != own
    x[two] = (x[two] + axis[second[two]]) / np.float32(np.sqrt(2))
    x = np.sqrt(strength)[:, None] * x
    noise = rng.standard_normal((n, d), dtype=np.float32)
    scale = np.arange(1, d + 1) ** (-s.noise_decay / 2)
    noise *= (scale / np.sqrt((scale**2).sum())).astype(np.float32)
    x += np.sqrt(np.maximum(room - strength, 0))[:, None] * noise
    if s.shared:
        x += np.float32(np.sqrt(s.shared)) * directions(1)
    if s.identity:
        x += np.float32(np.sqrt(s.identity)) * directions(n_targets)[target[own]]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), target[own]


def _strengths(s: Settings, number: int, rng: np.random.Generator) -> Array:
    if s.strength_spread == 0 or s.strength in (0, 1):
        return np.full(number, s.strength)
    # variance m(1−m)/(φ+1) of a beta law with mean m, as a share of its largest, m(1−m)
    concentration = 1 / s.strength_spread**2 - 1
    return rng.beta(s.strength * concentration, (1 - s.strength) * concentration, number)


def from_prior(n_tokens: int, rng: np.random.Generator, dimension: int = 512) -> Settings:
    """Settings drawn uniformly from `PRIOR`, some in their logarithm."""
    values = {}
    for name, (low, high) in PRIOR.items():
        value = rng.uniform(np.log(low), np.log(high)) if name in LOGARITHMIC else rng.uniform(low, high)
        values[name] = float(np.exp(value)) if name in LOGARITHMIC else float(value)
    n_quanta = round(values.pop("n_quanta"))
    return replace(Settings(n_tokens=n_tokens, dimension=dimension, n_quanta=n_quanta), **values)  # type: ignore[arg-type]


def low_loss(
    quantum: Int[Array, " token"], rng: np.random.Generator, *, learned: int, slope: float, threshold: float = 0.1
) -> Bool[Array, " token"]:
    """Selection by loss as QDG does it: True where a token's loss is below `threshold` nats.

    A token of quantum k has a loss drawn from an exponential law whose mean is 0.1 · ((k+1)/`learned`)^`slope` nats up to rank
    `learned`, and 5 nats beyond: quanta that the model has not learned are not selected, rarer ones are selected less.
    """
    rank = quantum + 1.0
    mean = np.where(rank <= learned, 0.1 * (rank / learned) ** slope, 5.0)
    return np.asarray(rng.exponential(mean) < threshold)


def toy(
    n_tokens: int, n_clusters: int, dimension: int, exponent: float, noise: float, rng: np.random.Generator
) -> Planted:
    """The toy of the paper's appendix: centres drawn from a Gaussian, sizes by a Zipf law, isotropic noise around them.

    `exponent` is that of the frequencies, α+1; `noise` is the noise's standard deviation a coordinate, where the
    centres have 1. Features are unit rows; every token is its own identity.
    """
    p = frequencies(exponent - 1, n_clusters)
    quantum = rng.choice(n_clusters, n_tokens, p=p)
    centres = rng.standard_normal((n_clusters, dimension))
    x = centres[quantum] + noise * rng.standard_normal((n_tokens, dimension))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Planted(x.astype(np.float32), quantum, np.arange(n_tokens))
