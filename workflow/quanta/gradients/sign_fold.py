"""Sign fold: a random projection of flat gradients that is summed while they are multiplied, and never holds one whole.

Element p of the flat gradient, with a sign s_p, is added to feature h(p). Inner products of folded gradients are
unbiased with an error of about 1/√k, like those of a dense projection (docs/gradients.md has the algebra).

A weight's gradient is G = LᵀR, summed over positions (L: output gradients, R: inputs). Its elements get the signs
s(o, i) = r(o) c(i), which are put on L and R before the product. Element (o, i) goes to feature
(start + stride·o + i) mod k. With k odd and a stride prime to it, if (o, i) and (o', i') share a feature then (o, i')
and (o', i) do not, so products of two signs do as well as independent signs: the variance is the same. About
k/stride rows of G lie in the feature buffer as a matrix with that stride, so the matrix product sums in place.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from quanta.gradients.parameter_sets import Matrix, ParameterSet
from quanta.streams import Purpose, generator

LOOP_FROM = (
    2**22
)  # multiplications a sample; below it one batched product beats a loop over samples (docs/benchmarks.md)


Buffer = torch.Tensor | list[torch.Tensor]  # (sample, length), or for exact gradients a list of rows


@dataclass(frozen=True)
class _Piece:
    """Rows first…last of a matrix, in the buffer from `offset` on, one every `stride`, with no wrap between."""

    first: int
    last: int
    offset: int
    stride: int
    columns: int

    def view(self, buffer: torch.Tensor) -> torch.Tensor:
        """(row, column) inside a buffer (length,), or (sample, row, column) inside one (sample, length)."""
        return buffer.as_strided(
            (*buffer.shape[:-1], self.last - self.first, self.columns),
            (*buffer.stride()[:-1], self.stride, 1),
            buffer.storage_offset() + self.offset,
        )


class Fold:
    """From (L, R) pairs to features: take a `buffer`, add each `matrix` and the `vectors`, then `finish`.

    `features` is k, or None for the flat gradient itself, without signs; k = number of parameters is the same but for
    signs. The signs depend on the seed and on the shapes of the parameter set alone.
    """

    def __init__(self, parameters: ParameterSet, features: int | None, seed: int, device: torch.device) -> None:
        self.parameters, self.exact, self.device = parameters, features is None, device
        self.features = k = parameters.count if features is None else features
        rng = generator(seed, Purpose.SIGN_FOLD)
        self._pieces: dict[str, list[_Piece]] = {}
        self._signs: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        start, end = 0, k
        for m in parameters.matrices:
            stride = m.columns
            while k < parameters.count and math.gcd(stride, k) > 1:
                stride += 1
            rows = max(k // stride, 1)
            pieces = [
                _Piece(first, min(first + rows, m.rows), (start + first * stride) % k, stride, m.columns)
                for first in range(0, m.rows, rows)
            ]
            self._pieces[m.name] = pieces
            if m.columns <= k:  # others are wrapped where they are added
                end = max(end, *(p.offset + (p.last - p.first - 1) * stride + m.columns for p in pieces))
            start += m.rows * stride
            if not self.exact:
                self._signs[m.name] = (self._draw(rng, m.rows), self._draw(rng, m.columns))
        self._vectors_start = start
        self._vector_signs = None if self.exact else self._draw(rng, parameters.count - parameters.vectors_begin)
        self.length = end

    def _draw(self, rng: np.random.Generator, n: int) -> torch.Tensor:
        return torch.from_numpy(rng.integers(0, 2, size=n).astype(np.float32) * 2 - 1).to(self.device)

    def buffer(self, samples: int) -> torch.Tensor:
        """Where gradients are summed: (sample, length), a little longer than k so that no row wraps."""
        if self.exact:  # each element is written, not added to
            return torch.empty(samples, self.length, device=self.device)
        return torch.zeros(samples, self.length, device=self.device)

    def matrix(
        self,
        buffer: Buffer,
        matrix: Matrix,
        left: torch.Tensor,
        right: torch.Tensor,
        lengths: Sequence[int],
        *,
        first: bool = False,
    ) -> None:
        """Add LᵀR of each sample: `left` (sample, position, row), `right` (sample, position, column).

        One of the two must be zero from each sample's length on. `first` says that this matrix has not been added yet:
        an exact gradient is then written over what the buffer held, which need not be zero.
        """
        pieces, beta = self._pieces[matrix.name], 0 if self.exact and first else 1
        fits = matrix.columns <= self.features
        in_place = fits and left.dtype == torch.float32 and left.device.type == "cpu"
        if in_place and (matrix.size * left.shape[1] >= LOOP_FROM or isinstance(buffer, list)):
            for i, n in enumerate(lengths):
                a, b = self._signed(matrix, left[i, :n], right[i, :n])
                for p in pieces:
                    p.view(buffer[i]).addmm_(a[:, p.first : p.last].T, b, beta=beta)
            return
        assert isinstance(buffer, torch.Tensor)
        left, right = self._signed(matrix, left, right)
        left = left.transpose(1, 2)
        if in_place:
            for p in pieces:
                p.view(buffer).baddbmm_(left[:, p.first : p.last], right, beta=beta)
            return
        # elsewhere a product wants an aligned output of its own type
        self._place(buffer, matrix, torch.bmm(left, right).float(), beta)

    def whole(self, buffer: Buffer, matrix: Matrix, gradient: torch.Tensor) -> None:
        """Add the gradient (row, column) of the only sample, once for a matrix."""
        if not self.exact:
            rows, columns = self._signs[matrix.name]
            gradient = gradient * rows[:, None] * columns
        into = buffer if isinstance(buffer, torch.Tensor) else buffer[0][None]
        self._place(into, matrix, gradient[None], 0 if self.exact else 1)

    def _place(self, buffer: torch.Tensor, matrix: Matrix, whole: torch.Tensor, beta: int) -> None:
        """Add (sample, row, column), signed, to the buffer; write it over what is there if `beta` is 0."""
        for p in self._pieces[matrix.name]:
            part = whole[:, p.first : p.last]
            if matrix.columns > self.features:
                wrapped(buffer[:, : self.features], part.flatten(1), p.offset)
            elif beta:
                p.view(buffer).add_(part)
            else:
                p.view(buffer).copy_(part)

    def _signed(self, matrix: Matrix, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.exact:
            return left, right
        rows, columns = self._signs[matrix.name]
        return left * rows.to(left.dtype), right * columns.to(right.dtype)

    def vectors(self, buffer: Buffer, vectors: torch.Tensor) -> None:
        """Add the vectors' gradients, (sample, element of all vectors)."""
        if self._vector_signs is None:
            for row, values in zip(buffer, vectors, strict=True):
                row[self._vectors_start :] = values
        else:
            assert isinstance(buffer, torch.Tensor)
            wrapped(buffer[:, : self.features], vectors * self._vector_signs, self._vectors_start)

    def finish(self, buffer: Buffer) -> Buffer:
        """(sample, k): what lies past k is added to the beginning."""
        k = self.features
        if isinstance(buffer, list):
            return buffer
        buffer[:, : self.length - k] += buffer[:, k : self.length]
        return buffer[:, :k]


def wrapped(into: torch.Tensor, values: torch.Tensor, start: int) -> None:
    """Add `values` (sample, n) to features start, start + 1, … modulo their number."""
    k, n = into.shape[1], values.shape[1]
    before = start % k
    whole = -(-(before + n) // k) * k
    into += torch.nn.functional.pad(values, (before, whole - before - n)).view(len(values), -1, k).sum(1)
