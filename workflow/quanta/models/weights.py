"""Weights as files: safetensors in folders of Hugging Face format; found, checked and hashed without loading a model.

Apart from `pretrained`, which loads them, so that the stages that only copy or compare them do not import torch.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quanta.errors import QuantaError
from quanta.models import gguf, headers
from quanta.storage import files

FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*.json",
    "chat_template.jinja",
    "*.gguf",
)
PACKED = {"weight", "qweight", "weight_packed", "W_q"}  # names that quantised weights have in a file
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
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise QuantaError(str(folder), "an adapter (adapter_config.json) without the model that it changes", EXPECTED,
                          "merge both with peft: merge_and_unload(), then save_pretrained")  # fmt: skip
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    missing += [] if list(folder.glob("*.safetensors")) else ["*.safetensors"]
    if missing:
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        there = f", but {pickled[0]}" if pickled else ""
        raise QuantaError(
            str(folder), f"no model in Hugging Face format: no {' and no '.join(missing)}{there}", EXPECTED, MEND
        )


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


def check_given(folder: Path, tokenizer: Path | None = None) -> None:
    """Refuse a checkpoint that no job could use, from its small files and the headers of its weights.

    `tokenizer` is the folder of the tokenizer that is shared by all models, if there is one.

    Raises:
        QuantaError: no model or part of one, a GGUF file that cannot be read, quantised weights in safetensors, or a
            tokenizer that gives ids past the embedding.
    """
    packed = gguf_file(folder)
    if packed is not None:
        gguf.check_packages()
        gguf.check_header(packed)
    else:
        check_folder(folder)
        if not headers.settings_of(folder):
            raise QuantaError(str(folder / "config.json"), "no JSON object with settings", "the configuration of a model",
                              "fetch the file again")  # fmt: skip
        check_settings(headers.settings_of(folder), str(folder / "config.json"))
        _check_types(folder)
        _check_index(folder)
    _check_ids(folder, tokenizer or folder)


def check_settings(settings: dict[str, Any], where: str) -> None:
    """Refuse a configuration of quantised weights.

    Raises:
        QuantaError: it says that weights are quantised; how is named.
    """
    found = settings.get("quantization_config") or settings.get("compression_config")
    if not found:
        return
    found = found if isinstance(found, dict) else {}
    bits = found.get("bits") or next((n for n in (8, 4) if found.get(f"load_in_{n}bit")), None)
    method = found.get("quant_method", "an unknown method")
    raise QuantaError(
        where,
        f"quantised weights ({method}{f', {bits} bits' if bits else ''})",
        "weights that are floating point numbers of 16 bits or more",
        "take the weights that these were made of, or a GGUF file; else load them, dequantize() and save_pretrained",
    )


def check_type(settings: dict[str, Any], where: str) -> None:
    """Refuse a model type that the installed transformers does not know.

    Raises:
        QuantaError: it is named, with the version.
    """
    kind = settings.get("model_type")
    found = importlib.util.find_spec("transformers")
    packaged = Path(found.origin).parent / "models" if found and found.origin else Path()
    if not isinstance(kind, str) or (packaged / kind.replace("-", "_")).is_dir():
        return  # without the seconds that the library takes
    import transformers

    if kind in transformers.CONFIG_MAPPING:
        return
    raise QuantaError(
        where,
        f"the model type {kind!r}, which transformers {transformers.__version__} does not know",
        "a model type of transformers: code that comes with a model is never run",
        "install a newer transformers if it has the type, or take another model",
    )


def _check_types(folder: Path) -> None:
    """By the names of weights: old versions of transformers saved masks, which are bytes."""
    for name, tensor in headers.tensors_of(folder).items():
        packed = tensor.kind.startswith(("I", "U")) and name.rpartition(".")[2] in PACKED and len(tensor.shape) > 1
        if packed or tensor.kind.startswith("F8"):
            raise QuantaError(
                str(folder),
                f"weights of the type {tensor.kind} ({name})",
                "weights that are floating point numbers of 16 bits or more",
                "take the weights that these were made of",
            )


def _check_index(folder: Path) -> None:
    for path in folder.glob("*.safetensors.index.json"):
        named = set(files.read_json(path).get("weight_map", {}).values())
        missing = sorted(name for name in named if not (folder / name).is_file())
        if missing:
            raise QuantaError(str(folder), f"no {missing[0]} ({len(missing)} of {len(named)} files are missing)",
                              f"the files that {path.name} names", "fetch the rest of the weights")  # fmt: skip


def _check_ids(folder: Path, tokenizer: Path) -> None:
    model = headers.model_of(folder)
    if model is not None:
        _check_rows(model.rows, tokenizer / "tokenizer.json", f"the model {folder}")


def check_ids_of(settings: dict[str, Any], tokenizer: Path, where: str) -> None:
    """Refuse a tokenizer with ids past the embedding that a configuration names.

    Raises:
        QuantaError: it has; token, id and rows are named.
    """
    rows = settings.get("vocab_size") or (settings.get("text_config") or {}).get("vocab_size")
    if isinstance(rows, int):
        _check_rows(rows, tokenizer, where)


def _check_rows(rows: int, tokenizer: Path, of: str) -> None:
    found = _largest_id(tokenizer)
    if found is not None and 0 < rows <= found[1]:
        raise QuantaError(
            f"{tokenizer}, for {of}",
            f"the token {found[0]!r} with the id {found[1]}, while the embedding has {rows} rows",
            "a tokenizer whose ids are rows of the embedding",
            "give the tokenizer that belongs to these weights",
        )


_LARGEST: dict[str, tuple[str, int] | None] = {}  # by the file's hash: steps of a model have copies of one


def _largest_id(path: Path) -> tuple[str, int] | None:
    """The token with the largest id that a text can have, and that id; None where the file cannot be read.

    Special tokens are left out: some may pass the embedding, as in models to which a padding token was added.
    """
    if not path.is_file():
        return None
    content = path.read_bytes()
    key = hashlib.sha256(content).hexdigest()
    if key not in _LARGEST:
        try:
            whole = json.loads(content)
            pieces, added = whole["model"]["vocab"], whole["added_tokens"]
            named = list(pieces.items()) if isinstance(pieces, dict) else [(p[0], i) for i, p in enumerate(pieces)]
            special = {token["content"] for token in added if token["special"]}
            named += [(token["content"], token["id"]) for token in added]
            _LARGEST[key] = max((pair for pair in named if pair[0] not in special), key=lambda pair: pair[1])
        except (ValueError, KeyError, TypeError, IndexError):
            _LARGEST[key] = None  # whoever loads it says what is wrong with it
    return _LARGEST[key]


CHAT = re.compile(r"(?i)(?<![a-z])(instruct|chat|it|sft|dpo|rlhf)(?![a-z])")  # within a model's name


def chat_sign(folder: Path, *names: str) -> str | None:
    """Why a checkpoint looks like a chat model: a template of turns, or one of its names; None where nothing does."""
    packed = gguf_file(folder)
    fields = dict(headers.gguf(packed).fields) if packed else {}
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        settings = {}
    template = "tokenizer.chat_template" in fields or bool(settings.get("chat_template"))
    if template or (folder / "chat_template.jinja").is_file():
        return "its tokenizer has a chat template"
    named = [*names, str(fields.get("general.name", "")), str(headers.settings_of(folder).get("_name_or_path", ""))]
    return next((f"it is named {name}" for name in named if CHAT.search(name)), None)


def of_chat(model: str, sign: str) -> str:
    """What a reader is told of a model that looks like a chat model."""
    return (
        f"{model} looks like a chat model: {sign}. It reads the texts as they are, without that template and its turns, "
        "so its losses may be higher than those of the model that it was made of."
    )


def _tensors(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Name, type with shape, and bytes of each tensor of a safetensors file.

    Raises:
        ValueError, KeyError, OSError: the file is damaged.
    """
    header, start = headers.safetensors(path)
    with path.open("rb") as file:
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            file.seek(start + begin)
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
            f"{expected[:16]}…, as family.csv next to the models says",
            "fetch the weights again (git checkout, git lfs pull), or fix the table if they are meant to differ",
        )
