"""Affinities by name: how rows are made of gradients, and how cosines are made of rows.

    KINDS["standardised"].of_gradients(gradients)     # from an exact (sample, parameter) matrix
    KINDS["standardised"].of_features(features)       # from features of a language model's gradients

A new affinity is one more entry of `KINDS`. Cosines become similarities by `quanta.affinity.cosine.angular`, and clusters by
`quanta.clustering`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from quanta.affinity import cosine, magnitudes
from quanta.arrays import Array, Float32
from quanta.errors import QuantaError

SIGNED = "signed"  # features that are gradients as they are
RIDGE = 1.0  # of the mean eigenvalue of the covariance
Rows = Callable[[Array], Array]


def cosines(rows: Array) -> Float32[Array, "token token"]:
    """Cosines of rows (N, anything). `rows` may be memory-mapped.

    Raises:
        QuantaError: a row is zero or not finite.
    """
    found = np.empty((len(rows), len(rows)), dtype=np.float32)
    cosine.cosine([rows], found)
    return found


def _absolute(rows: Array) -> Float32[Array, "token token"]:
    return np.abs(cosines(rows))


def whitened(rows: Array, ridge: float = RIDGE) -> Float32[Array, "token direction"]:
    """Unit rows times the inverse root of their covariance plus `ridge` times its mean eigenvalue.

    Directions that many tokens share weigh less. The result is in the basis of the rows' own directions, N of them at most,
    which leaves cosines as they are. The mean is not taken off.

    Raises:
        QuantaError: a row is zero or not finite, or `ridge` is not above zero.
    """
    if not ridge > 0:
        raise QuantaError("ridge", f"{ridge}", "a number above 0", "1 is the default")
    unit = cosine.unit_rows(rows).astype(np.float64)
    values, vectors = np.linalg.eigh(unit @ unit.T)  # eigenvalues of the covariance, times N
    values = np.maximum(values, 0)
    floor = ridge * values.sum() / min(unit.shape)
    return np.asarray(vectors * np.sqrt(values / (values + floor)), dtype=np.float32)


def _whitened(rows: Array) -> Float32[Array, "token token"]:
    return cosines(whitened(rows))


def summed(matrices: Sequence[Array]) -> Float32[Array, "token token"]:
    """The mean of cosine matrices of the same tokens under several models or checkpoints.

    Raises:
        QuantaError: there is none, or they are not of the same tokens.
    """
    if not matrices or len({matrix.shape for matrix in matrices}) > 1:
        shapes = sorted({matrix.shape for matrix in matrices})
        raise QuantaError("affinities", f"shapes {shapes}", "matrices of the same tokens, one at least", "give others")
    total = np.zeros(matrices[0].shape)
    for matrix in matrices:
        total += matrix
    return cosine.settled(total / len(matrices))


@dataclass(frozen=True)
class Kind:
    """One affinity: what it is, which features it starts from, rows of exact gradients, and cosines of rows.

    `features` is `signed` (gradients as they are), `magnitudes`, `standardised` or `attention` (`magnitude_features`).
    """

    meaning: str
    features: str = SIGNED
    rows: Rows = np.asarray
    of_features: Rows = cosines

    def of_gradients(self, gradients: Array) -> Float32[Array, "sample sample"]:
        """Cosines from exact gradients (sample, parameter). Errors: those of its steps."""
        return np.asarray(self.of_features(self.rows(gradients)))


KINDS = {
    "signed": Kind("cosine of gradients: the paper's"),
    "absolute": Kind("size of the cosine of gradients: opposite gradients are alike", of_features=_absolute),
    "magnitudes": Kind("cosine of the magnitudes of gradients", "magnitudes", magnitudes.raw),
    "standardised": Kind(
        "cosine of the magnitudes of unit gradients, each parameter standardised over the tokens",
        "standardised",
        magnitudes.standardised,
    ),
    "attention": Kind(
        "cosine of the root magnitudes of unit gradients in the first attention layer, each parameter standardised over the "
        "tokens, mean over the layer's weights and biases",
        "attention",
        magnitudes.rooted,
    ),
    "whitened": Kind("cosine of gradients, directions that many tokens share weighed less", of_features=_whitened),
}


def kind(name: str) -> Kind:
    """The affinity of a name.

    Raises:
        QuantaError: there is none of this name.
    """
    if name not in KINDS:
        raise QuantaError("qdg.second", repr(name), f"one of {', '.join(KINDS)}", "choose one of them")
    return KINDS[name]
