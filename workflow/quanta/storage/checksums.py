"""Checksums: what a job wrote is what the next one reads.

A format can tell that a file is cut short; only a checksum tells that numbers within it are others. Each output of a
rule has one under `results/{run}/checksums/`, in the format of `sha256sum --check`, and is compared before it is read.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

from quanta.errors import QuantaError
from quanta.storage import writing
from quanta.storage.files import RERUN, file_hash
from quanta.storage.writing import sync

log = logging.getLogger("quanta")
RESULTS = "results"


def path_of(file: Path) -> Path | None:
    """Where the checksums of an output lie, a file or a folder; None for what no run has made."""
    parts = file.parts
    if len(parts) < 3 or parts[0] != RESULTS:
        return None
    return Path(*parts[:2], "checksums", *parts[2:-1], f"{parts[-1]}.sha256")


def files_of(path: Path) -> Iterator[Path]:
    """The file itself, or all that a folder holds but dot files: marks of Snakemake, of editors, of file managers."""
    if not path.is_dir():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            yield file


def record(outputs: Iterable[str]) -> None:
    """Write the checksums of a rule's outputs. Both are on the disk before this returns, the outputs first."""
    for output in map(Path, outputs):
        target = path_of(output)
        if target is not None and output.exists():
            lines = []
            for file in files_of(output):
                lines.append(f"{file_hash(file)}  {file}\n")
                sync(file)
            with writing.atomic(target, durable=True) as temporary:
                temporary.write_bytes("".join(lines).encode())


def check(inputs: Iterable[str]) -> None:
    """Compare a rule's inputs with the checksums that were written with them.

    Inputs of a run that have none are named in a warning, once.

    Raises:
        QuantaError: a file has another content, or is missing from its folder.
    """
    without = []
    for path in map(Path, inputs):
        recorded = path_of(path)
        if recorded is None or not path.exists():
            continue
        if not recorded.is_file():
            without.append(str(path))
            continue
        # by bytes and line feeds alone: a name may hold what `splitlines` takes for the end of a line
        lines = recorded.read_bytes().decode("utf-8", errors="replace").split("\n")
        known = {name: value for value, _, name in (line.partition("  ") for line in lines) if value or name}
        # a dot file in a list is one that an earlier version noted
        known = {name: value for name, value in known.items() if not Path(name).name.startswith(".")}
        found = {str(file) for file in files_of(path)}
        for name in sorted(found | set(known)):
            if name not in known:
                raise _other(path, f"{name} is none of its files", recorded)
            if name not in found:
                raise _other(path, f"{name} is missing", recorded)
            if file_hash(name) != known[name]:
                raise _other(path, f"{name} has another content", recorded)
    if without:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        log.warning("no checksums of %s%s: damage of these files is not noticed", ", ".join(without[:3]), more)


def _other(path: Path, found: str, recorded: Path) -> QuantaError:
    mend = RERUN.replace("the file", f"the folder {path}") if path.is_dir() else RERUN
    return QuantaError(str(path), found, f"what this run wrote ({recorded})", mend)
