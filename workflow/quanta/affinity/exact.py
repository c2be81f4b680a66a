"""Cosines of exact gradients: the Gram matrix itself, for validation and for numbers of tokens that are not too large.

N gradients of P parameters need 4·N·P bytes: 757 GB for 10⁴ tokens of pythia-70m. Three ways, one answer:

- memory: all gradients at once, if they fit the budget;
- recompute: a tile of R gradients stays in memory while those after it are computed once more and multiplied: with
  n = ⌈N/R⌉ tiles, Σ_t (N − t·R) ≈ N(n + 1)/2 gradients;
- spill: each gradient is computed once and written to scratch, cut by parameters; each cut is read once.

The cheaper of the last two is taken, by the measured time of a gradient and the measured speed of the scratch folder.
"""

import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from quanta import devices
from quanta.affinity import cosine
from quanta.arrays import Array, Float32, Int
from quanta.corpus.encoding import Tokens, as_tokens
from quanta.errors import QuantaError
from quanta.gradients.engine import Engine, check_targets
from quanta.progress import Progress, log

CHUNK = 2**17  # parameters that are multiplied in float32 at a time; sums of chunks are float64
WAYS = ("memory", "recompute", "spill")


@dataclass(frozen=True)
class Plan:
    """How a Gram matrix is computed, with the estimated seconds of each way that is possible."""

    way: str
    rows: int
    seconds: dict[str, float]

    def __str__(self) -> str:
        costs = ", ".join(f"{way} {seconds:.0f} s" for way, seconds in self.seconds.items())
        return f"{self.way}, {self.rows} gradients in memory at a time (estimates: {costs})"


def plan(
    n: int,
    parameters: int,
    *,
    memory_bytes: int,
    seconds_per_gradient: float,
    scratch_bytes: int,
    scratch_bytes_per_second: float,
) -> Plan:
    """Choose the cheapest way. `scratch_bytes` is the room there, 0 without a scratch folder.

    Raises:
        QuantaError: not even two gradients fit the memory.
    """
    row = 4 * parameters
    rows = min(memory_bytes // row, n)
    if rows < min(n, 2):
        raise QuantaError(
            "memory_bytes",
            f"{memory_bytes} bytes, while a gradient has {row}",
            "memory for two gradients at least",
            "raise it, or take a sketch (features)",
        )
    # the tile itself, then all that come after it
    computed = sum(n - begin for begin in range(0, n, _tile(n, rows)))
    seconds = {"memory" if rows == n else "recompute": computed * seconds_per_gradient}
    if rows < n and n * row <= scratch_bytes and scratch_bytes_per_second > 0:
        seconds["spill"] = n * seconds_per_gradient + 2 * n * row / scratch_bytes_per_second
    return Plan(min(seconds, key=lambda way: seconds[way]), rows, seconds)


def _tile(n: int, rows: int) -> int:
    """Rows of a tile: an eighth of the memory is for those that are multiplied with it, unless all fit."""
    return max(rows if rows >= n else rows - max(rows // 8, 1), 1)


def exact_cosines(
    model: PreTrainedModel,
    tokens: Tokens | list[list[int]],
    documents: Int[Array, " n"] | list[int],
    positions: Int[Array, " n"] | list[int],
    out: Array,
    *,
    memory_bytes: int = 4 * 2**30,
    scratch: str | Path | None = None,
    way: str | None = None,
    parameters: str = "paper",
    precision: str = "float32",
    batch_tokens: int = 2048,
) -> tuple[Float32[Array, " n"], Plan]:
    """Fill `out` (N, N) with cosines of exact gradients; returns losses in nats and the way that was taken.

    Symmetric to the bit, unit diagonal, within [−1, 1]. `memory_bytes` bounds the gradients held, on the model's
    device, as does a GPU's free memory; `scratch` is a folder with room for 4·N·P bytes; `way` overrides the choice. Errors: see `token_gradients`.

    Raises:
        QuantaError: the budget holds no two gradients, or `way` is not possible.
    """
    tokens = as_tokens(tokens)
    documents, positions = np.asarray(documents, dtype=np.int64), np.asarray(positions, dtype=np.int64)
    check_targets(model, tokens, documents, positions)
    engine = Engine(model, tokens, features=None, seed=0, parameters=parameters, precision=precision)
    gram = _Gram(engine, documents, positions, batch_tokens)
    n, count = len(documents), engine.parameters.count
    room = shutil.disk_usage(scratch).free if scratch else 0
    if engine.device.type == "cuda":
        memory_bytes = min(memory_bytes, int(devices.SHARE * devices.free_bytes(engine.device)))
    few = 4 * count * n <= memory_bytes
    chosen = plan(
        n,
        count,
        memory_bytes=memory_bytes,
        seconds_per_gradient=0.0 if few else gram.seconds_per_gradient(),
        scratch_bytes=room,
        scratch_bytes_per_second=0.0 if few or not scratch else _speed(Path(scratch)),
    )
    if way is not None:
        possible = set(chosen.seconds) | ({"recompute"} if n else set())
        if way not in possible:
            raise QuantaError(
                "way", repr(way), f"one of {sorted(possible)} here", "leave it out, or give scratch space"
            )
        chosen = Plan(way, chosen.rows, chosen.seconds)
    log.info("exact gradients of %d tokens: %s", n, chosen)
    if chosen.way == "spill":
        assert scratch is not None
        gram.by_spill(chosen.rows * count, Path(scratch))
    else:
        gram.by_tiles(max(chosen.rows, 1))
    squares = np.diagonal(gram.sums).copy()
    cosine.check_squares(squares)
    length = np.sqrt(squares)
    for i in range(n):
        row = np.clip(gram.sums[i, : i + 1] / (length[i] * length[: i + 1]), -1, 1)
        row[i] = 1
        out[i, : i + 1] = row
        out[: i + 1, i] = out[i, : i + 1]
    return gram.losses, chosen


class _Gram:
    """Lower triangle of the Gram matrix, summed in float64: `sums` (N, N)."""

    def __init__(self, engine: Engine, documents: Array, positions: Array, batch_tokens: int) -> None:
        self.engine, self.documents, self.positions, self.batch_tokens = engine, documents, positions, batch_tokens
        n = len(documents)
        self.losses = np.empty(n, dtype=np.float32)
        self.sums = np.zeros((n, n))

    def seconds_per_gradient(self) -> float:
        """Measured on a few samples from the middle of the list, once warm."""
        few = np.arange(len(self.documents))[len(self.documents) // 2 :][:4]
        for _ in range(2):
            began = time.perf_counter()
            for _ in self.engine.run(self.documents[few], self.positions[few], self.batch_tokens):
                pass
        return (time.perf_counter() - began) / max(len(few), 1)

    def room(self, rows: int) -> torch.Tensor:
        """Memory for gradients, to be used again and again: (row, parameter) on the model's device."""
        return torch.empty(rows, self.engine.parameters.count, device=self.engine.device)

    def rows(self, begin: int, end: int, room: torch.Tensor) -> torch.Tensor:
        """Gradients of the tokens begin…end, (token, parameter), in the first rows of `room`."""
        found, device = room[: end - begin], self.engine.device
        documents, positions = self.documents[begin:end], self.positions[begin:end]
        into = found if self.engine.writes_in_place else None
        for samples, features, nats in self.engine.run(documents, positions, self.batch_tokens, into=into):
            if isinstance(features, torch.Tensor):
                found[torch.from_numpy(samples).to(device)] = features
            self.losses[begin + samples] = nats
        return found

    def add(self, left: torch.Tensor, right: torch.Tensor, i: int, j: int) -> None:
        """Add the products of rows from i on with rows from j on, in chunks of parameters."""
        total = torch.zeros(len(left), len(right), dtype=torch.float64, device=left.device)
        for begin in range(0, left.shape[1], CHUNK):
            part = slice(begin, begin + CHUNK)
            total += (left[:, part] @ right[:, part].T).double()
        self.sums[i : i + len(left), j : j + len(right)] += total.cpu().numpy()

    def by_tiles(self, rows: int) -> None:
        """A tile stays; what comes after is computed again, a few rows at a time within an eighth of the budget."""
        n, few = len(self.documents), max(rows // 8, 1)
        tile_rows = _tile(n, rows)
        tiles = range(0, n, tile_rows)
        progress = Progress("exact gradients", sum(n - j for j in tiles), "gradients")
        room, more = self.room(min(tile_rows, n)), self.room(few if tile_rows < n else 0)
        for j in tiles:
            tile = self.rows(j, min(j + tile_rows, n), room)
            self.add(tile, tile, j, j)
            progress.advance(len(tile))
            for i in range(j + tile_rows, n, few):
                later = self.rows(i, min(i + few, n), more)
                self.add(later, tile, i, j)
                progress.advance(len(later))
        progress.done()

    def by_spill(self, budget: int, scratch: Path) -> None:
        """Cut by parameters: `budget` numbers are held at a time. The scratch files go whatever happens."""
        n, count = len(self.documents), self.engine.parameters.count
        width = max(budget // (CHUNK * n) * CHUNK, min(CHUNK, count))
        cuts = [slice(begin, min(begin + width, count)) for begin in range(0, count, width)]
        progress = Progress("exact gradients", n, "gradients")
        few = max(min(budget // count, 64), 1)
        room = self.room(few)
        with tempfile.TemporaryDirectory(prefix="quanta-gradients-", dir=scratch) as folder:
            files = [Path(folder) / f"{c}.f32" for c in range(len(cuts))]
            streams = [path.open("wb") for path in files]
            try:
                for begin in range(0, n, few):
                    found = self.rows(begin, min(begin + few, n), room).cpu().numpy()
                    for stream, cut in zip(streams, cuts, strict=True):
                        stream.write(np.ascontiguousarray(found[:, cut]).data)
                    progress.advance(len(found))
            finally:
                for stream in streams:
                    stream.close()
            progress.done("written to scratch")
            progress = Progress("products", len(cuts), "cuts")
            for path, cut in zip(files, cuts, strict=True):
                part = np.fromfile(path, dtype=np.float32).reshape(n, cut.stop - cut.start)
                path.unlink()
                whole = torch.from_numpy(part).to(self.engine.device)
                self.add(whole, whole, 0, 0)
                progress.advance()
            progress.done()


def _speed(scratch: Path, size: int = 2**26) -> float:
    """Bytes a second that the folder takes, with the write forced to the disk."""
    block = os.urandom(2**20)  # some disks compress
    with tempfile.NamedTemporaryFile(dir=scratch) as stream:
        began = time.perf_counter()
        for _ in range(size // len(block)):
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
        return size / (time.perf_counter() - began)
