"""Demands: memory and time that a job asks a scheduler for, from the sizes of its model and its shard.

Upper estimates, not forecasts: a job that ends early costs nothing, one that is cut off is done again. docs/cluster.md
has what was asked beside what was used; no GPU has been timed.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

CPU = 15e9  # FLOP/s of one slow core; one of a Sapphire Rapids makes 99e9 in float32 (docs/costs.md)
GPU = 4e12  # FLOP/s: a fifth of what an old data-centre card does in float32
PYTHON = 30e-6  # s a token of training that no FLOP explain: neox-7k takes 9e-6 (docs/family.md)
START = 5.0  # minutes: imports, reading, a slow file system


@dataclass(frozen=True)
class Size:
    """What memory and time follow from. `parameters` are those without embeddings."""

    width: int
    layers: int
    parameters: int
    vocabulary: int

    @property
    def all_parameters(self) -> int:
        """With embedding and unembedding."""
        return self.parameters + 2 * self.vocabulary * self.width


def trained_size(width: int, layers: int, vocabulary: int) -> Size:
    """A size of the ladder."""
    return Size(width, layers, 12 * layers * width**2, vocabulary)


def published_size(parameters: int) -> Size:
    """A model of which only the parameters are known: 12·layers·width², at least 6 layers, Pythia's widest unembedding.

    Width is bounded by six layers, activations over all layers by √(layers) times it: both are upper bounds.
    """
    width = int((parameters / 72) ** 0.5)
    return Size(max(width, 1), 6, parameters, 50688)


def training_mb(size: Size, tokens_a_batch: int) -> float:
    """Weights, gradients, two moments; activations of all layers, logits with their gradient and a copy; float32."""
    activations = tokens_a_batch * (40 * size.width * size.layers + 3 * size.vocabulary)
    return 1000 + 4 * (4 * size.all_parameters + activations) / 1e6


def training_minutes(size: Size, tokens: int, *, gpu: bool) -> float:
    """Six FLOP a parameter and token."""
    flop = 6 * (size.parameters + size.vocabulary * size.width)
    return START + tokens * (PYTHON + flop / (GPU if gpu else CPU)) / 60


def losses_mb(size: Size, tokens_a_batch: int) -> float:
    """Weights in float32, a block's activations (about 20 widths a token, quanta/config/costs.py)."""
    return 1500 + 4 * (size.all_parameters + 20 * size.width * tokens_a_batch) / 1e6


def losses_minutes(size: Size, tokens: float, *, gpu: bool) -> float:
    """Two FLOP a parameter and token, and as much again for attention and padding."""
    flop = 4 * (size.parameters + size.vocabulary * size.width)
    return START + tokens * flop / (GPU if gpu else CPU) / 60


def gradients_mb(size: Size, tokens_a_batch: int, samples: float, features: int) -> float:
    """Weights twice and the fold's table, activations and their gradients in all layers, the shard's features twice."""
    activations = 2 * 20 * size.width * size.layers * tokens_a_batch
    return 1500 + 4 * (3 * size.all_parameters + activations + 2 * samples * features) / 1e6


def gradients_minutes(size: Size, samples: float, context: int, *, gpu: bool) -> float:
    """Three forward passes a sample at the longest context, without sharing, and as much again for the fold."""
    return START + samples * context * 12 * size.parameters / (GPU if gpu else CPU) / 60


# ------------------------------------------------------------------------------------------- sizes of jobs
# forecasts, not bounds: two cores of an AMD EPYC with AVX-512 take 34 µs a token for neox-1m, 5 µs for neox-7k

FORECAST = 60e9  # FLOP/s of a core in the products of small models
TOKEN = 5e-6  # s a token that no FLOP explain
BLOCK = 128  # documents, or tokens with gradients, that stay together in a job: quanta.losses.batching
PART = 30.0  # s of work that are worth a process of their own: its imports take 5


def losses_seconds(parameters: int, tokens: float) -> float:
    """Forecast of the time of losses on a core, two FLOP per parameter and token, without imports."""
    return tokens * (TOKEN + 2 * parameters / FORECAST)


def gradients_seconds(parameters: int, samples: float, context: int) -> float:
    """Forecast of the time of single-token gradients on a core: half of the context, and as much again for the fold."""
    return samples * context / 2 * (TOKEN + 12 * parameters / FORECAST)


def parts(seconds: float | None, items: int | None = None, most: int = 16) -> int:
    """Jobs that share some work: one for each half a minute, at most `most`; 1 where the time is not known.

    Documents or tokens (`items`) go to jobs in whole blocks, so that more jobs than blocks would have nothing to do.

    The number follows from the work and not from the cores of this machine, so that another machine, or another
    `--cores`, plans the same jobs.
    """
    if items is not None:
        most = min(most, max(-(-items // BLOCK), 1))
    return 1 if seconds is None else min(max(round(seconds / PART), 1), most)


def together(
    groups: Sequence[Sequence[Hashable]], seconds: Callable[[Any], float | None], most: int
) -> list[list[Any]]:
    """Items whose work is done in one process: runs of each group that take about `PART` seconds, or more of them.

    Items of two groups never share a job. An item whose time is unknown, or that is worth a process of its own, is left
    out, and so is a run of one. At most `most` jobs: what would need more is packed tighter, and groups that are left
    over then are left out.
    """
    groups = [[item for item in group if (seconds(item) or PART) < PART] for group in groups]
    limit = PART
    while True:
        runs = [run for group in groups for run in _runs(group, seconds, limit) if len(run) > 1]
        if len(runs) <= most or limit > PART * 1e6:
            return runs[:most]
        limit *= 1.3


def _runs(items: Sequence[Any], seconds: Callable[[Any], float | None], limit: float) -> list[list[Any]]:
    total = sum(seconds(item) or 0.0 for item in items)
    share = total / max(round(total / limit), 1)
    runs: list[list[Any]] = []
    gone = 0.0
    for item in items:
        if not runs or gone >= share * len(runs) - 1e-9:
            runs.append([])
        runs[-1].append(item)
        gone += seconds(item) or 0.0
    return runs
