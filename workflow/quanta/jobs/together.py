"""Parts of one job: several outputs that one process makes, each made only where it is missing or would be another.

A process of its own for each output would spend most of its time on imports. So jobs of seconds are put together, and
what a process of its own gave is kept by a key for each part: what the part is made of, and what was made. A job that
is repeated, for one output that was lost or one input that changed, makes what is due and leaves the rest.

Outputs of such rules are flagged `update`, so that Snakemake does not remove them beforehand.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from quanta.errors import QuantaError
from quanta.storage import checksums, files


def key(inputs: Iterable[str | Path], facts: Mapping[str, Any]) -> str:
    """SHA-256 of what a part is made of: names and contents of its inputs, and `facts`, plain data.

    The contents of inputs that this run made are taken from their checksums, which a job compares before it starts.
    """
    contents = {}
    for path in map(Path, inputs):
        recorded = checksums.path_of(path)
        made_here = recorded is not None and recorded.is_file()
        source = recorded if recorded and made_here else path
        contents[str(path)] = [files.file_hash(file) for file in checksums.files_of(source)]
    return hashlib.sha256(json.dumps([contents, dict(facts)], sort_keys=True).encode()).hexdigest()


def is_made(outputs: Iterable[str | Path], key: str) -> bool:
    """Whether all outputs of a part are there as they were made under this key; then they are as new.

    Their time is set to now: Snakemake compares times, and an input of the same content may be newer.
    """
    paths = [Path(output) for output in outputs]
    for path in paths:
        try:
            known = files.read_json(_note(path))
        except (FileNotFoundError, QuantaError):
            return False
        if not path.is_file() or known != {"key": key, "sha256": files.file_hash(path)}:
            return False
    for path in paths:
        os.utime(path)
    return True


def record(outputs: Iterable[str | Path], key: str) -> None:
    """Note under which key outputs were made."""
    for path in map(Path, outputs):
        files.write_json(_note(path), {"key": key, "sha256": files.file_hash(path)})


def _note(path: Path) -> Path:
    """Under `results/{run}/made/`; beside the output itself where no run has made it."""
    if checksums.path_of(path) is None:
        return path.with_name(f".{path.name}.json")
    return Path(*path.parts[:2], "made", *path.parts[2:-1], f"{path.name}.json")
