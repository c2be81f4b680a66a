"""Selection: tokens that a model predicts well, though not by copying (the paper's section 5)."""

import numpy as np
import pandas as pd

from quanta.arrays import Array, Bool, Int, UInt, evenly
from quanta.corpus.encoding import Tokens
from quanta.errors import QuantaError
from quanta.storage import files

COLUMNS = ("token", "document", "position", "token_id", "loss_nats")


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


def dropped_as_published(low: Array, tokens: Tokens) -> Bool[Array, " n"]:
    """Which of the flat indices `low` the paper's public code drops as induction.

    It counts predictions through the corpus, one too many for every document of one token or none. So from the first
    such document on it drops, for a token by induction, the one as many predictions further on as there were such
    documents before. Without any, it drops what `induction` says.
    """
    starts = np.cumsum(tokens.lengths > 0)  # first tokens, which are no predictions, up to and with each document
    short = (tokens.lengths <= 1).astype(np.int64)
    drift = np.cumsum(short) - short
    closing = [
        tokens.offsets[i] + np.flatnonzero(induction(tokens.document(i))) - starts[i] + drift[i]
        for i in np.flatnonzero(tokens.lengths > 3).tolist()
    ]
    document, _ = tokens.place(low)
    return np.isin(low - starts[document], np.concatenate(closing) if closing else np.empty(0, dtype=np.int64))


def repeated(flat: Int[Array, " n"], tokens: Tokens) -> Bool[Array, " n"]:
    """True at a flat index whose document has the same tokens up to it, its own included, as another one's given before it.

    Nothing but these tokens determines a prediction and its gradient (a document is no longer than the context): such copies have
    a cosine of 1, and would be clusters and collisions by themselves. Documents are compared by a hash of each beginning, and
    token by token where that is equal. `flat` rises.
    """
    documents, positions = tokens.place(flat)
    key = np.empty(len(flat), dtype=np.uint64)
    bounds = np.flatnonzero(np.diff(documents, prepend=-1, append=-1))
    for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        key[begin:end] = _beginnings(tokens.document(int(documents[begin])))[positions[begin:end]]
    order = np.argsort(key, kind="stable")
    first = np.maximum.accumulate(np.where(np.diff(key[order], prepend=~key[order[:1]]) != 0, np.arange(len(key)), 0))
    copies = np.zeros(len(flat), dtype=bool)
    for place in np.flatnonzero(first != np.arange(len(key))).tolist():
        one, other = order[first[place]], order[place]
        a, b = (tokens.document(int(documents[i]))[: positions[i] + 1] for i in (one, other))
        copies[other] = np.array_equal(a, b)
    return copies


def _beginnings(document: Array) -> UInt[Array, " token"]:
    """A 64-bit hash of each beginning of a document: sums of a hash of (position, id), by the finaliser of splitmix64."""
    x = np.asarray(document).astype(np.uint64) + (np.arange(1, len(document) + 1, dtype=np.uint64) << np.uint64(32))
    x *= np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(np.cumsum(x ^ (x >> np.uint64(31)), dtype=np.uint64))


def select(
    losses: Array,
    tokens: Tokens,
    *,
    threshold: float,
    limit: int,
    keep_induction: bool = False,
    as_published: bool = False,
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Predictions with a loss below `threshold` nats, not by induction nor `repeated`, `limit` of them spread evenly.

    With `as_published`, the tokens that the paper's public code drops are dropped, drift of its index included, and no others.

    Returns:
        columns token (0…N−1), document, position, token_id, loss_nats, in the corpus's order; and the counts of
        predictions at each step of the selection.
    """
    with np.errstate(invalid="ignore"):
        low = np.flatnonzero(losses < threshold)
    document, position = tokens.place(low)
    copied = dropped_as_published(low, tokens) if as_published else np.zeros(len(low), dtype=bool)
    for index in [] if as_published else np.unique(document):
        rows = document == index if len(low) < 1000 else slice(*np.searchsorted(document, [index, index + 1]))
        copied[rows] = induction(tokens.document(int(index)))[position[rows]]
    kept = low if keep_induction else low[~copied]
    again = np.zeros(len(kept), dtype=bool) if as_published else repeated(kept, tokens)
    kept = kept[~again]
    chosen = kept[evenly(len(kept), limit)]
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
    counts = {
        "predictions": int(tokens.predicted().sum()),
        "below_threshold": len(low),
        "by_induction": int(copied.sum()),
        "repeated": int(again.sum()),
        "candidates": len(kept),
        "selected": len(chosen),
    }
    return table, counts


def read_selection(path: str, tokens: Tokens) -> pd.DataFrame:
    """Read the table of selected tokens and check it against the corpus.

    Raises:
        QuantaError: a row names no prediction of the corpus, or another token than the corpus has there.
    """
    table = files.read_table(path, COLUMNS)
    document, position = table["document"].to_numpy(), table["position"].to_numpy()
    inside = (document >= 0) & (document < tokens.n_documents) & (position > 0)
    inside[inside] &= position[inside] < tokens.lengths[document[inside]]
    same = inside.copy()
    same[inside] = tokens.ids[tokens.flat(document[inside], position[inside])] == table["token_id"].to_numpy()[inside]
    if not len(table) or not same.all():
        row = int(np.flatnonzero(~same)[0]) if len(table) else 0
        raise QuantaError(
            path,
            f"row {row} names document {document[row]}, position {position[row]}" if len(table) else "no rows",
            "predictions of this run's corpus, with their token ids",
            files.RERUN,
        )
    return table


def check_same_losses(chosen: pd.DataFrame, losses: Array, model: str) -> None:
    """Refuse gradients taken from other weights or contexts than the losses by which the tokens were selected.

    Raises:
        QuantaError: a loss differs from the selected one by more than 0.02 nats (bfloat16 against float32 stays below).
    """
    apart = np.abs(chosen["loss_nats"].to_numpy() - losses)
    if len(apart) and not apart.max() < 0.02:
        row = chosen.iloc[int(np.argmax(apart))]
        raise QuantaError(
            model,
            f"loss {losses[int(np.argmax(apart))]:.4f} nats at document {int(row['document'])}, position {int(row['position'])}",
            f"{row['loss_nats']:.4f} nats, as in the selection",
            "delete qdg/tokens.parquet and the losses of this model, and start the run again",
        )


NEEDED = 40  # tokens, as `calibration.simulations.summaries` says; the schema has it for qdg.tokens


def check_enough(selected: int, largest: int, threshold: float) -> None:
    """Refuse a selection that cannot be cut into the largest number of clusters.

    Raises:
        QuantaError: fewer tokens than clusters, or as many; or too few for the calibration.
    """
    if selected < NEEDED:
        raise QuantaError(
            "qdg.threshold",
            f"{selected} tokens with a loss below {threshold} nats that are not by induction",
            f"at least {NEEDED}, which calibration and null models need",
            "raise qdg.threshold, or give a better model or more documents",
        )
    if selected <= largest:
        raise QuantaError(
            "qdg.threshold",
            f"{selected} tokens with a loss below {threshold} nats that are not by induction",
            f"more than the largest of qdg.n_clusters, {largest}",
            f"raise qdg.threshold (or give a better model or more documents), or keep n_clusters below {selected}",
        )
