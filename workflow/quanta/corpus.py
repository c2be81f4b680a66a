"""Corpus: documents with their order and source, a byte-level BPE tokenizer, token ids with cumulative offsets.

A prediction is named by (document, position) or by its flat index `offsets[document] + position`; both name the token
that is predicted. The first token of a document is never predicted.
"""

import bisect
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import zstandard
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from quanta import duplicates, storage
from quanta.errors import QuantaError
from quanta.progress import Progress, log
from quanta.shapes import Array, Int, UInt
from quanta.surroundings import normalise

HELD_OUT, TRAINING = "heldout", "training"
END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True)
class Document:
    """A text, where it comes from (`distribution/path` or `file:line`), and the part of the corpus it is of."""

    source: str
    text: str
    subset: str = ""


# ------------------------------------------------------------------------------------------------ sources


def python_sources(distributions: Iterable[metadata.Distribution]) -> Iterator[Document]:
    """Python files of installed distributions, in the order of a hash of their path: any first part is a fair sample.

    Only files that the distribution itself lists are read. Undecodable ones are left out.
    """
    files = []
    for distribution in distributions:
        name = normalise(distribution.metadata["Name"])
        listed = distribution.files or []
        files += [(f"{name}/{file.as_posix()}", file.locate()) for file in listed if file.suffix == ".py"]
    for source, path in sorted(files, key=lambda item: (_unit(item[0]), item[0])):
        try:
            yield Document(source, Path(path).read_bytes().decode("utf-8"))
        except (UnicodeDecodeError, FileNotFoundError) as error:
            log.warning("%s left out: %s", source, error)


def documents_of(path: str | Path, field: str, *, subset: str | None = None) -> Iterator[Document]:
    """Documents of a file of JSON Lines or, by its suffix, of Parquet; see `jsonl_documents` and `parquet_documents`."""
    read = parquet_documents if Path(path).suffix == ".parquet" else jsonl_documents
    return read(path, field, subset=subset)


def parquet_documents(path: str | Path, field: str, *, subset: str | None = None) -> Iterator[Document]:
    """Documents of a Parquet file, read batch by batch in the file's order.

    Raises:
        QuantaError: the file is damaged, or a row has no text under `field` or none under `subset`.
    """
    import pyarrow
    from pyarrow import parquet

    number, columns = 0, [field, *([subset.split(".")[0]] if subset else [])]
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024, columns=columns):
                for row in batch.to_pylist():
                    number += 1
                    where = f"{path}, row {number}"
                    yield Document(
                        f"{Path(path).name}:{number}", _text_of(row, field, where), _subset_of(row, subset, where)
                    )
    except (pyarrow.ArrowException, OSError) as error:
        raise QuantaError(
            str(path), f"{type(error).__name__}: {error}", "a whole Parquet file", "fetch it again"
        ) from error


def jsonl_documents(
    path: str | Path, field: str, *, limit: int | None = None, subset: str | None = None
) -> Iterator[Document]:
    """Documents of a JSON Lines file (plain, .gz or .zst, streamed), in the file's order.

    `subset` names the field of the part of the corpus, with dots into objects (the Pile's `meta.pile_set_name`).

    Raises:
        QuantaError: the file is missing, cut off or no UTF-8, a line is no JSON object, or has no text under `field`.
    """
    if not Path(path).is_file():
        raise QuantaError(
            "corpus.jsonl.path", f"{path} is not a file", "a JSON Lines file", "set the path to one that exists"
        )
    name = Path(path).name
    number = 0
    try:
        with _open_text(Path(path)) as lines:
            for number, line in enumerate(islice(lines, limit), start=1):
                where = f"{path}, line {number}"
                row = _object(line, field, where)
                yield Document(f"{name}:{number}", _text_of(row, field, where), _subset_of(row, subset, where))
    except (EOFError, OSError, UnicodeDecodeError, zlib.error, zstandard.ZstdError) as error:
        raise QuantaError(
            f"{path}, after line {number}",
            f"{type(error).__name__}: {error}",
            "a whole file of JSON Lines in UTF-8, plain or compressed (.gz, .zst)",
            "fetch the file again, or write it anew in UTF-8",
        ) from error


def _unusable(error: Exception, field: str, where: str) -> QuantaError:
    return QuantaError(
        where,
        f"{type(error).__name__}: {error}",
        f"a JSON object with a text under {field!r}",
        "mend the line, or set corpus.jsonl.field to the name of the text field",
    )


def _object(line: str, field: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _unusable(error, field, where) from error


def _subset_of(row: Any, subset: str | None, where: str) -> str:
    found = row
    for part in subset.split(".") if subset else ():
        found = found.get(part) if isinstance(found, dict) else None
    if subset and not isinstance(found, str):
        raise QuantaError(
            where,
            f"{found!r} under {subset!r}",
            "the name of the part of the corpus that the document is from",
            "set corpus.jsonl.subset to the field that holds it, or to null",
        )
    return _sound(found) if subset else ""


def _sound(text: str) -> str:
    """The text with lone surrogates, which JSON can hold and UTF-8 cannot, as U+FFFD: one character for one."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _text_of(row: Any, field: str, where: str) -> str:
    try:
        text = row[field]
        if not isinstance(text, str):
            raise TypeError(f"{field!r} holds a {type(text).__name__}")
    except (KeyError, TypeError) as error:
        raise _unusable(error, field, where) from error
    return _sound(text)


def _open_text(path: Path) -> io.TextIOWrapper:
    stream: Any
    if path.suffix == ".gz":
        stream = gzip.GzipFile(path)
    elif path.suffix == ".zst":
        stream = io.BufferedReader(_WholeZstandard(path.open("rb")), 2**20)
    else:
        stream = path.open("rb")
    return io.TextIOWrapper(stream, encoding="utf-8", newline="\n")


class _WholeZstandard(io.RawIOBase):
    """Decompresses all frames of a file. zstandard's own reader ends without a word where a file was cut off."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._ready = file, b""
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with what comes next; 0 at the end.

        Raises:
            EOFError: the file ends within a frame.
        """
        rest = b""
        while not self._ready:
            chunk = rest or self._file.read(2**17)
            if not chunk:
                if self._begun:
                    raise EOFError("the compressed file ends before its last frame does")
                return 0
            self._ready, self._begun, rest = self._frame.decompress(chunk), True, b""
            if self._frame.eof:
                rest, self._begun = self._frame.unused_data, False
                self._frame = zstandard.ZstdDecompressor().decompressobj()
                if rest and self._ready:
                    self._file.seek(-len(rest), io.SEEK_CUR)
        size = min(len(buffer), len(self._ready))
        buffer[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def close(self) -> None:
        """Close the file below, too."""
        self._file.close()
        super().close()


def distinct(documents: Iterable[Document], minimum_characters: int, *, repeated: bool = False) -> Iterator[Document]:
    """Leave out short documents and, after the first, those of equal text (unless `repeated` ones are kept, too)."""
    if repeated:
        yield from (document for document in documents if len(document.text) >= minimum_characters)
        return
    seen: set[bytes] = set()
    dropped = {"short": 0, "equal": 0}
    for document in documents:
        digest = hashlib.blake2b(document.text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if len(document.text) < minimum_characters:
            dropped["short"] += 1
        elif digest in seen:
            dropped["equal"] += 1
        else:
            seen.add(digest)
            yield document
    log.info("documents: %d kept, %d too short, %d equal to another", len(seen), dropped["short"], dropped["equal"])


def _unit(source: str) -> float:
    """A number in [0, 1) that depends on a document's source alone, never on its content."""
    return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") / 2**64


def split_of(source: str, heldout_share: float) -> str:
    """`heldout` for that share of sources, by a hash of the source; else `training`.

    A source whose hash is small comes early in `python_sources`, so the split takes another hash.
    """
    return HELD_OUT if _unit("split:" + source) < heldout_share else TRAINING


def documents_table(
    documents: Iterable[Document], heldout_share: float, containment: float | None = None
) -> pd.DataFrame:
    """Columns source, split, text, subset; one row a document, in the order given.

    With `containment`, near duplicates (`duplicates.groups`) have the split of that of them whose source sorts first.

    Raises:
        QuantaError: there is no document at all, or none in a split that must have some.
    """
    rows = [(d.source, split_of(d.source, heldout_share), d.text, d.subset) for d in documents]
    table = pd.DataFrame(rows, columns=pd.Index(["source", "split", "text", "subset"]))
    if containment is not None and 0 < heldout_share < 1:
        table["split"] = _with_near_duplicates(table, heldout_share, containment)
    wanted = {HELD_OUT: heldout_share > 0, TRAINING: heldout_share < 1}
    for split, needed in wanted.items():
        if needed and not (len(table) and (table["split"] == split).any()):
            raise QuantaError(
                "corpus",
                f"{len(table)} documents, none of them for the split {split!r}",
                "at least one document a split",
                "lower corpus.minimum_characters, change corpus.heldout_share, or give a larger corpus",
            )
    return table


def _with_near_duplicates(table: pd.DataFrame, heldout_share: float, containment: float) -> "pd.Series[str]":
    group = table["source"].groupby(duplicates.groups(table["text"], containment))
    split = group.transform("min").map(lambda source: split_of(source, heldout_share))
    sizes = group.size()
    log.info(
        "near duplicates: %d documents in %d groups, the largest of %d; %d documents changed sides",
        *(sizes[sizes > 1].sum(), (sizes > 1).sum(), sizes.max() if len(sizes) else 0),
        (split != table["split"]).sum(),
    )
    return split


# ----------------------------------------------------------------------------------------------- manifest

MANIFEST = ("source", "split", "sha256", "characters", "version")


def manifest(table: pd.DataFrame, versions: Mapping[str, str]) -> pd.DataFrame:
    """What models are trained and evaluated on, by source: enough to know it again, without the texts.

    Args:
        table: of `documents_table`.
        versions: of the distributions by name, if the corpus is made of them.

    Returns:
        columns source, split, sha256 (of the text in UTF-8, first 16 hexadecimal digits), characters, version (of the
        source's distribution, else empty).
    """
    rows = [
        (source, split, _fingerprint(text), len(text), versions.get(_origin(source), ""))
        for source, split, text in zip(table["source"], table["split"], table["text"], strict=True)
    ]
    return pd.DataFrame(rows, columns=pd.Index(MANIFEST)).sort_values("source", ignore_index=True)


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read a manifest that was written as CSV.

    Raises:
        QuantaError: the file is no manifest, or holds nothing out.
    """
    found = storage.read_table(path, MANIFEST, text=True)
    sound = found["split"].isin([HELD_OUT, TRAINING]) & found["characters"].str.fullmatch(r"\d+")
    if not sound.all() or not (found["split"] == HELD_OUT).any() or found["source"].duplicated().any():
        raise QuantaError(
            str(path),
            f"{len(found)} rows, {(~sound).sum()} of them unsound",
            f"each source once, its split ({HELD_OUT} or {TRAINING}) and characters, at least one of them {HELD_OUT}",
            "fetch the file anew, with the weights that it belongs to",
        )
    return found.astype({"characters": "int64"})


def agree(
    documents: Iterable[Document], manifest: pd.DataFrame, versions: Mapping[str, str], least: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Of the documents found here, those that the manifest knows, with its split: no held-out one was trained on.

    Args:
        documents: may repeat each other; the manifest says which of equal ones count.
        manifest: of the models' training (`manifest`).
        versions: of the distributions that are installed here.
        least: share of the manifest's held-out characters that must be left.

    Returns:
        the table as `documents_table` makes it; and a table source, difference of those left out: `changed`, `absent`,
        or `new`, sorted by source. Files that equal one of the manifest's are no news.

    Raises:
        QuantaError: fewer held-out characters are left.
    """
    split, expected = (dict(zip(manifest["source"], manifest[key], strict=True)) for key in ("split", "sha256"))
    texts = set(expected.values())
    rows: list[tuple[str, str, str, str]] = []
    differences = dict.fromkeys(expected, "absent")
    for document in documents:
        found = _fingerprint(document.text)
        if expected.get(document.source) == found:
            rows.append((document.source, split[document.source], document.text, document.subset))
            del differences[document.source]
        elif document.source in expected:
            differences[document.source] = "changed"
        elif found not in texts:
            differences[document.source] = "new"
    table = pd.DataFrame(rows, columns=pd.Index(["source", "split", "text", "subset"]))
    different = pd.DataFrame(sorted(differences.items()), columns=pd.Index(["source", "difference"]))
    trained = {
        _origin(source): version for source, version in zip(manifest["source"], manifest["version"], strict=True)
    }
    _report(different, trained, versions)
    left = int(table.loc[table["split"] == HELD_OUT, "text"].str.len().sum())
    wanted = int(manifest.loc[manifest["split"] == HELD_OUT, "characters"].sum())
    if left == 0 or left < least * wanted:
        others = [
            f"{name}=={then.split('+')[0]}" for name, then in trained.items() if then and versions.get(name) != then
        ]
        raise QuantaError(
            "corpus",
            f"{left} of the {wanted} held-out characters of the models' corpus are here as they were",
            f"at least a share of {least:g} (corpus.minimum_agreement)",
            f"pip install {' '.join(others)}" if others else "give the corpus that the models were trained on",
        )
    log.info("%d of %d documents agree with the manifest; %d of %d held-out characters are left",
             len(table), len(manifest), left, wanted)  # fmt: skip
    return table, different


def _report(different: pd.DataFrame, trained: Mapping[str, str], versions: Mapping[str, str]) -> None:
    """One warning a distribution (or file of texts): how many documents differ, and the first of them."""
    for name, part in different.groupby(different["source"].map(_origin)):
        parts = [
            f"{len(sources)} {difference} ({', '.join(sources[:3])}{', …' if len(sources) > 3 else ''})"
            for difference, sources in part.groupby("difference")["source"].agg(list).items()
        ]
        then, now = trained.get(str(name)) or "not in the models' corpus", versions.get(str(name)) or "not in this one"
        log.warning("%s (%s; here: %s): left out are %s", name, then, now, ", ".join(parts))


def _origin(source: str) -> str:
    """Distribution or file of texts that a source is of."""
    return re.split("[/:]", source, maxsplit=1)[0]


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


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
    with storage.atomic(folder / "tokenizer.json") as temporary:
        tokenizer.save(str(temporary))
    storage.write_json(
        folder / "tokenizer_config.json",
        {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END_OF_TEXT, "bos_token": END_OF_TEXT},
    )


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load `tokenizer.json` of a Hugging Face tokenizer folder.

    Raises:
        QuantaError: there is no such file, or it is damaged.
    """
    path = Path(folder) / "tokenizer.json"
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise QuantaError(
            str(path), f"cannot be loaded ({error})", "a fast tokenizer of Hugging Face", "give its tokenizer.json"
        ) from error


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
    ids = storage.read_array(tokens, dtype=("uint16", "uint32"), shape=(None,))
    ends = storage.read_array(offsets, dtype="int64", shape=(None,), memory_map=False)
    if len(ends) < 2 or ends[0] != 0 or (np.diff(ends) < 0).any() or ends[-1] != len(ids):
        raise QuantaError(
            str(tokens),
            f"{len(ids)} tokens, while {offsets} runs from {ends[:1]} to {ends[-1:]}",
            "offsets that start at 0, never fall and end at the number of tokens",
            storage.RERUN,
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
