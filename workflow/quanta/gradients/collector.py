"""What a backward pass gives for a batch, summed into its features: by a model's own backward pass, or by hooks on its layers."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from transformers import PreTrainedModel

from quanta.errors import QuantaError
from quanta.gradients.parameter_sets import ParameterSet, Vector, by_module, is_norm
from quanta.gradients.sign_fold import Buffer, Fold
from quanta.models.pretrained import unembedding


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
        matrix, vectors = self.modules[id(module)]
        assert matrix is not None
        if left.ndim != 3 or len(left) != len(self.lengths):
            raise QuantaError(
                matrix.name,
                f"an output of shape {tuple(left.shape)} for {len(self.lengths)} samples",
                "(sample, position, feature)",
                "blocks that mix samples or positions are not supported",
            )
        lengths = self.lengths if left.shape[1] > 1 else self.ones
        first = matrix.name not in self.seen
        self.seen.add(matrix.name)
        for vector in vectors:
            self._add(vector, left.sum(1, dtype=torch.float32))
        if matrix.transposed:
            # Conv1D's rows are inputs; the left one is zero past the target, so the right one need not be
            left, right = right, left
        self.fold.matrix(self.buffer, matrix, left, right, lengths, first=first)

    def norm(self, module: nn.Module, left: torch.Tensor, right: torch.Tensor) -> None:
        """Gradient of a norm: output gradient and what the weight multiplies, (sample, position, …, width)."""
        between = tuple(range(1, left.ndim - 1))
        for vector in self.modules[id(module)][1]:
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
def hooks(model: PreTrainedModel, parameters: ParameterSet, now: Now) -> Iterator[None]:
    """Give `now.taker` every layer's input and output gradient, and unembed position `now.last` of each sample only."""

    def filled(module: nn.Module, value: float) -> nn.Module:
        twin = copy.deepcopy(module).requires_grad_(False)
        for name, parameter in twin.named_parameters():
            parameter.fill_(value if name == "weight" else 0.0)
        return twin

    def watch(own: nn.Module) -> Callable[..., None]:
        # a norm is affine in its weight, whether that counts from 0 or from 1: the difference is what it multiplies
        twins = (filled(own, 1), filled(own, 0)) if is_norm(own) else None

        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            entry, taker = inputs[0].detach(), now.taker
            if not output.requires_grad:  # the lowest layers: nothing flows further down
                output.requires_grad_(True)

            def linear(gradient: torch.Tensor) -> None:
                taker.linear(module, gradient, entry.to(gradient.dtype))

            def norm(gradient: torch.Tensor) -> None:
                assert twins is not None
                taker.norm(module, gradient, twins[0](entry) - twins[1](entry))

            output.register_hook(norm if twins else linear)  # type: ignore[no-untyped-call]

        return hook

    def targets_only(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        last = now.last
        return (inputs[0][torch.arange(len(last), device=last.device), last][:, None],)

    with torch.no_grad():
        watched = [(module, watch(module)) for module, _, _ in by_module(parameters)]
    handles = [unembedding(model).register_forward_pre_hook(targets_only)]
    handles += [module.register_forward_hook(hook) for module, hook in watched]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
