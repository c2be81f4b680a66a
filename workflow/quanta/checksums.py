"""Checksums: what a job wrote is what the next one reads.

A format can tell that a file is cut short; only a checksum tells that numbers within it are others. Each output of a
rule has one under `results/{run}/checksums/`, in the format of `sha256sum --check`, and is compared before it is read.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from quanta.errors import QuantaError
from quanta.storage import RERUN, atomic, file_hash

RESULTS = "results"


def path_of(file: Path) -> Path | None:
    """Where the checksums of an output lie, a file or a folder; None for what no run has made."""
    parts = file.parts
    if len(parts) < 3 or parts[0] != RESULTS:
        return None
    return Path(*parts[:2], "checksums", *parts[2:-1], f"{parts[-1]}.sha256")


def _files(path: Path) -> Iterator[Path]:
    """The file itself, or all that a folder holds but Snakemake's own mark."""
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != ".snakemake_timestamp":
            yield file


def record(outputs: Iterable[str]) -> None:
    """Write the checksums of a rule's outputs."""
    for output in map(Path, outputs):
        target = path_of(output)
        if target is not None and output.exists():
            lines = [f"{file_hash(file)}  {file}\n" for file in _files(output)]
            with atomic(target) as temporary:
                temporary.write_text("".join(lines), encoding="utf-8")


def check(inputs: Iterable[str]) -> None:
    """Compare a rule's inputs with the checksums that were written with them; inputs without any are not looked at.

    Raises:
        QuantaError: a file has another content, or is missing from its folder.
    """
    for path in map(Path, inputs):
        recorded = path_of(path)
        if recorded is None or not recorded.is_file() or not path.exists():
            continue
        lines = recorded.read_text(encoding="utf-8").splitlines()
        known = {name: value for value, _, name in (line.partition("  ") for line in lines)}
        found = {str(file) for file in _files(path)}
        for name in sorted(found | set(known)):
            if name not in known:
                raise _other(path, f"{name} is none of its files", recorded)
            if name not in found:
                raise _other(path, f"{name} is missing", recorded)
            if file_hash(name) != known[name]:
                raise _other(path, f"{name} has another content", recorded)


def _other(path: Path, found: str, recorded: Path) -> QuantaError:
    mend = RERUN.replace("the file", f"the folder {path}") if path.is_dir() else RERUN
    return QuantaError(str(path), found, f"what this run wrote ({recorded})", mend)
