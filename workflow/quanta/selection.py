"""Selection: tokens that a model predicts well, though not by copying (the paper's section 5.1)."""

import numpy as np
import pandas as pd

from quanta.corpus import Tokens
from quanta.errors import QuantaError
from quanta.shapes import Array, Bool


def induction(document: Array) -> Bool[Array, " token"]:
    """True at a token that closes a trigram which occurred earlier in the same document: induction predicts it."""
    ids = np.asarray(document).astype(np.uint64)
    closes = np.zeros(len(ids), dtype=bool)
    if len(ids) < 4:
        return closes
    if int(ids.max()) >= 2**21:
        raise ValueError("token ids of more than 21 bits")
    trigrams = (ids[:-2] << np.uint64(42)) | (ids[1:-1] << np.uint64(21)) | ids[2:]
    _, first = np.unique(trigrams, return_index=True)
    closes[2:] = True
    closes[2 + first] = False
    return closes


def select(
    losses: Array, tokens: Tokens, *, threshold: float, limit: int, keep_induction: bool = False
) -> pd.DataFrame:
    """Predictions with a loss below `threshold` nats, not by induction, `limit` of them spread evenly.

    Returns:
        columns token (0…N−1), document, position, token_id, loss_nats; in the corpus's order. `attrs` counts the
        predictions at each step of the selection.
    """
    with np.errstate(invalid="ignore"):
        low = np.flatnonzero(losses < threshold)
    document, position = tokens.place(low)
    copied = np.zeros(len(low), dtype=bool)
    for index in np.unique(document):
        rows = document == index if len(low) < 1000 else slice(*np.searchsorted(document, [index, index + 1]))
        copied[rows] = induction(tokens.document(int(index)))[position[rows]]
    kept = low if keep_induction else low[~copied]
    chosen = kept[np.linspace(0, len(kept) - 1, limit).round().astype(int)] if len(kept) > limit else kept
    document, position = tokens.place(chosen)
    table = pd.DataFrame(
        {
            "token": np.arange(len(chosen)),
            "document": document,
            "position": position,
            "token_id": tokens.ids[chosen].astype(np.int64),
            "loss_nats": losses[chosen],
        }
    )
    table.attrs["counts"] = {
        "predictions": int(tokens.predicted().sum()),
        "below_threshold": len(low),
        "by_induction": int(copied.sum()),
        "selected": len(chosen),
    }
    return table


def check_enough(selected: int, largest: int, threshold: float) -> None:
    """Refuse a selection that cannot be cut into the largest number of clusters.

    Raises:
        QuantaError: fewer tokens than clusters, or as many.
    """
    if selected <= largest:
        raise QuantaError(
            "qdg.threshold",
            f"{selected} tokens with a loss below {threshold} nats that are not by induction",
            f"more than the largest of qdg.n_clusters, {largest}",
            f"raise qdg.threshold (or give a better model or more documents), or keep n_clusters below {selected}",
        )
