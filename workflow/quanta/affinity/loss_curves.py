"""Choices of affinity behind one interface: each makes a matrix (token, token) in [−1, 1] from what is known of tokens.

Gradient cosine is the paper's (section 5). Tokens of one quantum should also be learned together: their losses fall at
the same sizes and steps, so the correlation of loss curves is a second opinion that knows nothing of gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Float32
from quanta.clustering import spectral
from quanta.errors import QuantaError
from quanta.validation import stability

FLOOR_NATS = 1e-3  # losses below are one: differences there are not learning


@dataclass(frozen=True)
class Evidence:
    """What affinities are made from: gradient features, and losses in nats of the same tokens in every model and step."""

    features: Float32[Array, "token feature"] | None = None
    losses: Float[Array, "token member"] | None = None


def gradient(evidence: Evidence) -> Float32[Array, "token token"]:
    """Cosine of gradients."""
    if evidence.features is None:
        raise QuantaError("affinity gradient", "no features", "gradient features", "run the rule features")
    unit = cosine.unit_rows(np.asarray(evidence.features))
    return _settled(unit @ unit.T)


def loss_curves(evidence: Evidence) -> Float32[Array, "token token"]:
    """Pearson correlation of log losses over models and steps, after the mean curve of all tokens is taken off.

    Raises:
        QuantaError: no losses, or fewer than three models and steps.
    """
    if evidence.losses is None or evidence.losses.shape[1] < 3:
        raise QuantaError("affinity loss_curves", "losses of too few models", "three or more", "add sizes or steps")
    curves = np.log(np.maximum(np.asarray(evidence.losses, dtype=np.float64), FLOOR_NATS))
    curves -= curves.mean(axis=0)
    curves -= curves.mean(axis=1, keepdims=True)
    length = np.linalg.norm(curves, axis=1, keepdims=True)
    return _settled(curves / np.maximum(length, 1e-12) @ (curves / np.maximum(length, 1e-12)).T)


CHOICES: dict[str, Callable[[Evidence], Array]] = {"gradient": gradient, "loss_curves": loss_curves}


def _settled(matrix: Array) -> Float32[Array, "token token"]:
    matrix = np.clip((matrix + matrix.T) / 2, -1, 1).astype(np.float32)
    np.fill_diagonal(matrix, 1)
    return np.asarray(matrix)


def agreement(
    left: Float[Array, "token token"],
    right: Float[Array, "token token"],
    n_clusters: int,
    how: spectral.Assignment = spectral.MAIN,
    *,
    seed: int,
) -> dict[str, Any]:
    """How far two affinities agree: rank correlation over pairs, adjusted Rand index of their clusters, neighbours shared.

    `neighbours_by_chance` is what `neighbours_shared`, of ten, would be for unrelated affinities.
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import adjusted_rand_score

    n = len(left)
    upper = np.triu_indices(n, 1)
    chosen = np.random.default_rng([seed, 11]).integers(0, len(upper[0]), min(len(upper[0]), 200_000))
    pairs = upper[0][chosen], upper[1][chosen]
    labels = [stability.cluster_like_data(matrix, [n_clusters], how, seed=seed)[n_clusters] for matrix in (left, right)]
    near = [np.argpartition(-(np.asarray(m) - 3 * np.eye(n)), 10, axis=1)[:, :10] for m in (left, right)]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]
    return {
        "rank_correlation": float(spearmanr(np.asarray(left)[pairs], np.asarray(right)[pairs]).statistic),
        "adjusted_rand": float(adjusted_rand_score(*labels)),
        "n_clusters": n_clusters,
        "neighbours_shared": float(np.mean(shared)),
        "neighbours_by_chance": 100 / (n - 1),
    }
