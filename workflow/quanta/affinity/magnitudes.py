"""Magnitudes of gradients: which weights a token's loss is sensitive to, whatever the sign.

Two samples of one mechanism can have opposite gradients on the same weights. Signs tell these samples apart, and |g|
brings them together. Few parameters hold most of |g| in every sample, so that each parameter is standardised over the
samples: its |g| minus its mean, over its deviation. The cosine of two such rows is the affinity. Gradients are scaled to
length 1 before: otherwise all samples with short gradients have nearly the same row, minus the means.

A gradient matrix here is exact, (sample, parameter). `quanta.affinity.magnitude_features` makes the same from a language
model, folded to a few features, without holding all gradients.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Float32
from quanta.errors import QuantaError

VARIES = 3e-3  # of its root mean square: a smaller deviation is rounding of sums in float32
# of the root mean square over all parameters: less is rounding of a gradient that is zero, as those of GPT-NeoX's key biases.
# There they are at most 10^-5.5 of it, and those of all other parameters at least 10^-4.5 (neox-1m, 512 tokens)
FLOOR = 1e-5
COLUMNS = 2**14  # parameters at a time: float64 copies of all samples stay small


@dataclass(frozen=True)
class Moments:
    """Sums over samples of |g| and of g², per parameter, in float64."""

    samples: int
    total: Float[Array, " parameter"]
    squares: Float[Array, " parameter"]

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.samples + other.samples, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> Float[Array, " parameter"]:
        """Mean of |g| over the samples."""
        return self.total / self.samples

    @property
    def inverse(self) -> Float[Array, " parameter"]:
        """1 over the deviation of |g|; 0 where |g| is rounding or does not vary: such a parameter contributes nothing."""
        return self.inverse_above(FLOOR**2)

    def inverse_above(self, floor: float) -> Float[Array, " parameter"]:
        """The same; rounding has a mean square below `floor` of that over all parameters. Of √|g| the square is |g|: `FLOOR`."""
        power = self.squares / self.samples
        variance = np.maximum(power - self.mean**2, 0)
        varies = (variance > VARIES**2 * power) & (power > floor * power.mean())
        inverse: Float[Array, " parameter"] = np.zeros_like(variance)
        np.divide(1.0, np.sqrt(variance), out=inverse, where=varies)
        return inverse


def moments(gradients: Array) -> Moments:
    """Sums over the samples of a part of the gradients, (sample, parameter). Moments of parts add up to those of the whole."""
    n, count = gradients.shape
    total, squares = np.empty(count), np.empty(count)
    for begin in range(0, count, COLUMNS):
        part = np.abs(np.asarray(gradients[:, begin : begin + COLUMNS], dtype=np.float64))
        total[begin : begin + COLUMNS] = part.sum(axis=0)
        squares[begin : begin + COLUMNS] = np.einsum("ij,ij->j", part, part)
    return Moments(n, total, squares)


def of_parts(parts: Iterable[Array]) -> Moments:
    """Moments of consecutive parts of the samples, summed in their order.

    Raises:
        QuantaError: there is no part.
    """
    found = [moments(part) for part in parts]
    if not found:
        raise QuantaError("gradients", "no part", "at least one sample", "select tokens first")
    whole = found[0]
    for other in found[1:]:
        whole = whole + other
    return whole


def raw(gradients: Array) -> Float32[Array, "sample parameter"]:
    """|g|, element by element."""
    return np.abs(np.asarray(gradients, dtype=np.float32))


def standardised(
    gradients: Array, over: Moments | None = None, *, unit: bool = True
) -> Float32[Array, "sample parameter"]:
    """|g| of each parameter minus its mean over the samples, over its deviation.

    Args:
        gradients: exact, (sample, parameter), or a part of the samples.
        over: the moments of all samples, of their unit gradients with `unit`; by default those of `gradients`.
        unit: scale each gradient to length 1 before, so that the rows do not depend on a sample's scale.

    Raises:
        QuantaError: with `unit`, a gradient is zero or not finite; or no parameter varies over the samples.
    """
    rows = cosine.unit_rows(gradients) if unit else np.asarray(gradients)
    over = moments(rows) if over is None else over
    return _standardised(rows, over.mean, over.inverse)


def rooted(gradients: Array) -> Float32[Array, "sample parameter"]:
    """√|g| of unit gradients, standardised as |g| is. The root tames a parameter's rare large values. Errors: `standardised`."""
    rows = np.sqrt(np.abs(cosine.unit_rows(gradients)))
    over = moments(rows)
    return _standardised(rows, over.mean, over.inverse_above(FLOOR))


def _standardised(rows: Array, mean: Array, inverse: Array) -> Float32[Array, "sample parameter"]:
    if not inverse.any():
        raise QuantaError(
            "gradients", "no parameter's |g| varies over the samples", "samples that differ", "take more samples"
        )
    found = np.empty(rows.shape, dtype=np.float32)
    for begin in range(0, rows.shape[1], COLUMNS):
        part = slice(begin, begin + COLUMNS)
        found[:, part] = (np.abs(np.asarray(rows[:, part], dtype=np.float64)) - mean[part]) * inverse[part]
    return found
