"""Affinity: cosine similarity of gradients, and the angular similarity that is clustered (the paper's section 5.1)."""

from collections.abc import Sequence

import numpy as np

from quanta import storage
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.shapes import Array, Float


def unit_rows(features: Array) -> Float[Array, "token feature"]:
    """Rows scaled to length 1 in float32, their norms summed in float64.

    Raises:
        QuantaError: a row is zero or not finite: it has no direction.
    """
    squares = np.einsum("ij,ij->i", features, features, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(squares) & (squares > 0)))
    if len(wrong):
        raise QuantaError(
            "gradients", f"token {wrong[0]} has the squared norm {squares[wrong[0]]}", "a positive one", storage.RERUN
        )
    return np.asarray(features / np.sqrt(squares)[:, None], dtype=np.float32)


def read_parts(paths: Sequence[str], n_tokens: int) -> list[Array]:
    """Read features of consecutive parts of the tokens, memory-mapped.

    Raises:
        QuantaError: a file is damaged, or the parts are not `n_tokens` rows of one width.
    """
    parts = [storage.read_array(path, dtype="float32", shape=(None, None)) for path in paths]
    rows, widths = sum(map(len, parts)), {part.shape[1] for part in parts}
    if rows != n_tokens or len(widths) != 1:
        raise QuantaError(
            ", ".join(map(str, paths)),
            f"{rows} rows of {sorted(widths)} features",
            f"{n_tokens} rows, as many as there are selected tokens, of one width",
            storage.RERUN,
        )
    return parts


def read_affinity(path: str) -> Array:
    """Read a cosine matrix, memory-mapped, and check that it is one.

    Raises:
        QuantaError: it is not square, finite, symmetric, within [−1, 1] and of unit diagonal; the first place is named.
    """
    matrix = storage.read_array(path, dtype="float32", shape=(None, None))
    n = len(matrix)
    if matrix.shape != (n, n) or not n:
        raise QuantaError(path, f"shape {matrix.shape}", "a square matrix", storage.RERUN)
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
                storage.RERUN,
            )
    return matrix


def cosine(shards: Sequence[Array], out: Array, block: int = 512) -> None:
    """Fill `out` (N, N) with cosines of the rows of all shards: symmetric to the bit, unit diagonal, within [−1, 1].

    Works by blocks of rows, so that memory beyond `out` is two blocks of features.
    """
    bounds = np.concatenate([[0], np.cumsum([len(shard) for shard in shards])])
    n = int(bounds[-1])

    def rows(begin: int, end: int) -> Array:
        parts = [shard[max(begin - low, 0) : max(end - low, 0)] for low, shard in zip(bounds[:-1], shards, strict=True)]
        return unit_rows(np.concatenate([part for part in parts if len(part)]))

    progress = Progress("affinity", n * (n + 1) // 2, "pairs")
    for i in range(0, n, block):
        left = rows(i, min(i + block, n))
        for j in range(0, i + 1, block):
            tile = np.clip(left @ (left if i == j else rows(j, min(j + block, n))).T, -1, 1)
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


def angular(cosines: Array) -> Float[Array, "token token"]:
    """1 − arccos(c)/π in float64, in [0, 1]: 1 for one direction, ½ for orthogonal ones. c is clipped first."""
    similarity = np.asarray(cosines, dtype=np.float64)
    similarity = np.clip(similarity, -1, 1)
    np.arccos(similarity, out=similarity)
    similarity /= -np.pi
    similarity += 1
    return similarity
