"""Arrays, tables and JSON: written under a temporary name and renamed, checked when they are read."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # half a second, which jobs that read no table need not wait
    import pandas as pd

from quanta.arrays import Array
from quanta.errors import QuantaError
from quanta.storage import writing

ZEROS = bytes(2**20)
NO_ALLOCATION = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # of file systems that cannot take room beforehand
RERUN = "delete the file and start the run again: the step that makes it will make it again"


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes as they lie on the disk."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_array(path: str | Path, array: Array) -> None:
    """Write an array as `.npy`."""
    with writing.atomic(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


@contextmanager
def new_array(path: str | Path, shape: tuple[int, ...], dtype: Any) -> Iterator[Array]:
    """Yield a writable memory map that becomes `path` when the block ends well: for arrays larger than memory.

    Raises:
        OSError: the disk has less room than the array needs; nothing of it is left.
    """
    with writing.atomic(path) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        _allocate(temporary, array.offset)
        yield array
        array.flush()
        del array


def _allocate(path: Path, header: int) -> None:
    """Take the room of a sparse file now: a full disk would kill the process (SIGBUS) when it writes to a map of it."""
    size = path.stat().st_size
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, size)
        except AttributeError:  # macOS has no such call
            pass
        except OSError as error:
            if error.errno not in NO_ALLOCATION:
                raise OSError(error.errno, error.strerror, str(path)) from error
        else:
            return
        stream.seek(header)  # the rest of a new file is zeros already
        for begin in range(header, size, len(ZEROS)):
            stream.write(ZEROS[: size - begin])


def read_array(
    path: str | Path,
    *,
    dtype: str | tuple[str, ...],
    shape: tuple[int | None, ...],
    why: str = "",
    memory_map: bool = True,
    finite: bool = False,
) -> Array:
    """Read a `.npy` file and check what it holds.

    `shape` has None where any length will do; `why` says where an expected length comes from. With `finite`, the whole
    array is read and searched for numbers that are none.

    Raises:
        QuantaError: the file is truncated or no array, its dtype or shape is not the one expected, or with `finite` a
            number is NaN or infinite (the first place is named).
    """
    try:
        array: Array = np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise QuantaError(
            str(path), f"not a whole .npy file ({error})", "an array written by this run", RERUN
        ) from error
    dtypes = (dtype,) if isinstance(dtype, str) else dtype
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if array.dtype.name not in dtypes or not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise QuantaError(
            str(path),
            f"holds {array.dtype.name} of shape {array.shape}",
            f"{' or '.join(dtypes)} of shape {wanted}" + (f" ({why})" if why else ""),
            RERUN,
        )
    if finite and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise QuantaError(str(path), f"{array[place]} at {place}", "finite numbers", RERUN)
    return array


def write_table(path: str | Path, table: "pd.DataFrame") -> None:
    """Write a table as Parquet or CSV, by the suffix. CSV keeps every digit of a float."""
    with writing.atomic(path) as temporary:
        if temporary.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False, lineterminator="\n")


def read_table(path: str | Path, columns: tuple[str, ...] = (), *, text: bool = False) -> "pd.DataFrame":
    """Read a Parquet or CSV table that has at least `columns`; with `text`, all of a CSV's values as they are written.

    Raises:
        QuantaError: the file is no such table, or lacks one of the columns.
    """
    import pandas as pd

    as_written: dict[str, Any] = {"dtype": str, "keep_default_na": False} if text else {}
    try:
        table = pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path, **as_written)
    except FileNotFoundError:
        raise
    except Exception as error:  # pyarrow and pandas raise a dozen kinds for a damaged file
        raise QuantaError(str(path), f"not a readable table ({error})", "a table written by this run", RERUN) from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise QuantaError(str(path), f"lacks the columns {missing}", f"the columns {list(columns)}", RERUN)
    return table


def part_of(path: str | Path) -> tuple[int, int]:
    """Which part a file is, and of how many, by its name: (1, 8) of `features.part1of8.npy`."""
    part, of = Path(path).suffixes[-2].removeprefix(".part").split("of")
    return int(part), int(of)


def truth(value: Any) -> bool | None:
    """The truth in a table's cell, also where it was read from a CSV file as text; None where the cell is empty.

    Raises:
        QuantaError: the cell holds something else.
    """
    if value is None or value is False or value is True:
        return value
    if isinstance(value, float) and value != value:
        return None
    known = {"True": True, "False": False, "": None}
    if str(value) not in known:
        raise QuantaError("a table", f"{value!r} where a truth is expected", "True, False, or nothing", RERUN)
    return known[str(value)]


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys: the same content is the same bytes. NaN is refused, None says "no value"."""
    with writing.atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        QuantaError: the file is no JSON object.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise QuantaError(str(path), f"not JSON ({error})", "a JSON object", RERUN) from error
    if not isinstance(content, dict):
        raise QuantaError(str(path), f"holds a {type(content).__name__}", "a JSON object", RERUN)
    return content


def check_disk(folder: Path, needed: int) -> None:
    """Refuse where the disk of `folder` has less room than `needed` bytes.

    Raises:
        QuantaError: with both numbers.
    """
    existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise QuantaError(
            str(folder),
            f"{free / 1e9:.1f} GB free on its disk",
            f"about {needed / 1e9:.1f} GB for this configuration",
            "free some space, link results/ to a larger disk, or lower corpus.documents, qdg.tokens or qdg.features",
        )
