"""Near duplicates: documents that share most of their lines, and the groups that they form.

Documents are compared by the characters of the lines that stand in both, exactly and without sampling. Copies with
edits anywhere are found, and a short file that a longer one holds. Lines that many documents have (licences, common
imports) say nothing of where a text comes from and are left out. A text of one long line is found only if it is equal.
"""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from quanta.arrays import Array, Int

COMMON = 50  # a line of more documents is left out: they would chain whole packages, and the product would grow
BLOCK = 512  # documents compared with all others at a time, which bounds memory


def groups(texts: Iterable[str], containment: float) -> Int[Array, " document"]:
    """Number documents so that near duplicates, and theirs in turn, have the same number.

    Two documents are near duplicates if the lines that both have hold at least the share `containment` of the
    characters of the shorter one; blank lines, indentation, repeats and common lines do not count. Documents of the
    very same lines are near duplicates even where all of these are common.
    """
    numbers: dict[bytes, int] = {}
    kept: list[tuple[bytes, list[int]]] = []
    place = []
    for text in texts:
        lines = sorted((_digest(line), len(line)) for line in {line.strip() for line in text.splitlines()} if line)
        digests = b"".join(digest for digest, _ in lines)
        place.append(numbers.setdefault(digests, len(kept)))
        if place[-1] == len(kept):
            kept.append((digests, [length for _, length in lines]))
    if not kept:
        return np.empty(0, np.int64)
    pairs = [np.empty((2, 0), np.int64), *_pairs(kept, containment)]
    first, second = np.concatenate(pairs, axis=1)
    edges = sparse.coo_array((np.ones(len(first), bool), (first, second)), shape=(len(kept), len(kept)))
    found: Array = connected_components(edges, directed=False)[1].astype(np.int64)
    return found[place]


def _digest(line: str) -> bytes:
    return hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _pairs(documents: list[tuple[bytes, list[int]]], containment: float) -> Iterator[Int[Array, "2 pair"]]:
    """Blocks of pairs of near duplicates (i < j), from each document's digests of lines and their lengths."""
    digests = np.frombuffer(b"".join(digests for digests, _ in documents), np.uint64)
    lengths = np.concatenate([np.asarray(lengths, np.int64) for _, lengths in documents])
    ends = np.concatenate([[0], np.cumsum([len(lengths) for _, lengths in documents])])
    _, line, having = np.unique(digests, return_inverse=True, return_counts=True)
    counted = having[line] <= COMMON
    shape = (len(documents), len(having))
    size = sparse.csr_array((lengths * counted, line, ends), shape=shape).sum(axis=1)
    shared = counted & (having[line] > 1)
    starts = np.concatenate([[0], np.cumsum(shared)])[ends]
    characters = sparse.csr_array((lengths[shared], line[shared], starts), shape=shape)
    present = sparse.csr_array((np.ones(shared.sum(), np.int64), line[shared], starts), shape=shape).T.tocsr()
    for begin in range(0, len(documents), BLOCK):
        both = (characters[begin : begin + BLOCK] @ present).tocoo()
        first, second = both.coords[0].astype(np.int64) + begin, both.coords[1].astype(np.int64)
        near = (first < second) & (both.data >= containment * np.minimum(size[first], size[second]))
        yield np.stack([first[near], second[near]])
