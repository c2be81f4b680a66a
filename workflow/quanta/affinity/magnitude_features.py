"""Magnitudes of single tokens' gradients, standardised per parameter and folded to features, for any causal language model.

Two passes over the gradients, and none holds them all:

1. `statistics`: mean and deviation of each parameter's |g| over the tokens, or over an evenly spread part of them.
2. `magnitude_features`: each sample's product of a layer is made, its magnitudes are standardised, and the sum goes to
   features by the signs and places of `quanta.gradients.sign_fold`.

Each gradient has length 1 before (`quanta.affinity.magnitudes` says why), by its exact length. The rows do not depend on
how the tokens are split into shards.

The kind `attention` takes the first attention layer alone, whose weights and biases are its blocks. √|g| stands for |g|, each
block's gradient has length 1, and so has each block's row: all blocks weigh the same in a cosine.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from quanta import arrays
from quanta.affinity import cosine
from quanta.affinity.magnitudes import FLOOR, Moments
from quanta.arrays import Array, Float32, Int
from quanta.corpus.encoding import Tokens, as_tokens
from quanta.errors import QuantaError
from quanta.gradients.engine import FEATURES, Engine, check_targets
from quanta.gradients.parameter_sets import Matrix, ParameterSet, Vector, first_attention, parameter_set
from quanta.gradients.sign_fold import Buffer, Fold, wrapped
from quanta.progress import Progress
from quanta.storage import files

COLUMNS = 2**14  # parameters at a time
RAW, ATTENTION = "magnitudes", "attention"  # kinds: without statistics, and of one layer
TINY = 1e-30  # for lengths: a block whose gradient is zero
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

    def part(self, place: slice) -> "Statistics":
        """Those of some parameters."""
        return Statistics(self.mean[place], self.inverse[place])

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
    kind: str = "standardised",
    samples: int = SAMPLES,
    parameters: str = "paper",
    precision: str = "float32",
    batch_tokens: int = 2048,
    label: str = "magnitudes",
) -> Statistics:
    """Mean and deviation of |g| of unit gradients over at most `samples` of the tokens, evenly spread. Errors: `token_gradients`.

    With the `kind` `magnitudes` they leave magnitudes as they are. With `attention` they are of √|g| in each block of the first attention layer (errors: `first_attention`), and a block
    whose gradient is zero but for rounding has 0 for its deviation's inverse.

    Gradients are exact, and as many are held as a batch has samples. Batches are summed in float64, in their order.
    """
    if kind == RAW:
        return Statistics.none(parameter_set(model, parameters).count)
    documents, positions = (np.asarray(x, dtype=np.int64) for x in (documents, positions))
    chosen, alike = arrays.evenly(len(documents), samples), kind == ATTENTION
    engine = _engine(
        model, tokens, documents[chosen], positions[chosen], _parameters(model, kind, parameters), precision
    )
    count = engine.parameters.count
    total, squares = (torch.zeros(count, dtype=torch.float64) for _ in range(2))
    blocks = list(engine.parameters.places().values()) if alike else [slice(0, count)]
    share = torch.zeros(len(blocks), dtype=torch.float64)  # of the squared length, summed over samples
    progress = Progress(label, len(chosen), "samples")
    for found, rows, _ in engine.run(documents[chosen], positions[chosen], batch_tokens):
        assert isinstance(rows, torch.Tensor)
        parts = [_parts(block) for block in blocks]
        squared = torch.stack([_squared(rows, own) for own in parts])
        whole = squared.sum(0)
        cosine.check_squares(np.asarray(whole.cpu()))
        share += (squared / whole).sum(1).cpu()
        scale = (1 / squared.sqrt().clamp_min(TINY)).float()
        for own, by in zip(parts, scale, strict=True):
            for part in own:  # few enough to stay in the cache
                size = (rows[:, part] * by[:, None]).abs_()
                if alike:
                    squares[part] += size.sum(0).cpu()
                    total[part] += size.sqrt_().sum(0).cpu()
                else:
                    total[part] += size.sum(0).cpu()
                    squares[part] += size.square_().sum(0).cpu()
        progress.advance(len(found))
    progress.done()
    moments = Moments(len(chosen), total.numpy(), squares.numpy())
    if not alike:
        return Statistics.of(moments)
    inverse = np.zeros(count)
    for block, own in zip(blocks, share.tolist(), strict=True):
        if own / len(chosen) / (block.stop - block.start) > FLOOR**2 / count:
            inverse[block] = Moments(len(chosen), moments.total[block], moments.squares[block]).inverse_above(FLOOR)
    return Statistics(moments.mean.astype(np.float32), inverse.astype(np.float32))


def _parts(block: slice) -> list[slice]:
    return [slice(begin, min(begin + COLUMNS, block.stop)) for begin in range(block.start, block.stop, COLUMNS)]


def _squared(rows: torch.Tensor, parts: Sequence[slice]) -> torch.Tensor:
    """Squared length of each sample in some columns, in float64."""
    lengths = [torch.linalg.vector_norm(rows[:, part], dim=1).double() ** 2 for part in parts]
    return torch.stack(lengths).sum(0)


def magnitude_features(
    model: PreTrainedModel,
    tokens: Tokens | Sequence[Sequence[int]],
    documents: Int[Array, " n"] | Sequence[int],
    positions: Int[Array, " n"] | Sequence[int],
    over: Statistics,
    *,
    kind: str = "standardised",
    features: int | None = FEATURES,
    seed: int = 0,
    parameters: str = "paper",
    precision: str = "float32",
    batch_tokens: int = 2048,
    by_hooks: bool = False,
    label: str = "magnitudes",
) -> tuple[Float32[Array, "n feature"], Float32[Array, " n"]]:
    """Standardised magnitudes of unit gradients, folded (not normalised), and losses in nats of the tokens.

    With the `kind` `attention` blocks have features of their own, `features` in all or fewer, and a small block has as many as parameters.
    Arguments and errors are those of `token_gradients`; `features` None gives the magnitudes themselves. `by_hooks` takes
    the way of other architectures for GPT-NeoX, too.

    Raises:
        QuantaError: as `token_gradients`, and where `over` is of another number of parameters.
    """
    documents, positions = (np.asarray(x, dtype=np.int64) for x in (documents, positions))
    chosen = _parameters(model, kind, parameters)
    engine = _engine(model, tokens, documents, positions, chosen, precision, by_hooks=by_hooks)
    count = engine.parameters.count
    if len(over.mean) != count:
        raise QuantaError(
            "statistics of the magnitudes", f"{len(over.mean)} parameters", f"{count}, as the model has", files.RERUN
        )
    Folding = BlocksFold if kind == ATTENTION else MagnitudeFold
    engine.fold = fold = Folding(engine.parameters, features, seed, engine.device, over)
    result = torch.empty(len(documents), fold.features).numpy()
    losses = np.empty(len(documents), dtype=np.float32)
    progress = Progress(label, len(documents), "samples")
    for found, rows, nats in engine.run(documents, positions, batch_tokens):
        assert isinstance(rows, torch.Tensor)
        result[found], losses[found] = rows.cpu().numpy(), nats
        progress.advance(len(found))
    progress.done()
    return result, losses


def _parameters(model: PreTrainedModel, kind: str, parameters: str) -> str | ParameterSet:
    return first_attention(model) if kind == ATTENTION else parameters


def _engine(
    model: PreTrainedModel,
    tokens: Tokens | Sequence[Sequence[int]],
    documents: Array,
    positions: Array,
    parameters: str | ParameterSet,
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
    """From (L, R) pairs to features of (|g| − mean) / deviation, g of length 1; exact ones without `features`. With `root`, of √|g|.

    Features are linear in |g|: w|g| is summed, with w the sign over the deviation, then divided by the length of g, and
    the features of the means, which all samples share, are taken off. The squared length is summed beside the features.
    """

    def __init__(
        self,
        parameters: ParameterSet,
        features: int | None,
        seed: int,
        device: torch.device,
        over: Statistics,
        *,
        root: bool = False,
    ) -> None:
        super().__init__(parameters, features, seed, device)
        self.root = root
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
            self._add(buffer, matrix, self._size(whole))
            return
        for i, n in enumerate(lengths):
            product = (left[i, :n].T @ right[i, :n]).float()
            flat = product.view(-1)
            buffer[i, -1] += flat @ flat
            self._add(buffer[i : i + 1], matrix, self._size(product)[None])

    def whole(self, buffer: Buffer, matrix: Matrix, gradient: torch.Tensor) -> None:
        """Add the magnitudes of a gradient (row, column) of the only sample."""
        assert isinstance(buffer, torch.Tensor)
        buffer[:, -1] += gradient.square().sum()
        self._add(buffer, matrix, self._size(gradient.clone())[None])

    def vectors(self, buffer: Buffer, vectors: torch.Tensor) -> None:
        """Add those of the vectors' gradients, (sample, element of all vectors)."""
        assert isinstance(buffer, torch.Tensor)
        buffer[:, -1] += vectors.square().sum(1)
        self._add_vectors(buffer, self._size(vectors.clone()))

    def finish(self, buffer: Buffer) -> torch.Tensor:
        """(sample, k)."""
        assert isinstance(buffer, torch.Tensor)
        length = buffer[:, -1:].sqrt()
        if self.root:
            length = length.clamp_min(TINY).sqrt()
        return self._sums(buffer).div_(length).sub_(self._constant)

    def _size(self, gradient: torch.Tensor) -> torch.Tensor:
        """|g| or √|g|, in place."""
        return gradient.abs_().sqrt_() if self.root else gradient.abs_()

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


def shares(sizes: Sequence[int], features: int | None) -> list[int | None]:
    """Features of each block, `features` in all or fewer: None (its own parameters) for those that need fewer than an equal share."""
    found: list[int | None] = [None] * len(sizes)
    left, waiting = features, len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        if left is None:
            break
        own = left // waiting
        if sizes[i] > own:
            found[i] = max(own - (own % 2 == 0), 3)  # odd, as a fold wants
        left, waiting = left - min(sizes[i], own), waiting - 1
    return found


class BlocksFold(Fold):
    """A `MagnitudeFold` of √|g| for each block, a weight or a bias: its gradient has length 1, and so has its row, or 0."""

    def __init__(
        self, parameters: ParameterSet, features: int | None, seed: int, device: torch.device, over: Statistics
    ) -> None:
        self.parameters, self.exact, self.device = parameters, False, device
        self.features = self.length = 0
        self._blocks: dict[str, tuple[MagnitudeFold, slice]] = {}
        wanted = shares([member.size for member in parameters.members], features)
        for member, own in zip(parameters.members, wanted, strict=True):
            alone = replace(member, begin=0)
            matrices = (alone,) if isinstance(alone, Matrix) else ()
            vectors = (alone,) if isinstance(alone, Vector) else ()
            part = over.part(slice(member.begin, member.begin + member.size))
            one = ParameterSet(parameters.kind, matrices, vectors)
            fold = MagnitudeFold(one, own, seed, device, part, root=True)
            width = fold.length + 1
            self._blocks[member.name] = fold, slice(self.length, self.length + width)
            self.features, self.length = self.features + fold.features, self.length + width

    def _of(self, buffer: Buffer, name: str) -> tuple[MagnitudeFold, torch.Tensor]:
        assert isinstance(buffer, torch.Tensor)
        fold, place = self._blocks[name]
        return fold, buffer[:, place]

    def buffer(self, samples: int) -> torch.Tensor:
        """(sample, buffers of all blocks)."""
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
        """Add those of a weight, see `MagnitudeFold.matrix`."""
        fold, own = self._of(buffer, matrix.name)
        fold.matrix(own, replace(matrix, begin=0), left, right, lengths, first=first)

    def whole(self, buffer: Buffer, matrix: Matrix, gradient: torch.Tensor) -> None:
        """Add those of a weight's gradient (row, column) of the only sample."""
        fold, own = self._of(buffer, matrix.name)
        fold.whole(own, replace(matrix, begin=0), gradient)

    def vectors(self, buffer: Buffer, vectors: torch.Tensor) -> None:
        """Add those of the biases, (sample, element of all vectors)."""
        for vector in self.parameters.vectors:
            fold, own = self._of(buffer, vector.name)
            begin = vector.begin - self.parameters.vectors_begin
            fold.vectors(own, vectors[:, begin : begin + vector.size])

    def finish(self, buffer: Buffer) -> torch.Tensor:
        """(sample, k): the blocks' rows one after another."""
        rows = (fold.finish(own) for fold, own in (self._of(buffer, name) for name in self._blocks))
        return torch.cat([row / torch.linalg.vector_norm(row, dim=1, keepdim=True).clamp_min(TINY) for row in rows], 1)
