"""Tokens of clusters as a person reads them: in context, with what they predict."""

import numpy as np

from quanta.arrays import Array, Int
from quanta.corpus.decoding import Texts
from quanta.corpus.encoding import Tokens

BEFORE, AFTER = 64, 16  # tokens of context shown on each side


def context(tokens: Tokens, texts: Texts, document: int, position: int) -> dict[str, str]:
    """Text before a token, of it, and after it, within its document."""
    ids = tokens.document(document)

    return {
        "before": texts.joined(ids[max(position - BEFORE, 0) : position]),
        "target": texts.of(ids[position]),
        "after": texts.joined(ids[position + 1 : position + 1 + AFTER]),
    }


def bigram_counts(
    tokens: Tokens, document: Int[Array, " n"], position: Int[Array, " n"]
) -> tuple[Int[Array, " n"], Int[Array, " pair"]]:
    """`bigrams` of some predictions, and how often the corpus has each pair within a document."""
    own = bigrams(tokens, document, position)
    after = np.flatnonzero(tokens.predicted())
    base = int(tokens.ids.max()) + 1

    def paired(flat: Array) -> Array:
        return np.asarray(tokens.ids[flat - 1].astype(np.int64) * base + tokens.ids[flat])

    names, counts = np.unique(paired(after), return_counts=True)
    first = np.unique(own, return_index=True)[1]  # a prediction of each pair
    places = tokens.flat(document, position)[first]
    return own, np.asarray(counts[np.searchsorted(names, paired(places))])


def bigrams(tokens: Tokens, document: Int[Array, " n"], position: Int[Array, " n"]) -> Int[Array, " n"]:
    """Group of each prediction: the last token of its context and its target."""
    flat = tokens.flat(document, position)
    pairs = np.stack([tokens.ids[flat - 1].astype(np.int64), tokens.ids[flat].astype(np.int64)], axis=1)
    return np.asarray(np.unique(pairs, axis=0, return_inverse=True)[1].ravel())
