"""What a backward pass gives for a batch, summed into its features: by a model's own backward pass, or by hooks on its layers."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from quanta.errors import QuantaError
from quanta.gradients.parameter_sets import Matrix, ParameterSet, Vector, by_module, is_norm
from quanta.gradients.sign_fold import Buffer, Fold
from quanta.models.head import head_of, state_of, with_state

# A product of fewer rows sums the whole vocabulary in one float32: torch 2.13 on the CPU is then off by up to 2e-3 of
# Gemma's gradient, whose vocabulary has 262,144 tokens. From four rows on it is exact to 1e-6.
HEAD_ROWS = 4


class Collector:
    """Sums what a backward pass gives for a batch into its features."""

    def __init__(self, fold: Fold, buffer: Buffer, lengths: Sequence[int]) -> None:
        self.fold, self.lengths, self.buffer = fold, list(lengths), buffer
        self.ones = [1] * len(self.lengths)
        parameters = fold.parameters
        self.offset = parameters.vectors_begin
        self.small = torch.zeros(len(self.lengths), parameters.count - self.offset, device=fold.device)
        self.modules = {id(m): (matrix, vectors) for m, matrix, vectors in by_module(parameters)}
        self.seen: set[str] = set()

    def wants(self, module: nn.Module) -> bool:
        """Whether the module has a parameter of the set."""
        return id(module) in self.modules

    def _add(self, vector: Vector, values: torch.Tensor) -> None:
        begin = vector.begin - self.offset
        self.small[:, begin : begin + vector.size] += values

    def linear(self, module: nn.Module, left: torch.Tensor, right: torch.Tensor) -> None:
        """Gradient of a Linear or Conv1D layer: output gradient (sample, position, out), input (sample, position, in)."""
        if id(module) not in self.modules:  # of a set that has some layers only
            return
        matrix, vectors = self.modules[id(module)]
        assert matrix is not None
        if left.ndim == 3 and len(left) == len(self.lengths):
            lengths = self.lengths if left.shape[1] > 1 else self.ones
        else:
            left, right = self._by_sample(left, matrix.name), self._by_sample(right, matrix.name)
            lengths = [left.shape[1]] * len(left)
        first = matrix.name not in self.seen
        self.seen.add(matrix.name)
        for vector in vectors:
            self._add(vector, left.sum(1, dtype=torch.float32))
        if matrix.transposed:
            # Conv1D's rows are inputs; the left one is zero past the target, so the right one need not be
            left, right = right, left
        self.fold.matrix(self.buffer, matrix, left, right, lengths, first=first)

    def _by_sample(self, values: torch.Tensor, name: str) -> torch.Tensor:
        """(sample, row, feature) of an output in which positions, heads or samples are rows of one list."""
        samples = len(self.lengths)
        if samples > 1 and len(values) != samples and (values.ndim != 2 or len(values) % samples):
            raise QuantaError(
                name,
                f"an output of shape {tuple(values.shape)} for {samples} samples",
                "(sample, position, feature)",
                "blocks that mix samples are computed one sample at a time",
            )
        return values.reshape(samples, -1, values.shape[-1])

    def whole(self, member: Matrix | Vector, gradient: torch.Tensor | None) -> None:
        """The gradient of a parameter that is in no Linear layer or norm, of the only sample."""
        if gradient is None:
            return
        if isinstance(member, Vector):
            self._add(member, gradient.reshape(1, -1).float())
        else:
            self.seen.add(member.name)
            self.fold.whole(self.buffer, member, gradient.reshape(member.rows, member.columns).float())

    def norm(self, module: nn.Module, left: torch.Tensor, right: torch.Tensor) -> None:
        """Gradient of a norm: output gradient and what the weight multiplies, (sample, position, …, width)."""
        vectors = self.modules[id(module)][1]
        if len(left) != len(self.lengths) or left.ndim < 3:
            left, right = (self._by_sample(values, vectors[0].name) for values in (left, right))
        between = tuple(range(1, left.ndim - 1))
        for vector in vectors:
            part = left.float() * right if vector.of_norm else left.float()
            self._add(vector, part.sum(between))

    def features(self) -> Buffer:
        """(sample, k)."""
        for matrix in self.fold.parameters.matrices:
            if self.fold.exact and matrix.name not in self.seen:  # a layer that the model does not use
                for row in self.buffer:
                    row[matrix.begin : matrix.begin + matrix.size] = 0
        self.fold.vectors(self.buffer, self.small)
        return self.fold.finish(self.buffer)


class Now(threading.local):
    """What the hooks serve in this thread: where gradients go, and the last input position of each sample."""

    taker: Collector
    last: torch.Tensor


@contextmanager
def hooks(
    model: PreTrainedModel, parameters: ParameterSet, now: Now, called: set[nn.Module], *, alone: bool
) -> Iterator[None]:
    """Give `now.taker` every layer's input and output gradient, and the head position `now.last` of each sample only.

    The head sees that position several times where there are few samples; the first time counts.

    Layers whose gradients can be taken are added to `called` as they are called. With `alone`, batches hold one sample: the lowest layers' outputs may be altered in place, and parameters that
    are taken whole want gradients.
    """

    def filled(module: nn.Module, value: float) -> nn.Module:
        twin = copy.deepcopy(module).requires_grad_(False)
        for name, parameter in twin.named_parameters():
            parameter.fill_(value if name == "weight" else 0.0)
        return twin

    def watch(own: nn.Module, matrix: Matrix | None) -> Callable[..., torch.Tensor | None]:
        # a norm is affine in its weight, whether that counts from 0 or from 1: the difference is what it multiplies
        twins = (filled(own, 1), filled(own, 0)) if is_norm(own) else None

        def hook(
            module: nn.Module, inputs: tuple[Any, ...], settings: dict[str, Any], output: Any
        ) -> torch.Tensor | None:
            if not isinstance(output, torch.Tensor) or not (matrix is None or matrix.maps(inputs, settings, output)):
                return None  # the probe finds that nothing came, and the gradient is taken whole
            called.add(module)
            taker, lowest = now.taker, not output.requires_grad
            given = [_detached(value) for value in inputs]
            named = {name: _detached(value) for name, value in settings.items()}
            if lowest:  # nothing flows further down
                output.requires_grad_(True)

            def linear(gradient: torch.Tensor) -> None:
                entry = given[0] if given else next(iter(named.values()))
                taker.linear(module, gradient, entry.to(gradient.dtype))

            def norm(gradient: torch.Tensor) -> None:
                assert twins is not None
                with torch.no_grad():
                    taker.norm(module, gradient, twins[0](*given, **named) - twins[1](*given, **named))

            output.register_hook(norm if twins else linear)  # type: ignore[no-untyped-call]
            return output.clone() if lowest and alone else None

        return hook

    def targets_only(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        last, state = now.last, state_of(output)
        wanted = state[torch.arange(len(last), device=last.device), last][:, None]
        return with_state(output, wanted.repeat(1, -(-HEAD_ROWS // len(last)), 1))

    with torch.no_grad():
        watched = [(module, watch(module, matrix)) for module, matrix, _ in by_module(parameters)]
    handles = [head_of(model).trunk.register_forward_hook(targets_only)]
    handles += [module.register_forward_hook(hook, with_kwargs=True) for module, hook in watched]
    for member in parameters.whole:
        assert member.own is not None
        member.own.requires_grad_(True)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value
