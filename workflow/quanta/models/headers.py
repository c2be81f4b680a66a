"""What files of weights say of themselves in their headers: parameters, types, shapes, tokens; the weights are not read.

safetensors and GGUF, with no library, so that Snakemake can ask while it parses.
"""

import hashlib
import json
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from quanta.errors import QuantaError

# modules that hold embeddings of tokens or positions, or the unembedding, as model files and GGUF name them
INPUT = {"embed_tokens", "wte", "embed_in", "word_embeddings", "tok_embeddings", "token_embd"}
EMBEDDINGS = INPUT | {
    "lm_head", "embed_out", "output", "wpe", "position_embeddings", "embed_positions", "position_embd",
}  # fmt: skip
# types of GGUF by their number; those that the package gguf dequantises (tests compare both with it)
GGUF_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
DECODED = set(GGUF_TYPES.values()) - {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64", "Q1_0"}
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Tensor:
    """Type as the file names it, and shape with rows first."""

    kind: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of its elements."""
        return prod(self.shape)


@dataclass(frozen=True)
class Packed:
    """The header of a GGUF file: its fields, of arrays their length and a hash of their bytes, and its tensors."""

    fields: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Model:
    """A checkpoint by its headers. `parameters` are those without embeddings, `rows` those of the embedding (0: unknown)."""

    parameters: int
    all_parameters: int
    width: int
    layers: int
    rows: int


# -------------------------------------------------------------------------------------------------- files


def safetensors(path: Path) -> tuple[dict[str, Any], int]:
    """The entries of a safetensors file by the tensors' names, and where its data begin.

    Raises:
        ValueError, KeyError, OSError: the file is damaged.
    """
    whole = path.stat().st_size
    with path.open("rb") as file:
        begin = file.read(8)
        if begin == b"version ":
            raise ValueError("a pointer of Git LFS in place of the weights: git lfs pull")
        size = int.from_bytes(begin, "little")
        if size > whole:
            raise ValueError("its header is longer than the file")
        header: dict[str, Any] = json.loads(file.read(size))
    header.pop("__metadata__", None)
    end = 8 + size + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if end > whole:
        raise ValueError(f"cut off: {whole} bytes of {end}")
    return header, 8 + size


def gguf(path: Path) -> Packed:
    """The header of a GGUF file.

    Raises:
        QuantaError: the file is no GGUF, or ends early.
    """
    state = path.stat()
    return _gguf(path, state.st_size, state.st_mtime_ns)


@cache
def _gguf(path: Path, size: int, time: int) -> Packed:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Cursor(content).header()
    except (ValueError, struct.error, UnicodeDecodeError, KeyError) as error:
        raise QuantaError(str(path), f"cannot be read ({error})", "a GGUF file", "fetch it again") from error


class _Cursor:
    """A place in a GGUF file that moves on as values are read."""

    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._at = content, 0

    def header(self) -> Packed:
        if self._content[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        self._at = 4
        version = self._number("<I")
        if version not in (2, 3):
            raise ValueError(f"version {version}, while 2 and 3 are known")
        tensors, fields = self._number("<Q"), self._number("<Q")
        found = {self._text(): self._value(self._number("<I")) for _ in range(fields)}
        return Packed(found, dict(self._tensor() for _ in range(tensors)))

    def _number(self, kind: str) -> Any:
        (value,) = struct.unpack_from(kind, self._content, self._at)
        self._at += struct.calcsize(kind)
        return value

    def _text(self) -> str:
        size = self._number("<Q")
        begin, self._at = self._at, self._at + size
        if self._at > len(self._content):
            raise ValueError("it ends within its header")
        return self._content[begin : self._at].decode("utf-8", errors="replace")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind != _ARRAY:
            return self._number(_SCALARS[kind])
        inner, length = self._number("<I"), self._number("<Q")
        begin = self._at
        if inner == _STRING:
            unpack, content, at = struct.Struct("<Q").unpack_from, self._content, self._at
            for _ in range(length):
                at += 8 + unpack(content, at)[0]
            self._at = at
        else:
            self._at += length * struct.calcsize(_SCALARS[inner])
        if self._at > len(self._content):
            raise ValueError("it ends within its header")
        return length, hashlib.sha256(self._content[begin : self._at]).hexdigest()

    def _tensor(self) -> tuple[str, Tensor]:
        name, dimensions = self._text(), self._number("<I")
        shape = tuple(self._number("<Q") for _ in range(dimensions))[::-1]
        kind = self._number("<I")
        self._number("<Q")  # where its data begin
        return name, Tensor(GGUF_TYPES.get(kind, f"number {kind}"), shape)


# ------------------------------------------------------------------------------------------- a checkpoint


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """Tensors of a folder's safetensors files, or of its one GGUF file.

    Raises:
        QuantaError: a file is damaged.
    """
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        return dict(gguf(sorted(folder.glob("*.gguf"))[0]).tensors)
    found: dict[str, Tensor] = {}
    for path in paths:
        try:
            entries, _ = safetensors(path)
            found |= {name: Tensor(e["dtype"], tuple(map(int, e["shape"]))) for name, e in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise QuantaError(str(path), f"damaged ({error})", "safetensors", "fetch the file again") from error
    return found


def settings_of(folder: Path) -> dict[str, Any]:
    """A folder's `config.json`; empty where there is none that can be read."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def model_of(folder: Path) -> Model | None:
    """What the headers of a checkpoint's weights say of it; None where there is none, or one cannot be read."""
    paths = [p for pattern in ("*.safetensors", "*.gguf", "config.json") for p in sorted(folder.glob(pattern))]
    states = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths)
    return _model_of(folder, states) if any(not name.endswith(".json") for name, *_ in states) else None


@cache
def _model_of(folder: Path, states: tuple[tuple[str, int, int], ...]) -> Model | None:
    try:
        tensors = tensors_of(folder)
    except QuantaError:
        return None
    settings = settings_of(folder)
    vocabulary = settings.get("vocab_size", settings.get("text_config", {}).get("vocab_size"))
    weights = {name: t for name, t in tensors.items() if not t.kind.startswith(("I", "U", "BOOL")) or t.kind in DECODED}
    blocks = {name: int(number[1]) for name in weights if (number := re.search(r"\.(\d+)\.", name))}
    outside = {name: t for name, t in weights.items() if name not in blocks}
    embedded = {
        n: t for n, t in outside.items() if _module(n) in EMBEDDINGS or (len(t.shape) == 2 and t.shape[0] == vocabulary)
    }
    matrices = {n: t for n, t in embedded.items() if len(t.shape) == 2}
    first = next((t for n, t in matrices.items() if _module(n) in INPUT), next(iter(matrices.values()), None))
    every = sum(t.size for t in weights.values())
    return Model(
        parameters=every - sum(t.size for t in embedded.values()),
        all_parameters=every,
        width=first.shape[1] if first else 1,
        layers=max(blocks.values(), default=0) + 1,
        rows=first.shape[0] if first else int(vocabulary or 0),
    )


def _module(name: str) -> str:
    """The module that holds a tensor: `wte` of `transformer.wte.weight`."""
    return name.rpartition(".")[0].rpartition(".")[2]
