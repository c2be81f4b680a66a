"""States of trainings that run: written whole with a checksum, thrown away where they are damaged.

`torch.load` notices a file that is cut short and no bit that is another one.
"""

import hashlib
import io
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from quanta.storage import files as storage_files
from quanta.storage import writing

log = logging.getLogger("quanta")
DIGEST = hashlib.sha256().digest_size


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; the checksum comes first. A power cut leaves this state or the one before."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    with writing.atomic(path, durable=True) as temporary, temporary.open("wb") as stream:
        stream.write(hashlib.sha256(buffer.getbuffer()).digest())
        stream.write(buffer.getbuffer())


def read(path: Path, device: torch.device) -> dict[str, Any] | None:
    """What was written; None, with a warning, where the file is damaged: it is removed, and the training starts anew."""
    raw = path.read_bytes()
    content = memoryview(raw)[DIGEST:]
    if hashlib.sha256(content).digest() != raw[:DIGEST]:
        log.warning("%s is damaged and was removed: the training starts from its beginning", path)
        path.unlink()
        return None
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    return state


def key(*parts: object) -> str:
    """A hash of all that a training depends on, PyTorch's version among it: what is kept under another one is of no use."""
    return hashlib.sha256(json.dumps([*parts, torch.__version__], sort_keys=True).encode()).hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all files under a folder, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)): storage_files.file_hash(path) for path in files}
