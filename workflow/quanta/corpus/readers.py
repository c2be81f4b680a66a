"""Where a corpus comes from: documents of Python packages, JSON Lines, Parquet, folders of text files, data sets on disk."""

import codecs
import gzip
import io
import json
import lzma
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


ROWS = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".jsonl.xz", ".parquet")  # files that hold many documents
SAVED, SAVED_SPLITS = (
    "state.json",
    "dataset_dict.json",
)  # what `datasets` leaves in a folder, and in one of several splits


def documents_of(path: str | Path, field: str, *, subset: str | None = None) -> Iterator[Document]:
    """Documents of what a path names, by its kind.

    A file of JSON Lines or, by its suffix, of Parquet (`jsonl_documents`, `parquet_documents`); a folder that
    `datasets` saved (`saved_documents`); a folder of such files or of text files (`folder_documents`).
    """
    path = Path(path)
    if path.is_dir():
        saved = (path / SAVED).is_file() or (path / SAVED_SPLITS).is_file()
        return (saved_documents if saved else folder_documents)(path, field, subset=subset)
    return (parquet_documents if path.suffix == ".parquet" else jsonl_documents)(path, field, subset=subset)


def files_of(path: str | Path) -> list[Path]:
    """The files that a path names, in the order in which they are read: itself, or those of a folder and its folders.

    Of a folder that holds files of rows (`ROWS`) these alone; hidden files never.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    within = sorted(file for file in path.rglob("*") if file.is_file())
    seen = [file for file in within if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    return [file for file in seen if file.name.endswith(ROWS)] or seen


def folder_documents(path: str | Path, field: str, *, subset: str | None = None) -> Iterator[Document]:
    """Documents of a folder: of its files of rows one after the other, or each text file as one document.

    A text file's source is its path within the folder. Files that are no UTF-8 are left out, and the log names them.

    Raises:
        QuantaError: no file can be read as text, `subset` is set for text files, which have no fields, or see `documents_of`.
    """
    path, number = Path(path), 0
    for file in files_of(path):
        if file.name.endswith(ROWS):
            yield from documents_of(file, field, subset=subset)
            number += 1
            continue
        if subset:
            raise QuantaError(
                "config, key corpus.jsonl.subset",
                f"{subset!r}, while {path} holds text files",
                "null: text files have no fields",
                "set it to null, or write the texts as JSON Lines",
            )
        try:
            text = file.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            log.warning("%s left out: %s", file, error)
            continue
        yield Document(file.relative_to(path).as_posix(), text)
        number += 1
    if not number:
        raise QuantaError(
            f"config, key corpus.jsonl.path, {path}",
            "no file of text in UTF-8",
            f"text files, or files of rows ({', '.join(ROWS)})",
            "convert the files to UTF-8, or set the path to another folder",
        )


def saved_documents(path: str | Path, field: str, *, subset: str | None = None) -> Iterator[Document]:
    """Documents of a folder that `datasets` wrote with `save_to_disk`, in its order, read from the disk row by row.

    Raises:
        QuantaError: it holds several splits, cannot be read, has no such column, or a row has no text.
    """
    import datasets

    path = Path(path)
    if (path / SAVED_SPLITS).is_file():
        splits = json.loads((path / SAVED_SPLITS).read_text(encoding="utf-8")).get("splits", [])
        raise QuantaError(
            f"config, key corpus.jsonl.path, {path}",
            f"a data set of several splits: {', '.join(splits)}",
            "one split",
            f"set the path to one of them: {path / splits[0] if splits else path}",
        )
    try:
        saved: Any = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise QuantaError(
            str(path), f"{type(error).__name__}: {error}", "a data set that save_to_disk wrote", "write it again"
        ) from error
    columns = _columns(saved.column_names, field, subset, str(path))
    for number, row in enumerate(saved.select_columns(columns), start=1):
        where = f"{path}, row {number}"
        yield Document(f"{path.name}:{number}", _text_of(row, field, where), _subset_of(row, subset, where))


def _columns(there: Iterable[str], field: str, subset: str | None, where: str) -> list[str]:
    """Columns that are read of a table.

    Raises:
        QuantaError: one of them is not there.
    """
    wanted, known = {"field": field, "subset": subset.split(".")[0] if subset else None}, list(there)
    for key, column in wanted.items():
        if column is not None and column not in known:
            raise QuantaError(
                where,
                f"no column {column!r}, but {', '.join(map(repr, known)) or 'none'}",
                f"the column that corpus.jsonl.{key} names",
                f"set corpus.jsonl.{key} to one of them",
            )
    return list(dict.fromkeys(column for column in wanted.values() if column is not None))


def parquet_documents(path: str | Path, field: str, *, subset: str | None = None) -> Iterator[Document]:
    """Documents of a Parquet file, read batch by batch in the file's order.

    Raises:
        QuantaError: the file is damaged, it has no such column, or a row has no text under `field` or none under `subset`.
    """
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            columns = _columns(file.schema_arrow.names, field, subset, str(path))
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
    """Documents of a JSON Lines file (plain, .gz, .zst or .xz, streamed), in the file's order; blank lines are left out.

    `subset` names the field of the part of the corpus, with dots into objects (the Pile's `meta.pile_set_name`).

    Raises:
        QuantaError: the file is missing, cut off or no UTF-8, or it is an array; a line is no JSON object, or has no text
            under `field`.
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
    except (EOFError, OSError, UnicodeDecodeError, lzma.LZMAError, zlib.error, zstandard.ZstdError) as error:
        raise QuantaError(
            f"{path}, after line {number}",
            f"{type(error).__name__}: {error}",
            "a whole file of JSON Lines in UTF-8, plain or compressed (.gz, .zst, .xz)",
            "fetch the file again, or write it again in UTF-8",
        ) from error


def _array(path: str | Path) -> QuantaError:
    return QuantaError(
        str(path),
        "a JSON array",
        "JSON Lines: one object a line, without brackets around them and commas between them",
        f"write its entries one a line: jq -c '.[]' {Path(path).name} > {Path(path).stem}.lines.jsonl",
    )


def _unusable(error: Exception, field: str, where: str) -> QuantaError:
    return QuantaError(
        where,
        f"{type(error).__name__}: {error}",
        f"a JSON object with a text under {field!r}",
        "fix the line, or set corpus.jsonl.field to the name of the text field",
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
    if isinstance(row, dict) and field not in row:
        raise QuantaError(
            where,
            f"no {field!r}, but {', '.join(map(repr, list(row)[:20])) or 'nothing'}",
            f"a text under {field!r}, which corpus.jsonl.field names",
            "set corpus.jsonl.field to one of them, or fix the line",
        )
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
    elif path.suffix == ".xz":
        stream = lzma.LZMAFile(path)  # noqa: SIM115 (closed with what reads it)
    elif path.suffix == ".zst":
        stream = io.BufferedReader(_WholeZstandard(path.open("rb")), 2**20)
    else:
        stream = path.open("rb")
    try:
        _refuse_by_beginning(path, bytes(stream.peek(4096)))
    except BaseException:
        stream.close()
        raise
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n")


def _refuse_by_beginning(path: Path, beginning: bytes) -> None:
    """Refuse UTF-16 and UTF-32 by a file's first bytes, a mark or zeros among them, and an array before its one line is read."""
    first = beginning[:4]
    if b"\0" in first or first[:2] in (b"\xff\xfe", b"\xfe\xff"):
        marks = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
        wide = "UTF-32" if first in marks or first.count(b"\0") > 2 else "UTF-16"
        raise QuantaError(
            str(path),
            f"text in {wide}",
            "JSON Lines in UTF-8",
            f"convert it: iconv -f {wide} -t UTF-8 {path.name} > {path.stem}.utf8.jsonl",
        )
    if beginning.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        raise _array(path)


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
