"""Cosine similarity of gradients, and the angular similarity that is clustered (the paper's section 5)."""

from collections.abc import Sequence

import numpy as np

from quanta.arrays import Array, Float, Float32
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.storage import files


def lengths(features: Array) -> Float[Array, " token"]:
    """Norms of the rows, summed in float64.

    Raises:
        QuantaError: a row is zero or not finite: it has no direction.
    """
    squares = np.einsum("ij,ij->i", features, features, dtype=np.float64)
    check_squares(squares)
    return np.asarray(np.sqrt(squares))


def unit_rows(features: Array) -> Float32[Array, "token feature"]:
    """Rows scaled to length 1, in float32. `features` may be memory-mapped.

    Raises:
        QuantaError: a row is zero or not finite: it has no direction.
    """
    length, unit = lengths(features), np.empty(features.shape, dtype=np.float32)
    for begin in range(0, len(unit), 1024):  # quotients are float64: of all rows at once they take twice the features
        rows = slice(begin, begin + 1024)
        unit[rows] = features[rows] / length[rows, None]
    return unit


def check_squares(squares: Float[Array, " token"]) -> None:
    """Refuse gradients without a direction, from their squared norms.

    Raises:
        QuantaError: one is zero or not finite.
    """
    wrong = np.flatnonzero(~(np.isfinite(squares) & (squares > 0)))
    if len(wrong):
        raise QuantaError(
            "gradients", f"token {wrong[0]} has the squared norm {squares[wrong[0]]}", "a positive one", files.RERUN
        )


def read_parts(paths: Sequence[str], n_tokens: int) -> list[Array]:
    """Read features of consecutive parts of the tokens, memory-mapped.

    Raises:
        QuantaError: a file is damaged, or the parts are not `n_tokens` rows of one width.
    """
    parts = [files.read_array(path, dtype="float32", shape=(None, None)) for path in paths]
    check_parts(parts, paths, n_tokens)
    return parts


def check_parts(parts: Sequence[Array], paths: Sequence[str], n_tokens: int) -> None:
    """Refuse parts that are not `n_tokens` rows of one width, all together.

    Raises:
        QuantaError: they are not; `paths` are named.
    """
    rows, widths = sum(map(len, parts)), {part.shape[1] for part in parts}
    if rows != n_tokens or len(widths) != 1:
        raise QuantaError(
            ", ".join(map(str, paths)),
            f"{rows} rows of {sorted(widths)} features",
            f"{n_tokens} rows, as many as there are selected tokens, of one width",
            files.RERUN,
        )


def read_affinity(path: str) -> Array:
    """Read a cosine matrix, memory-mapped, and check that it is one.

    Raises:
        QuantaError: it is not square, finite, symmetric, within [−1, 1] and of unit diagonal; the first place is named.
    """
    matrix = files.read_array(path, dtype="float32", shape=(None, None))
    n = len(matrix)
    if matrix.shape != (n, n) or not n:
        raise QuantaError(path, f"shape {matrix.shape}", "a square matrix", files.RERUN)
    for begin in range(0, n, 512):
        rows = np.asarray(matrix[begin : begin + 512])
        wrong = ~(np.abs(rows) <= 1) | (rows != matrix[:, begin : begin + 512].T)
        wrong[np.arange(len(rows)), begin + np.arange(len(rows))] |= np.diagonal(rows[:, begin:]) != 1
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            raise QuantaError(
                path,
                f"{rows[i, j]} at ({begin + i}, {j}), {matrix[j, begin + i]} at ({j}, {begin + i})",
                "a symmetric matrix of cosines with ones on its diagonal",
                files.RERUN,
            )
    return matrix


def cosine(
    shards: Sequence[Array],
    out: Array,
    block: int | None = None,
    *,
    memory_bytes: int = 2**29,
    device: str = "cpu",
) -> None:
    """Fill `out` (N, N) with cosines of the rows of all shards: symmetric to the bit, unit diagonal, within [−1, 1].

    Works by blocks of rows, so that what is held beyond `out`, which may be memory-mapped, is two blocks of features
    and a tile: `memory_bytes` sets the block (or give it). Products are float32, norms are summed in float64. The
    result does not depend on how the rows are split into shards.

    Raises:
        QuantaError: a row is zero or not finite: it has no direction.
    """
    import torch  # seconds, which readers of an affinity need not wait

    bounds = np.concatenate([[0], np.cumsum([len(shard) for shard in shards])])
    n, width = int(bounds[-1]), max((shard.shape[1] for shard in shards), default=1)
    if block is None:
        # a block as it is read, and two as they are multiplied
        block = int(np.clip(memory_bytes // (3 * 4 * width), 16, 4096))

    def read(begin: int, end: int) -> torch.Tensor:
        parts = [shard[max(begin - low, 0) : max(end - low, 0)] for low, shard in zip(bounds[:-1], shards, strict=True)]
        kept = [np.array(part, dtype=np.float32) for part in parts if len(part)]
        return torch.from_numpy(kept[0] if len(kept) == 1 else np.concatenate(kept)).to(device)

    sums = [np.einsum("ij,ij->i", shard, shard, dtype=np.float64) for shard in shards]
    squares = np.concatenate([*sums, np.empty(0)])
    check_squares(squares)
    scale = torch.from_numpy(1 / np.sqrt(squares)).float().to(device)

    def rows(begin: int, end: int) -> torch.Tensor:
        return read(begin, end).mul_(scale[begin:end, None])

    progress = Progress("affinity", n * (n + 1) // 2, "pairs")
    for i in range(0, n, block):
        left = rows(i, min(i + block, n))
        for j in range(0, i + 1, block):
            right = left if i == j else rows(j, min(j + block, n))
            tile = (left @ right.T).clamp_(-1, 1).cpu().numpy()
            if i == j:
                tile = np.tril(tile, -1)
                tile += tile.T
                np.fill_diagonal(tile, 1)
                progress.advance(len(tile) * (len(tile) + 1) // 2)
            else:
                out[j : j + block, i : i + block] = tile.T
                progress.advance(tile.size)
            out[i : i + block, j : j + block] = tile
    progress.done()


def settled(matrix: Array) -> Float32[Array, "token token"]:
    """Cosines (N, N) of rounded products, made what an affinity is: symmetric, within [−1, 1], with unit diagonal, float32."""
    found = np.clip((matrix + matrix.T) / 2, -1, 1).astype(np.float32)
    np.fill_diagonal(found, 1)
    return np.asarray(found)


def angular(cosines: Array) -> Float[Array, "token token"]:
    """1 − arccos(c)/π in float64, in [0, 1]: 1 for one direction, ½ for orthogonal ones. c is clipped first."""
    similarity = np.asarray(cosines, dtype=np.float64)
    similarity = np.clip(similarity, -1, 1)
    np.arccos(similarity, out=similarity)
    similarity /= -np.pi
    similarity += 1
    return similarity
