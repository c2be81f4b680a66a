"""Resampling: by texts, not by pieces or tokens. What lies in one text is not independent.

A long text is cut into several documents (`corpus.pieces`), which share its subject, its names and its repetitions. An interval
that draws pieces or tokens as if each were new is too narrow. So the unit of every bootstrap is the text: the column
`source` of corpus/documents.parquet.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float, Int
from quanta.errors import QuantaError
from quanta.storage import files

UNIT = "texts (files of the corpus, whole)"


def texts_of_documents(path: str | Path, n_documents: int) -> Int[Array, " document"]:
    """Which text each document is a piece of, numbered from 0 in the corpus's order; `path` is the table of documents.

    Raises:
        QuantaError: the table has another number of rows.
    """
    table = files.read_table(path, ("document", "source"))
    if len(table) != n_documents:
        raise QuantaError(str(path), f"{len(table)} documents", f"{n_documents}, as the offsets say", files.RERUN)
    return np.asarray(pd.factorize(table["source"].to_numpy())[0], dtype=np.int64)


def numbered(groups: Array | None, length: int) -> Int[Array, " item"]:
    """Groups as numbers from 0 without gaps, in order of appearance; each item is one by itself where none are given.

    Raises:
        ValueError: there are not as many as items.
    """
    if groups is None:
        return np.arange(length)
    if len(groups) != length:
        raise ValueError(f"{len(groups)} groups of {length} items")
    return np.asarray(pd.factorize(np.asarray(groups))[0], dtype=np.int64)


def weights(number: int, draws: int, rng: np.random.Generator) -> Int[Array, "draw group"]:
    """How often each of `number` groups is drawn, with replacement, as many as there are."""
    return rng.multinomial(number, np.full(number, 1 / number), size=draws)


def half(groups: Int[Array, " token"], rng: np.random.Generator) -> Int[Array, " kept"]:
    """About half of the tokens, sorted: whole groups, taken in random order as long as that comes nearer to a half.

    Groups of one token each give ⌊n/2⌋ tokens without replacement. A group with more than half of all tokens makes a half
    by itself, or all others do.
    """
    size = np.bincount(groups)
    order = rng.permutation(len(size))
    taken = np.cumsum(size[order])
    number = int(np.abs(taken - len(groups) // 2).argmin()) + 1
    return np.flatnonzero(np.isin(groups, order[:number]))


def deviation_of_mean(values: Float[Array, " item"], groups: Array | None = None) -> float:
    """Standard error of a mean whose items come in groups of any sizes: squares of the groups' sums about the mean.

    Groups of one item each give the sample's deviation over √n. NaN for a single group.
    """
    own = numbered(groups, len(values))
    sums = np.bincount(own, np.asarray(values, dtype=np.float64) - np.mean(values))
    n = len(sums)
    return float(np.sqrt((sums**2).sum() * n / (n - 1)) / len(values)) if n > 1 else float("nan")
