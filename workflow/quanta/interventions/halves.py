"""Two halves of a group: one gives the gradient, on the other one looks what it shares.

No document has tokens in both halves: tokens of one text resemble each other whatever they have to do with the group.
"""

from collections.abc import Callable

import numpy as np

from quanta.arrays import Array, Int
from quanta.streams import Purpose, generator

DOCUMENTS, NO_BIGRAM = "documents", "no common bigram"
HALVINGS = (DOCUMENTS, NO_BIGRAM)
LEAST = 3  # tokens of a half, below which there is nothing to average
Pair = tuple[Array, Array]


def by_document(
    group: Int[Array, " member"], document: Array, bigram: Array, *, seed: int, index: tuple[int, int]
) -> Pair | None:
    """Two halves that share no document; None where a document holds so many of the tokens that there are no two.

    `document` and `bigram` are of all selected tokens, `index` names the group among the streams.
    """
    return _dealt(group, document[group], generator(seed, Purpose.INTERVENTION_HALVES, *index))


def by_bigram(
    group: Int[Array, " member"], document: Array, bigram: Array, *, seed: int, index: tuple[int, int]
) -> Pair | None:
    """Two halves that share neither a bigram nor a document; None where there are no two.

    Bigrams are dealt to halves; the second half then lacks the tokens of documents that the first one has.
    """
    rng = generator(seed, Purpose.INTERVENTION_HALVES, *index)
    pair = _dealt(group, bigram[group], rng)
    if pair is None:
        return None
    first, second = pair
    second = second[~np.isin(document[second], document[first])]
    return (first, second) if len(second) >= LEAST else None


def _dealt(group: Array, value: Array, rng: np.random.Generator) -> Pair | None:
    """Whole values to the half that has fewer tokens, the commonest value first, equally common ones in random order."""
    names, inverse, counts = np.unique(value, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(-counts[order], kind="stable")]
    half, sizes = np.empty(len(names), dtype=np.int64), [0, 0]
    for name in order:
        half[name] = int(sizes[1] < sizes[0])
        sizes[half[name]] += counts[name]
    if min(sizes) < LEAST:
        return None
    first, second = (group[half[inverse] == i] for i in (0, 1))
    return first, second


HOW: dict[str, Callable[..., Pair | None]] = {DOCUMENTS: by_document, NO_BIGRAM: by_bigram}
