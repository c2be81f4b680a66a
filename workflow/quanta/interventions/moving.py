"""Weights that are moved and put back, and the step that costs a half so many nats."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from quanta.arrays import Array, Float

GROWTH = 8.0  # a step grows by no more at once where none was too long yet


class Weights:
    """A model's parameters, which are set to their own values plus a step along a direction."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.own = [parameter.detach().clone() for parameter in self.parameters]

    @torch.no_grad()
    def move(self, direction: Sequence[torch.Tensor], step: float) -> None:
        """Set them to their own values plus `step` times the direction, whatever they are now."""
        for parameter, own, part in zip(self.parameters, self.own, direction, strict=True):
            torch.add(own, part.to(own.dtype), alpha=step, out=parameter)

    @torch.no_grad()
    def add(self, direction: Sequence[torch.Tensor], step: float) -> None:
        """Move them on from where they are."""
        for parameter, part in zip(self.parameters, direction, strict=True):
            parameter.add_(part.to(parameter.dtype), alpha=step)

    @torch.no_grad()
    def restore(self) -> None:
        """Put them back, to the byte."""
        for parameter, own in zip(self.parameters, self.own, strict=True):
            parameter.copy_(own)


@contextmanager
def moving(parameters: Sequence[nn.Parameter]) -> Iterator[Weights]:
    """Weights that are put back at the end, to the byte, whatever happens."""
    weights = Weights(parameters)
    try:
        yield weights
    finally:
        weights.restore()


@contextmanager
def undone(parameters: Sequence[nn.Parameter]) -> Iterator[Callable[[], None]]:
    """What is done to the parameters within is undone at the end, unless what is yielded was called."""
    before = Weights(parameters)
    kept: list[bool] = []
    yield lambda: kept.append(True)
    if not kept:
        before.restore()


@dataclass(frozen=True)
class Found:
    """A step with what it costs the half: the mean rise of its losses in nats, and whether that is what was wanted."""

    step: float
    nats: float
    evaluations: int
    reached: bool


def expected_rise(losses: Float[Array, " token"], slopes: Float[Array, " token"]) -> Callable[[float], float]:
    """The mean rise of losses by a step, if each token's log odds fall in proportion to it.

    `slopes` are the derivatives of the losses by the step: a token whose loss is l has a log odds of −log(eˡ − 1), and
    these fall by its slope over 1 − e⁻ˡ.
    """
    losses = np.maximum(losses, 1e-6)
    odds, fall = -np.log(np.expm1(losses)), slopes / -np.expm1(-losses)

    def rise(step: float) -> float:
        return float(np.mean(np.logaddexp(0, step * fall - odds) - losses))

    return rise


def find_step(
    rise: Callable[[float], float],
    wanted: float,
    *,
    expected: Callable[[float], float],
    tolerance: float = 0.05,
    evaluations: int = 12,
) -> Found:
    """The step at which `rise` is `wanted` nats, to `tolerance` of it, with at most so many calls of `rise`.

    `expected` is a rough forecast of `rise` that grows with the step. A candidate is the forecast's, stretched so that it
    is right at the last step; one outside of the bracket gives way to its middle, and so does every third. A rise that is not finite is too large.
    Where no step is found, `reached` is false and the step is the nearest that was tried.
    """
    goal = _inverse(expected, wanted)
    low, high, step = 0.0, np.inf, goal
    best = (np.inf, 0.0, 0.0)
    for done in range(1, evaluations + 1):
        found = rise(step)
        if not np.isfinite(found):
            found = np.inf
        best = min(best, (abs(found - wanted), step, found))
        if best[0] <= tolerance * wanted:
            return Found(best[1], best[2], done, True)
        low, high = (step, high) if found < wanted else (low, step)
        seen = _inverse(expected, found) if 0 < found < np.inf else 0.0
        step = step * goal / seen if seen else step * (GROWTH if found < wanted else 1 / GROWTH)
        step = min(step, GROWTH * low) if np.isinf(high) else step
        if not low < step < high or (done % 3 == 0 and low > 0 and np.isfinite(high)):  # a forecast may swing for ever
            step = (low * high) ** 0.5 if low else high / GROWTH
            step = GROWTH * low if np.isinf(step) else step
    return Found(best[1], best[2], evaluations, False)


def _inverse(expected: Callable[[float], float], nats: float) -> float:
    """The step of a forecast, by bisection; the longest that is looked at where it rises no further."""
    low, high = 1e-12, 1e12
    for _ in range(100):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if expected(middle) < nats else (low, middle)
    return float(np.sqrt(low * high))
