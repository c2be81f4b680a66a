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


def bigrams(tokens: Tokens, document: Int[Array, " n"], position: Int[Array, " n"]) -> Int[Array, " n"]:
    """Group of each prediction: the last token of its context and its target."""
    flat = tokens.flat(document, position)
    pairs = np.stack([tokens.ids[flat - 1].astype(np.int64), tokens.ids[flat].astype(np.int64)], axis=1)
    return np.asarray(np.unique(pairs, axis=0, return_inverse=True)[1].ravel())
