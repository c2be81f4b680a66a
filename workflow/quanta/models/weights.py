"""Weights as files: safetensors in folders of Hugging Face format; found, checked and hashed without loading a model.

Apart from `pretrained`, which loads them, so that the stages that only copy or compare them do not import torch.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quanta.errors import QuantaError
from quanta.storage import files

FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "*.gguf",
)
EXPECTED = "config.json and model.safetensors (or its shards with their index)"
MEND = "give a folder in Hugging Face format; convert pickled weights with save_pretrained"
# names of the types in the hash are torch's
TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64",
    "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds no model in Hugging Face format.

    Raises:
        QuantaError: a configuration or safetensors weights are missing.
    """
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise QuantaError(str(folder), "no model in Hugging Face format", EXPECTED, MEND)


def gguf_file(folder: Path) -> Path | None:
    """The GGUF file of a folder that holds its model as one; None where it holds safetensors, or nothing.

    Raises:
        QuantaError: there are several.
    """
    found = sorted(folder.glob("*.gguf"))
    if (folder / "config.json").is_file() or not found:
        return None
    if len(found) > 1:
        raise QuantaError(
            str(folder),
            f"{len(found)} GGUF files: {', '.join(path.name for path in found[:4])}",
            "one",
            "give each its own folder, or join the parts of a split file",
        )
    return found[0]


def _tensors(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, type with shape, and bytes of each tensor of a safetensors file.

    Raises:
        ValueError, KeyError, OSError: the file is damaged.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        header: dict[str, Any] = json.loads(file.read(size))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            content = file.read(end - begin)
            if len(content) != end - begin:
                raise ValueError(f"it ends within {name}")
            yield name, f"torch.{TYPES[entry['dtype']]} {tuple(entry['shape'])}", content


def weight_hash(folder: str | Path) -> str:
    """SHA-256 of all tensors: names, types, shapes and bytes, in the order of their names, however they are sharded.

    Raises:
        QuantaError: a file of weights is damaged.
    """
    digests: dict[str, bytes] = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        try:
            for name, kind, content in _tensors(path):
                digests[name] = hashlib.sha256(f"{name} {kind}".encode() + content).digest()
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise QuantaError(str(path), f"damaged ({error})", "safetensors", files.RERUN) from error
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()


def steps_of(folder: Path) -> list[int]:
    """Steps of a model's folders `step{n}`, rising; none where it holds a single checkpoint itself."""
    return sorted(int(path.name[4:]) for path in folder.glob("step*") if path.name[4:].isdigit())


def checkpoint_folder(folder: Path, step: int, *, only_step: int) -> Path:
    """Where a model's checkpoint lies: in `step{step}`, or in the folder itself if it has no step folders.

    Raises:
        QuantaError: there is no such step.
    """
    steps = steps_of(folder)
    if step in steps:
        return folder / f"step{step}"
    if not steps and step == only_step:
        return folder
    raise QuantaError(
        str(folder),
        f"no checkpoint of step {step}",
        f"one of the steps {steps}" if steps else f"step folders, or a single checkpoint (step {only_step})",
        "change models.folder.final_step or dynamics.steps, or add the folder",
    )


def files_given(folder: Path, step: int, *, only_step: int) -> list[tuple[str, int, int]]:
    """Name, bytes and time of change (ns) of the files that are taken of a given checkpoint and of the shared tokenizer.

    Enough to notice a change without reading the weights; nothing where there is no such checkpoint (`adopt` says so).
    """
    try:
        source = checkpoint_folder(folder, step, only_step=only_step)
    except QuantaError:
        return []
    shared = folder.parent / "tokenizer"
    found = [path for pattern in FILES for path in source.glob(pattern)] + list(shared.glob("tokenizer*.json"))
    states = [(str(path.relative_to(folder.parent)), path.stat()) for path in sorted(set(found))]
    return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def check_hash(folder: str | Path, expected: str | None) -> None:
    """Assert the hash of a folder's weights; None expects nothing.

    Raises:
        QuantaError: the weights are others than the family's table says.
    """
    if expected is not None and (found := weight_hash(folder)) != expected:
        raise QuantaError(
            str(folder),
            f"weights with SHA-256 {found[:16]}…",
            f"{expected[:16]}…, as family.csv beside the models says",
            "fetch the weights again (git checkout, git lfs pull), or fix the table if they are meant to differ",
        )
