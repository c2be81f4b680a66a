"""The direction that the weights are moved in.

It is a weighted sum of single tokens' gradients, in one backward pass a batch (`summed`), or noise on the weights that tokens use more
than others do (`Usage`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from quanta.arrays import Array, Float, Int
from quanta.corpus.encoding import Tokens
from quanta.errors import QuantaError
from quanta.gradients import neox
from quanta.gradients.engine import Engine
from quanta.gradients.parameter_sets import ParameterSet, by_module
from quanta.interventions.contexts import Contexts
from quanta.models.head import head_of

Direction = list[torch.Tensor]  # one tensor per member of the parameter set, of the parameter's own shape
AT_ONCE, LARGEST = 8, 2**26  # gradients that are held at a time, and their numbers in all
SMALL = 1e-12


def parameters_of(model: PreTrainedModel, chosen: ParameterSet) -> list[nn.Parameter]:
    """The model's own parameters that a set names, in its order."""
    named = dict(model.named_parameters(remove_duplicate=False))
    return [named[member.name] for member in chosen.members]


class _Sums:
    """Takes a batch's backward pass of GPT-NeoX as one weighted sum over its samples."""

    def __init__(self, chosen: ParameterSet, into: Direction, weights: torch.Tensor) -> None:
        self.modules = {id(m): (matrix, vectors) for m, matrix, vectors in by_module(chosen)}
        self.sums = {member.name: total for member, total in zip(chosen.members, into, strict=True)}
        self.weights = weights[:, None, None]

    def wants(self, module: nn.Module) -> bool:
        """Whether the module has a parameter of the set."""
        return id(module) in self.modules

    def linear(self, module: nn.Module, left: torch.Tensor, right: torch.Tensor) -> None:
        """Output gradient (sample, position, out), which is 0 past the target, and input (sample, position, in)."""
        matrix, vectors = self.modules[id(module)]
        assert matrix is not None
        weighted = (left * self.weights).flatten(0, 1)
        self.sums[matrix.name].addmm_(weighted.T, right.flatten(0, 1))
        for vector in vectors:
            self.sums[vector.name] += weighted.sum(0)

    def norm(self, module: nn.Module, left: torch.Tensor, right: torch.Tensor) -> None:
        """Output gradient and what the weight multiplies, (sample, position, width)."""
        for vector in self.modules[id(module)][1]:
            part = left * self.weights * (right if vector.of_norm else 1)
            self.sums[vector.name] += part.sum((0, 1))


def summed(
    model: PreTrainedModel,
    tokens: Tokens,
    chosen: ParameterSet,
    documents: Int[Array, " n"],
    positions: Int[Array, " n"],
    weights: Float[Array, " n"],
    *,
    batch_tokens: int,
    by_autograd: bool = False,
) -> tuple[Direction, Float[Array, " n"]]:
    """The sum of `weights` times the gradients of the tokens' losses, and these losses in nats.

    GPT-NeoX goes by the backward pass of `quanta.gradients.neox`, every other architecture by autograd.

    Raises:
        QuantaError: a gradient is not finite.
    """
    device = next(model.parameters()).device
    own = parameters_of(model, chosen)
    total = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in own]
    losses = np.empty(len(documents))
    known = neox.supports(model) and not by_autograd and not chosen.whole
    twin = neox.Neox(model, torch.float32) if known else None
    given = torch.as_tensor(weights, dtype=torch.float32, device=device)
    for batch in Contexts(tokens, documents, positions, batch_tokens=batch_tokens, device=device, share=False).batches:
        mine = given[torch.as_tensor(batch.places, device=device)]
        order = torch.argsort(batch.rows)
        if twin is not None:
            forward = twin.forward(batch.ids, keep_graph=True)
            taker = _Sums(chosen, total, mine[order])
            nats = twin.backward(forward, None, batch.last[order], batch.targets[order], taker)
            losses[batch.places[order.cpu().numpy()]] = nats.cpu().numpy()
        else:
            losses[batch.places] = _add_by_autograd(
                model, own, batch.ids, batch.rows, batch.last, batch.targets, mine, total
            )
    if not all(bool(part.isfinite().all()) for part in total):
        raise QuantaError(
            "gradient of half a group",
            f"not finite (losses {losses.min():.3g} to {losses.max():.3g} nats)",
            "finite gradients",
            "look at the model's weights",
        )
    return total, losses


def _add_by_autograd(
    model: PreTrainedModel,
    own: Sequence[nn.Parameter],
    ids: torch.Tensor,
    rows: torch.Tensor,
    last: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    total: Direction,
) -> Array:
    head = head_of(model)
    wanted = [parameter.requires_grad for parameter in own]
    try:
        for parameter in own:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            logits = head.logits(head.hidden(ids)[rows, last]).float()
            nats = nn.functional.cross_entropy(logits, targets, reduction="none")
            found = torch.autograd.grad((weights * nats).sum(), own, allow_unused=True)
    finally:
        for parameter, want in zip(own, wanted, strict=True):
            parameter.requires_grad_(want)
    for part, gradient in zip(total, found, strict=True):
        if gradient is not None:
            part += gradient
    return np.asarray(nats.detach().cpu().numpy())


def length(direction: Direction) -> float:
    """Euclidean length of a direction."""
    return float(np.sqrt(sum(float(part.double().square().sum()) for part in direction)))


def _roots(
    model: PreTrainedModel, tokens: Tokens, chosen: ParameterSet, documents: Array, positions: Array, batch_tokens: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Means over the tokens of √|g| and of |g|, with g a token's unit gradient; both (parameter,)."""
    engine = Engine(model, tokens, features=None, seed=0, parameters=chosen)
    sums = torch.zeros(2, chosen.count, device=next(model.parameters()).device)
    at_once = max(1, min(AT_ONCE, LARGEST // chosen.count))
    for begin in range(0, len(documents), at_once):
        cut = slice(begin, begin + at_once)
        for _, rows, _ in engine.run(documents[cut], positions[cut], batch_tokens, share=False):
            assert isinstance(rows, torch.Tensor)
            size = (rows / rows.norm(dim=1, keepdim=True).clamp_min(SMALL)).abs()
            sums[1] += size.sum(0)
            sums[0] += size.sqrt_().sum(0)
    return sums[0] / len(documents), sums[1] / len(documents)


@dataclass(frozen=True)
class Usage:
    """How much a model's tokens use each parameter: mean and deviation of √|g|, with g a token's unit gradient."""

    mean: torch.Tensor
    deviation: torch.Tensor

    @classmethod
    def of(
        cls, model: PreTrainedModel, tokens: Tokens, chosen: ParameterSet, documents: Array, positions: Array,
        *, batch_tokens: int,
    ) -> "Usage":  # fmt: skip
        """That of the tokens at (document, position)."""
        mean, square = _roots(model, tokens, chosen, documents, positions, batch_tokens)
        return cls(mean, (square - mean**2).clamp_min(0).sqrt())

    def noise(
        self, model: PreTrainedModel, tokens: Tokens, chosen: ParameterSet, documents: Array, positions: Array,
        *, batch_tokens: int,
    ) -> Direction:  # fmt: skip
        """What noise moves each parameter by, but for its sign: its size times the square of how much more these tokens use it.

        More is in deviations, and 0 where they use it less, or where its use never varies. The root mean square of its
        square is 1, so that a step of 1 is about as large as the weights.
        """
        own, _ = _roots(model, tokens, chosen, documents, positions, batch_tokens)
        varies = self.deviation > SMALL
        more = torch.where(varies, (own - self.mean) / self.deviation.clamp_min(SMALL), 0.0).clamp_min(0) ** 2
        more /= more.square().mean().sqrt().clamp_min(SMALL)
        parts = zip(chosen.members, parameters_of(model, chosen), strict=True)
        return [
            more[member.begin : member.begin + member.size].view_as(parameter) * parameter.detach().abs().float()
            for member, parameter in parts
        ]


def signed(sizes: Direction, rng: np.random.Generator) -> Direction:
    """Each size with a random sign."""
    found = []
    for size in sizes:
        signs = torch.from_numpy(rng.integers(0, 2, size=tuple(size.shape), dtype=np.int8)).to(size.device)
        found.append(size * (2 * signs - 1))
    return found
