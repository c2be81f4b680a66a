"""Multitask sparse parity: the tasks, their frequencies, and streams of samples (the paper's section 3).

A sample of task i is the one-hot code of i and n random bits; its label is the parity of the k bits in the subset S_i.
Tasks are drawn with p_i ∝ i^-(α+1). A batch is kept as tasks in rising order and packed bits: the code is never written
out, because a product with a one-hot vector is a row of the weight matrix.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from quanta.arrays import Array
from quanta.errors import QuantaError
from quanta.streams import Purpose, generator, stream, torch_generator


@dataclass(frozen=True)
class ParityProblem:
    """`n_tasks` parities of `k` of `n_bits` bits, used with frequencies p_i ∝ i^-(α+1); subsets are drawn from `seed`.

    Raises:
        QuantaError: no task, no bit, k outside 1…n, α not above zero, or fewer subsets than tasks.
    """

    n_tasks: int
    n_bits: int
    k: int
    alpha: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_tasks < 1:
            raise QuantaError("parity.n_tasks", f"{self.n_tasks} tasks", "at least one", "raise parity.n_tasks")
        if not 1 <= self.k <= self.n_bits:
            raise QuantaError(
                "parity.k",
                f"k = {self.k} of n = {self.n_bits} bits",
                "1 ≤ k ≤ n",
                "lower parity.k or raise parity.n_bits",
            )
        if not self.alpha > 0:
            raise QuantaError(
                "parity.alpha", f"α = {self.alpha}", "α > 0: else the frequencies have no sum", "raise parity.alpha"
            )
        if math.comb(self.n_bits, self.k) < self.n_tasks:
            raise QuantaError(
                "parity.n_tasks",
                f"{self.n_tasks} tasks, but {math.comb(self.n_bits, self.k)} subsets of {self.k} of {self.n_bits} bits",
                "a subset of its own for each task",
                "raise parity.n_bits or lower parity.n_tasks",
            )

    @cached_property
    def frequencies(self) -> Float[Array, " task"]:
        """p_i, normalised over the tasks there are; the first is the most frequent."""
        weights = np.arange(1, self.n_tasks + 1, dtype=np.float64) ** -(self.alpha + 1)
        return np.asarray(weights / weights.sum())

    @cached_property
    def subsets(self) -> Int[Array, "task k"]:
        """The bits of each task, rising within a row; no two rows are equal. They do not depend on α."""
        rng = generator(self.seed, Purpose.PARITY_SUBSETS)
        found: dict[tuple[int, ...], None] = {}
        while len(found) < self.n_tasks:
            found[tuple(sorted(int(bit) for bit in rng.choice(self.n_bits, self.k, replace=False)))] = None
        return np.array(list(found), dtype=np.int64)

    def draw_counts(self, number: int, rng: np.random.Generator) -> Int[Array, " task"]:
        """How many of `number` independent samples fall to each task."""
        return np.asarray(rng.multinomial(number, self.frequencies), dtype=np.int64)


def pack(bits: UInt8[Tensor, "sample bit"]) -> UInt8[Tensor, "sample byte"]:
    """Eight bits a byte, lowest first."""
    short = -bits.shape[1] % 8
    padded = torch.nn.functional.pad(bits, (0, short)).view(len(bits), -1, 8)
    powers = torch.tensor([1 << i for i in range(8)], dtype=torch.uint8, device=bits.device)
    return (padded * powers).sum(-1, dtype=torch.uint8)


def unpack(packed: UInt8[Tensor, "sample byte"], n_bits: int) -> UInt8[Tensor, "sample bit"]:
    """The inverse of `pack`."""
    shifts = torch.arange(8, dtype=torch.uint8, device=packed.device)
    return ((packed[:, :, None] >> shifts) & 1).flatten(1)[:, :n_bits]


@dataclass(frozen=True)
class Batch:
    """Samples in rising order of their task. `ends[i]` is how many samples have a task ≤ i."""

    packed: UInt8[Tensor, "sample byte"]
    tasks: Int[Tensor, " sample"]
    ends: Int[Array, " task"]

    def __len__(self) -> int:
        return len(self.tasks)


def random_batch(counts: Int[Array, " task"], n_bits: int, generator: torch.Generator) -> Batch:
    """`counts[i]` samples of each task, their bits drawn on the generator's device."""
    total = int(counts.sum())
    packed = torch.empty(total, -(-n_bits // 8), dtype=torch.uint8, device=generator.device)
    packed.random_(0, 256, generator=generator)
    repeats = torch.from_numpy(np.asarray(counts, dtype=np.int64))
    tasks = torch.repeat_interleave(repeats).to(generator.device)
    return Batch(packed, tasks, np.cumsum(counts))


def parity(bits: UInt8[Tensor, "sample bit"], subsets: Int[Tensor, "sample k"]) -> UInt8[Tensor, " sample"]:
    """The label: 1 where an odd number of the task's bits is set."""
    return torch.gather(bits, 1, subsets).sum(1, dtype=torch.uint8) & 1


class Samples(Protocol):
    """Where a training run gets its batches: `batch(step)` depends on the step alone, never on earlier calls."""

    def batch(self, step: int) -> Batch:
        """The samples of one step, from 0."""
        ...


@dataclass(frozen=True)
class FreshSamples:
    """New samples at every step: the paper's single epoch (sweeps in parameters and steps)."""

    problem: ParityProblem
    batch_size: int
    device: torch.device | str = "cpu"

    def batch(self, step: int) -> Batch:
        """`batch_size` samples that no other step has."""
        seeds = stream(self.problem.seed, Purpose.PARITY_FRESH, step)
        counts = self.problem.draw_counts(self.batch_size, np.random.default_rng(seeds))
        return random_batch(counts, self.problem.n_bits, torch_generator(seeds, self.device))


class TrainingSet:
    """A fixed set of `size` samples, gone through in a new order each epoch (the paper's sweep in data).

    A smaller set of the same seed is no subset of a larger one. The bits stay packed: 5·10⁶ samples of 100 bits are
    65 MB. A step that ends an epoch takes what is left of it.
    """

    def __init__(self, problem: ParityProblem, size: int, batch_size: int, device: torch.device | str = "cpu") -> None:
        if size < 1:
            raise QuantaError("parity.data_sizes", f"{size} samples", "at least one", "raise the sizes")
        seeds = stream(problem.seed, Purpose.PARITY_TRAINING_SET, size)
        self.problem, self.size, self.batch_size, self.device = problem, size, min(batch_size, size), device
        self.counts = problem.draw_counts(size, np.random.default_rng(seeds))
        self.all = random_batch(self.counts, problem.n_bits, torch_generator(seeds, device))
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def batch(self, step: int) -> Batch:
        """The samples of one step."""
        steps_an_epoch = -(-self.size // self.batch_size)
        epoch, within = divmod(step, steps_an_epoch)
        if steps_an_epoch == 1:
            return self.all
        if epoch != self._epoch:
            generator = torch_generator(stream(self.problem.seed, Purpose.PARITY_ORDER, self.size, epoch), self.device)
            self._order = torch.randperm(self.size, generator=generator, device=self.device)
            self._epoch = epoch
        # samples are stored by task, so that sorted places are sorted tasks
        places = self._order[within * self.batch_size : (within + 1) * self.batch_size].sort().values
        tasks = self.all.tasks[places]
        counts = torch.bincount(tasks, minlength=self.problem.n_tasks).cpu().numpy()
        return Batch(self.all.packed[places], tasks, np.cumsum(counts))


def held_out(problem: ParityProblem, per_task: int, device: torch.device | str = "cpu") -> Batch:
    """`per_task` samples of every task, the same for every net of a problem."""
    seeds = stream(problem.seed, Purpose.PARITY_HELD_OUT)
    return random_batch(np.full(problem.n_tasks, per_task), problem.n_bits, torch_generator(seeds, device))


def log_spaced(first: int, last: int, number: int) -> list[int]:
    """At most `number` whole numbers from `first` to `last`, evenly spaced in the logarithm, each once."""
    return sorted({round(value) for value in np.geomspace(first, last, number)})


def check_widths(widths: Sequence[int]) -> None:
    """Raise QuantaError unless widths are positive and none repeats: two equal nets would count as one point twice."""
    if not widths or min(widths) < 1:
        raise QuantaError("parity.widths", f"{list(widths)}", "widths of at least 1", "change parity.widths")
    seen: set[int] = set()
    for width in widths:
        if width in seen:
            raise QuantaError("parity.widths", f"the width {width} twice", "each width once", "take one of them out")
        seen.add(width)
