"""Magnitudes of single tokens' gradients, standardised per parameter and folded to features, for any causal language model.

Two passes over the gradients, and none holds them all:

1. `statistics`: mean and deviation of each parameter's |g| over the tokens, or over an evenly spread part of them.
2. `magnitude_features`: each sample's product of a layer is made, its magnitudes are standardised, and the sum goes to
   features by the signs and places of `quanta.gradients.sign_fold`.

Each gradient has length 1 before (`quanta.affinity.magnitudes` says why), by its exact length. The rows do not depend on
how the tokens are split into shards.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from quanta import arrays
from quanta.affinity import cosine
from quanta.affinity.magnitudes import Moments
from quanta.arrays import Array, Float32, Int
from quanta.corpus.encoding import Tokens, as_tokens
from quanta.errors import QuantaError
from quanta.gradients.engine import FEATURES, Engine, check_targets
from quanta.gradients.parameter_sets import Matrix, ParameterSet
from quanta.gradients.sign_fold import Buffer, Fold, wrapped
from quanta.progress import Progress
from quanta.storage import files

COLUMNS = 2**14  # parameters at a time
METHOD = 1  # raised whenever the same input no longer gives the same features
SAMPLES = 1024  # tokens whose magnitudes give the statistics, at most (docs/affinities.md has the effect)


@dataclass(frozen=True)
class Statistics:
    """Mean of |g| and 1 over its deviation, per parameter, for unit gradients; 0 where |g| does not vary."""

    mean: Float32[Array, " parameter"]
    inverse: Float32[Array, " parameter"]

    @classmethod
    def of(cls, moments: Moments) -> "Statistics":
        """From sums over samples."""
        return cls(moments.mean.astype(np.float32), moments.inverse.astype(np.float32))

    @classmethod
    def none(cls, count: int) -> "Statistics":
        """Those that leave magnitudes as they are."""
        return cls(np.zeros(count, dtype=np.float32), np.ones(count, dtype=np.float32))

    def digest(self) -> str:
        """A hash of both, which the parts of one set of features share."""
        return hashlib.sha256(self.mean.tobytes() + self.inverse.tobytes()).hexdigest()

    def write(self, path: str | Path) -> None:
        """Write both as one array, (2, parameter)."""
        files.write_array(path, np.stack([self.mean, self.inverse]))

    @classmethod
    def read(cls, path: str | Path) -> "Statistics":
        """Read what `write` wrote.

        Raises:
            QuantaError: the file is damaged.
        """
        found = files.read_array(path, dtype="float32", shape=(2, None), finite=True)
        return cls(np.asarray(found[0]), np.asarray(found[1]))


def statistics(
    model: PreTrainedModel,
    tokens: Tokens | Sequence[Sequence[int]],
    documents: Int[Array, " n"] | Sequence[int],
    positions: Int[Array, " n"] | Sequence[int],
    *,
    samples: int = SAMPLES,
    parameters: str = "paper",
    precision: str = "float32",
    batch_tokens: int = 2048,
    label: str = "magnitudes",
) -> Statistics:
    """Mean and deviation of |g| of unit gradients over at most `samples` of the tokens, evenly spread. Errors: `token_gradients`.

    Gradients are exact, and as many are held as a batch has samples. Batches are summed in float64, in their order.
    """
    documents, positions = (np.asarray(x, dtype=np.int64) for x in (documents, positions))
    chosen = arrays.evenly(len(documents), samples)
    engine = _engine(model, tokens, documents[chosen], positions[chosen], parameters, precision)
    total, squares = (torch.zeros(engine.parameters.count, dtype=torch.float64) for _ in range(2))
    progress = Progress(label, len(chosen), "samples")
    for found, rows, _ in engine.run(documents[chosen], positions[chosen], batch_tokens):
        assert isinstance(rows, torch.Tensor)
        parts = [slice(begin, begin + COLUMNS) for begin in range(0, rows.shape[1], COLUMNS)]
        squared = sum(torch.linalg.vector_norm(rows[:, part], dim=1).double() ** 2 for part in parts)
        cosine.check_squares(np.asarray(squared.cpu()))
        scale = (1 / squared.sqrt()).float()[:, None]
        for part in parts:  # few enough to stay in the cache
            size = (rows[:, part] * scale).abs_()
            total[part] += size.sum(0).cpu()
            squares[part] += size.square_().sum(0).cpu()
        progress.advance(len(found))
    progress.done()
    return Statistics.of(Moments(len(chosen), total.numpy(), squares.numpy()))


def magnitude_features(
    model: PreTrainedModel,
    tokens: Tokens | Sequence[Sequence[int]],
    documents: Int[Array, " n"] | Sequence[int],
    positions: Int[Array, " n"] | Sequence[int],
    over: Statistics,
    *,
    features: int | None = FEATURES,
    seed: int = 0,
    parameters: str = "paper",
    precision: str = "float32",
    batch_tokens: int = 2048,
    by_hooks: bool = False,
    label: str = "magnitudes",
) -> tuple[Float32[Array, "n feature"], Float32[Array, " n"]]:
    """Standardised magnitudes of unit gradients, folded (not normalised), and losses in nats of the tokens.

    Arguments and errors are those of `token_gradients`; `features` None gives the magnitudes themselves. `by_hooks` takes
    the way of other architectures for GPT-NeoX, too.

    Raises:
        QuantaError: as `token_gradients`, and where `over` is of another number of parameters.
    """
    documents, positions = (np.asarray(x, dtype=np.int64) for x in (documents, positions))
    engine = _engine(model, tokens, documents, positions, parameters, precision, by_hooks=by_hooks)
    count = engine.parameters.count
    if len(over.mean) != count:
        raise QuantaError(
            "statistics of the magnitudes", f"{len(over.mean)} parameters", f"{count}, as the model has", files.RERUN
        )
    engine.fold = fold = MagnitudeFold(engine.parameters, features, seed, engine.device, over)
    result = torch.empty(len(documents), fold.features).numpy()
    losses = np.empty(len(documents), dtype=np.float32)
    progress = Progress(label, len(documents), "samples")
    for found, rows, nats in engine.run(documents, positions, batch_tokens):
        assert isinstance(rows, torch.Tensor)
        result[found], losses[found] = rows.cpu().numpy(), nats
        progress.advance(len(found))
    progress.done()
    return result, losses


def _engine(
    model: PreTrainedModel,
    tokens: Tokens | Sequence[Sequence[int]],
    documents: Array,
    positions: Array,
    parameters: str,
    precision: str,
    *,
    by_hooks: bool = False,
) -> Engine:
    tokens = as_tokens(tokens)
    check_targets(model, tokens, documents, positions)
    return Engine(
        model, tokens, features=None, seed=0, parameters=parameters, precision=precision, by_hooks=by_hooks, once=True
    )


class MagnitudeFold(Fold):
    """From (L, R) pairs to features of (|g| − mean) / deviation, g of length 1; exact ones without `features`.

    Features are linear in |g|: w|g| is summed, with w the sign over the deviation, then divided by the length of g, and
    the features of the means, which all samples share, are taken off. The squared length is summed beside the features.
    """

    def __init__(
        self, parameters: ParameterSet, features: int | None, seed: int, device: torch.device, over: Statistics
    ) -> None:
        super().__init__(parameters, features, seed, device)
        weights = torch.from_numpy(over.inverse.copy()).to(device)
        for matrix in parameters.matrices:
            if not self.exact:
                rows, columns = self._signs[matrix.name]
                self._of(weights, matrix).mul_(rows[:, None]).mul_(columns)
        if self._vector_signs is not None:
            weights[parameters.vectors_begin :] *= self._vector_signs
        self._weights, self._constant = weights, torch.zeros(self.features, device=device)
        means, alone = torch.from_numpy(over.mean).to(device), self.buffer(1)
        for matrix in parameters.matrices:
            self._add(alone, matrix, self._of(means, matrix)[None])
        self._add_vectors(alone, means[None, parameters.vectors_begin :])
        self._constant = self._sums(alone)[0].clone()

    @staticmethod
    def _of(flat: torch.Tensor, matrix: Matrix) -> torch.Tensor:
        """(row, column) of a matrix in a flat vector."""
        return flat[matrix.begin : matrix.begin + matrix.size].view(matrix.rows, matrix.columns)

    def buffer(self, samples: int) -> torch.Tensor:
        """Where magnitudes are summed, (sample, length + 1); the last column is the squared length."""
        return torch.zeros(samples, self.length + 1, device=self.device)

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
        """Add the magnitudes of LᵀR of each sample; see `Fold.matrix`. Each matrix comes once."""
        assert isinstance(buffer, torch.Tensor) and first
        if left.device.type != "cpu":
            whole = torch.bmm(left.transpose(1, 2), right).float()
            buffer[:, -1] += whole.square().sum((1, 2))
            self._add(buffer, matrix, whole.abs_())
            return
        for i, n in enumerate(lengths):
            product = (left[i, :n].T @ right[i, :n]).float()
            flat = product.view(-1)
            buffer[i, -1] += flat @ flat
            self._add(buffer[i : i + 1], matrix, product.abs_()[None])

    def whole(self, buffer: Buffer, matrix: Matrix, gradient: torch.Tensor) -> None:
        """Add the magnitudes of a gradient (row, column) of the only sample."""
        assert isinstance(buffer, torch.Tensor)
        buffer[:, -1] += gradient.square().sum()
        self._add(buffer, matrix, gradient.abs()[None])

    def vectors(self, buffer: Buffer, vectors: torch.Tensor) -> None:
        """Add those of the vectors' gradients, (sample, element of all vectors)."""
        assert isinstance(buffer, torch.Tensor)
        buffer[:, -1] += vectors.square().sum(1)
        self._add_vectors(buffer, vectors.abs())

    def finish(self, buffer: Buffer) -> torch.Tensor:
        """(sample, k)."""
        assert isinstance(buffer, torch.Tensor)
        length = buffer[:, -1:].sqrt()
        return self._sums(buffer).div_(length).sub_(self._constant)

    def _add(self, buffer: torch.Tensor, matrix: Matrix, size: torch.Tensor) -> None:
        """Add (sample, row, column) of magnitudes, weighted."""
        weights = self._of(self._weights, matrix)
        if matrix.columns > self.features:
            self._place(buffer, matrix, size * weights, 1)
            return
        for p in self._pieces[matrix.name]:
            p.view(buffer).addcmul_(size[:, p.first : p.last], weights[p.first : p.last])

    def _add_vectors(self, buffer: torch.Tensor, size: torch.Tensor) -> None:
        weighted = size * self._weights[self.parameters.vectors_begin :]
        if self.exact:
            buffer[:, self._vectors_start : self._vectors_start + weighted.shape[1]] += weighted
        else:
            wrapped(buffer[:, : self.features], weighted, self._vectors_start)

    def _sums(self, buffer: torch.Tensor) -> torch.Tensor:
        found = super().finish(buffer)
        assert isinstance(found, torch.Tensor)
        return found
