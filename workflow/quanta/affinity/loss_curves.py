"""Correlation of loss curves as an affinity, beside that of gradients.

Gradient cosine is the paper's (section 5). Tokens of one quantum should also be learned together: their losses fall at
the same sizes and steps, so the correlation of loss curves is a second opinion that knows nothing of gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Float32
from quanta.errors import QuantaError

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
    return cosine.settled(unit @ unit.T)


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
    return cosine.settled(curves / np.maximum(length, 1e-12) @ (curves / np.maximum(length, 1e-12)).T)


CHOICES: dict[str, Callable[[Evidence], Array]] = {"gradient": gradient, "loss_curves": loss_curves}
