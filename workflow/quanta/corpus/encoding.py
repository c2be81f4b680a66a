"""Corpus: a byte-level BPE tokenizer, and token ids with cumulative offsets. Its texts come from `quanta.corpus.readers`.

A prediction is named by (document, position) or by its flat index `offsets[document] + position`; both name the token
that is predicted. The first token of a document is never predicted.
"""

import bisect
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from quanta.arrays import Array, Int, UInt
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.storage import files

END_OF_TEXT = "<|endoftext|>"


# ---------------------------------------------------------------------------------------------- tokenizer


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Byte-level BPE: any text can be encoded, and decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write the two files from which `transformers.AutoTokenizer` loads it."""
    folder = Path(folder)
    with files.atomic(folder / "tokenizer.json") as temporary:
        tokenizer.save(str(temporary))
    files.write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_OF_TEXT, "bos_token": END_OF_TEXT},
    )


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load `tokenizer.json` of a Hugging Face tokenizer folder, without the cuts and the padding that it may ask for.

    Raises:
        QuantaError: there is no such file, or it is damaged.
    """
    path = Path(folder) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise QuantaError(
            str(path), f"cannot be loaded ({error})", "a fast tokenizer of Hugging Face", "give its tokenizer.json"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


# of a tokenizer.json, what token ids hang on; special tokens are found in a text like other added ones
DECISIVE = ("normalizer", "pre_tokenizer", "added_tokens", "model")


def check_alike(folders: Iterable[str | Path]) -> list[str]:
    """Assert that models share one tokenizer, as far as token ids hang on it.

    Returns:
        the folders without a tokenizer.json: nothing is known of theirs.

    Raises:
        QuantaError: two tokenizers differ, or one is damaged.
    """
    without: list[str] = []
    seen: dict[str, str] = {}
    first: tuple[str, dict[str, Any]] | None = None
    for folder in map(str, folders):
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            without.append(folder)
            continue
        if seen.setdefault(files.file_hash(path), folder) != folder:
            continue
        # written anew by the library, which has one way to say what files of other versions say in several
        whole = json.loads(load_tokenizer(folder).to_str())
        for token in whole["added_tokens"]:
            token.pop("special", None)
        decisive = {key: whole.get(key) for key in DECISIVE}
        first = first or (folder, decisive)
        if difference := _difference(first[1], decisive):
            key, one, other = difference
            raise QuantaError(
                f"{first[0]} and {folder}",
                f"tokenizers that differ: {key} is {_short(one)} in the one and {_short(other)} in the other",
                "models that share one tokenizer: their losses are compared token by token",
                "leave one of them out, or run each family by itself",
            )
    return without


def _difference(one: Any, other: Any, key: str = "") -> tuple[str, Any, Any] | None:
    """Where two values of JSON first differ, and what stands there in each; None where they are equal."""
    if one == other:
        return None
    if isinstance(one, dict) and isinstance(other, dict):
        keys: Iterable[Any] = dict.fromkeys([*one, *other])
        pairs = [(f"{key}.{name}" if key else name, one.get(name), other.get(name)) for name in keys]
    elif isinstance(one, list) and isinstance(other, list):
        longest = max(len(one), len(other))
        both = ([*part, *[None] * (longest - len(part))] for part in (one, other))
        pairs = [(f"{key}.{index}", a, b) for index, (a, b) in enumerate(zip(*both, strict=True))]
    else:
        return key, one, other
    inner = (_difference(a, b, name) for name, a, b in pairs)
    return next((found for found in inner if found), (key, one, other))


def _short(value: Any) -> str:
    text = "absent" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


# ------------------------------------------------------------------------------------------------- tokens


@dataclass(frozen=True)
class Tokens:
    """Token ids of all documents one after the other; document i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: UInt[Array, " token"]
    offsets: Int[Array, " document_and_end"]

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


def load_tokens(tokens: str | Path, offsets: str | Path) -> Tokens:
    """Read token ids and offsets, and check them against each other.

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
    return Tokens(ids, ends)


def encode(
    tokenizer: Tokenizer,
    table: pd.DataFrame,
    *,
    context: int,
    pieces: str,
    limit_documents: int | None = None,
    limit_tokens: int | None = None,
    spread: bool = False,
    batch: int = 256,
) -> tuple[Tokens, pd.DataFrame]:
    """Encode texts and cut them into documents of at most `context` tokens.

    `pieces` is `first` (the rest of a long text is dropped, as in the paper) or `all` (it becomes further documents).
    `limit_documents` keeps the first so many documents, or so many evenly spread ones; encoding stops at `limit_tokens`.

    Returns:
        the tokens, and a table with one row a document: document, source, split, start (of the piece in its text's
        tokens), n_tokens, subset.
    """
    progress = Progress("encoding", len(table), "texts")
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
        keep = np.linspace(0, len(rows) - 1, limit_documents).round().astype(int) if spread else keep[:limit_documents]
    cuts, rows = [cuts[i] for i in keep], [rows[i] for i in keep]
    progress.done(f"{sum(map(len, cuts))} tokens in {len(cuts)} documents kept")
    offsets = np.concatenate([[0], np.cumsum([len(cut) for cut in cuts])]).astype(np.int64)
    documents = pd.DataFrame(rows, columns=pd.Index(["source", "split", "start", "n_tokens", "subset"]))
    documents.insert(0, "document", np.arange(len(documents)))
    return Tokens(np.concatenate(cuts) if cuts else np.empty(0, dtype), offsets), documents


class Texts:
    """Tokens back as text, for contexts in the report: a string a token, bytes that are no UTF-8 in hexadecimal."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._bytes = {character: byte for byte, character in _byte_alphabet().items()}

    def of(self, token: int) -> str:
        """Text of one token id (ids past the vocabulary, which padded models may emit, as `<id>`)."""
        symbol = self._tokenizer.id_to_token(int(token))
        if symbol is None:
            return f"<{token}>"
        try:
            raw = bytes(self._bytes[character] for character in symbol)
        except KeyError:  # a special token, or a tokenizer that is not byte-level
            return symbol
        return raw.decode("utf-8", errors="backslashreplace")


def _byte_alphabet() -> dict[int, str]:
    """The byte-level alphabet of GPT-2's tokenizer: printable bytes stand for themselves, the others are moved up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [
        byte
        for byte in range(256)
        if bisect.bisect_left(printable, byte) == len(printable)
        or printable[bisect.bisect_left(printable, byte)] != byte
    ]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(moved)}
