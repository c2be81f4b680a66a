"""A corpus as token ids with cumulative offsets.

A prediction is named by (document, position) or by its flat index `offsets[document] + position`; both name the token
that is predicted. The first token of a document is never predicted. Where models read a beginning-of-text token before each
document, it is no token of the corpus: it has neither position nor loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tokenizers import Tokenizer

from quanta.arrays import Array, Int, UInt, evenly
from quanta.corpus import vocabulary
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.storage import files

# ------------------------------------------------------------------------------------------------- tokens


@dataclass(frozen=True)
class Tokens:
    """Token ids of all documents one after the other; document i is `ids[offsets[i]:offsets[i + 1]]`.

    `beginning` are ids that every model reads before each document: context alone, no tokens of the corpus.
    """

    ids: UInt[Array, " token"]
    offsets: Int[Array, " document_and_end"]
    beginning: tuple[int, ...] = ()

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int[Array, " document"]:
        """Tokens a document."""
        return np.diff(self.offsets)

    def document(self, index: int) -> UInt[Array, " token"]:
        """Token ids of one document."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def flat(self, document: Array, position: Array) -> Int[Array, " n"]:
        """Flat indices of predictions at (document, position)."""
        return np.asarray(self.offsets[document] + position)

    def place(self, flat: Int[Array, " n"]) -> tuple[Int[Array, " n"], Int[Array, " n"]]:
        """(document, position) of flat indices. Empty documents own no index."""
        document = np.searchsorted(self.offsets, flat, side="right") - 1
        return document, flat - self.offsets[document]

    def predicted(self) -> Array:
        """Boolean (token,): True where a prediction exists, which is everywhere but at the first of each document."""
        mask = np.ones(len(self.ids), dtype=bool)
        starts = self.offsets[:-1]
        mask[starts[self.lengths > 0]] = False
        return mask


def load_tokens(tokens: str | Path, offsets: str | Path, beginning: str | Path | None = None) -> Tokens:
    """Read token ids and offsets, and check them against each other.

    `beginning` is the file of what models read before each document (`vocabulary.beginning_of`): whoever runs a model gives it.

    Raises:
        QuantaError: one of the files is damaged, or the two disagree.
    """
    ids = files.read_array(tokens, dtype=("uint16", "uint32"), shape=(None,))
    ends = files.read_array(offsets, dtype="int64", shape=(None,), memory_map=False)
    if len(ends) < 2 or ends[0] != 0 or (np.diff(ends) < 0).any() or ends[-1] != len(ids):
        raise QuantaError(
            str(tokens),
            f"{len(ids)} tokens, while {offsets} runs from {ends[:1]} to {ends[-1:]}",
            "offsets that start at 0, never fall and end at the number of tokens",
            files.RERUN,
        )
    before = files.read_json(beginning)["ids"] if beginning is not None else ()
    return Tokens(ids, ends, tuple(map(int, before)))


def encode(
    tokenizer: Tokenizer,
    table: pd.DataFrame,
    *,
    context: int,
    pieces: str,
    limit_documents: int | None = None,
    limit_tokens: int | None = None,
    spread: bool = False,
    parse_special: bool = False,
    batch: int = 256,
) -> tuple[Tokens, pd.DataFrame]:
    """Encode texts and cut them into documents of at most `context` tokens.

    `pieces` is `first` (the rest of a long text is dropped, as in the paper) or `all` (it becomes further documents).
    `limit_documents` keeps the first so many documents, or so many evenly spread ones; encoding stops at `limit_tokens`.
    A text that spells a special token becomes that token with `parse_special`, ordinary text without.

    Returns:
        the tokens, and a table with one row a document: document, source, split, start (of the piece in its text's
        tokens), n_tokens, subset.
    """
    progress = Progress("encoding", len(table), "texts")
    tokenizer = tokenizer if parse_special else vocabulary.of_plain_text(tokenizer)
    tokenizer.encode_special_tokens = not parse_special
    cuts: list[Array] = []
    rows: list[tuple[str, str, int, int, str]] = []
    subsets = table["subset"] if "subset" in table.columns else pd.Series("", index=table.index)
    dtype = np.uint16 if tokenizer.get_vocab_size() <= 2**16 else np.uint32
    total = 0
    early = None if spread else limit_documents
    for begin in range(0, len(table), batch):
        part = table.iloc[begin : begin + batch]
        encodings = tokenizer.encode_batch_fast(part["text"].tolist(), add_special_tokens=False)
        named = subsets.iloc[begin : begin + batch]
        for source, split, subset, encoding in zip(part["source"], part["split"], named, encodings, strict=True):
            ids = np.asarray(encoding.ids, dtype=dtype)
            starts = range(0, max(len(ids), 1), context) if pieces == "all" else range(1)
            for start in starts:
                cut = ids[start : start + context]
                cuts.append(cut)
                rows.append((source, split, start, len(cut), subset))
                total += len(cut)
        progress.advance(len(part))
        if (early is not None and len(rows) >= early) or (limit_tokens is not None and total >= limit_tokens):
            break
    keep = np.arange(len(rows))
    if limit_documents is not None and len(rows) > limit_documents:
        keep = evenly(len(rows), limit_documents) if spread else keep[:limit_documents]
    cuts, rows = [cuts[i] for i in keep], [rows[i] for i in keep]
    progress.done(f"{sum(map(len, cuts))} tokens in {len(cuts)} documents kept")
    offsets = np.concatenate([[0], np.cumsum([len(cut) for cut in cuts])]).astype(np.int64)
    documents = pd.DataFrame(rows, columns=pd.Index(["source", "split", "start", "n_tokens", "subset"]))
    documents.insert(0, "document", np.arange(len(documents)))
    return Tokens(np.concatenate(cuts) if cuts else np.empty(0, dtype), offsets), documents


def as_tokens(documents: "Tokens | Sequence[Sequence[int]]") -> Tokens:
    """Token ids as `Tokens`: those of the corpus as they are, or a list of documents, each a list of ids."""
    if isinstance(documents, Tokens):
        return documents
    rows = [np.asarray(d, dtype=np.uint32) for d in documents]
    ends = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return Tokens(np.concatenate(rows) if rows else np.empty(0, np.uint32), ends)
