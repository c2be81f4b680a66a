"""Where a corpus comes from: documents of Python packages, JSON Lines or Parquet files."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from quanta.corpus import splitting
from quanta.corpus.packages import normalise
from quanta.corpus.splitting import Document
from quanta.errors import QuantaError
from quanta.progress import log


def python_sources(distributions: Iterable[metadata.Distribution]) -> Iterator[Document]:
    """Python files of installed distributions, in the order of a hash of their path: any first part is a fair sample.

    Only files that the distribution itself lists are read, each once. Undecodable ones are left out.
    """
    files: dict[str, Any] = {}
    for distribution in distributions:
        name = normalise(distribution.metadata["Name"])
        listed = distribution.files or []
        files |= {f"{name}/{file.as_posix()}": file.locate() for file in listed if file.suffix == ".py"}
    for source, path in sorted(files.items(), key=lambda item: (splitting.unit(item[0]), item[0])):
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
    """Documents of a JSON Lines file (plain, .gz or .zst, streamed), in the file's order; blank lines are left out.

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
                if not line.strip(" \t\r\n"):
                    continue
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
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n")


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
