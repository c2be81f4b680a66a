"""Batches of targets for gradients: documents of like length side by side, targets of one document sharing its forward pass."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from quanta.arrays import Array, Int
from quanta.losses.batching import BLOCK, length_batches

Result = TypeVar("Result")


@dataclass(frozen=True)
class Batch:
    """Samples that share a forward pass: indices into the list of targets, and the document of each (a row)."""

    samples: Int[Array, " sample"]
    rows: Int[Array, " sample"]
    documents: Int[Array, " row"]
    lengths: Int[Array, " row"]

    @property
    def shared(self) -> bool:
        """Whether some document has several targets."""
        return len(self.documents) < len(self.samples)


def batches(documents: Array, positions: Array, batch_tokens: int, *, share: bool) -> Iterator[Batch]:
    """Batches of at most `batch_tokens` input tokens with padding, or one document; none crosses a block of 128 targets.

    With `share`, targets of one document within a block share its forward. The batches depend on the targets' order and
    on `batch_tokens` alone, so shards made of whole blocks (`quanta.losses.batching.shard`) form the very same ones.
    """
    for first in range(0, len(documents), BLOCK):
        block = np.arange(first, min(first + BLOCK, len(documents)))
        names, rows, counts = np.unique(documents[block], return_inverse=True, return_counts=True)
        alone = np.ones(len(block), dtype=bool) if not share else counts[rows] == 1
        single = block[alone]
        for pick in length_batches(positions[single], batch_tokens):
            chosen = single[pick]
            yield Batch(chosen, np.arange(len(chosen)), documents[chosen], positions[chosen])
        several = np.flatnonzero(counts > 1) if share else np.empty(0, dtype=int)
        longest = np.array([positions[block[rows == row]].max() for row in several], dtype=int)
        for pick in length_batches(longest, batch_tokens):
            found = [block[rows == several[i]] for i in pick]
            samples = np.concatenate(found)
            row = np.repeat(np.arange(len(pick)), [len(f) for f in found])
            yield Batch(samples, row, names[several[pick]], longest[pick])


def in_threads(compute: Callable[[Batch], Iterator[Result]], planned: Iterator[Batch]) -> Iterator[Result]:
    """Batches side by side, in order, each with one numerical thread.

    As many run as torch has threads. A sum's last bits can depend on the number of threads that share it; here none
    is shared, so they do not, and small matrices keep all cores busy.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        for batch in planned:
            yield from compute(batch)
        return

    def whole(batch: Batch) -> list[Result]:
        return list(compute(batch))

    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            running: deque[Future[list[Result]]] = deque()
            try:
                for batch in planned:
                    running.append(pool.submit(whole, batch))
                    if len(running) > threads:
                        yield from running.popleft().result()
                while running:
                    yield from running.popleft().result()
            finally:
                for future in running:
                    future.cancel()
    finally:
        torch.set_num_threads(threads)
