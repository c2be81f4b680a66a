"""Models as GGUF files: their quantised weights become float32 safetensors, once, and how they were quantised is recorded.

transformers reads GGUF with the packages `gguf` and `accelerate`, which are an extra: `pip install "quanta[gguf]"`.
"""

from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from quanta.errors import QuantaError
from quanta.models import headers
from quanta.progress import log
from quanta.storage import files

RECORD = "gguf.json"
PACKAGES = ("gguf", "accelerate")


def check_packages() -> None:
    """Refuse to read GGUF without the packages that do.

    Raises:
        QuantaError: with those that are missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise QuantaError(
            "models, a GGUF file",
            f"no package {' and '.join(missing)}",
            "the packages that transformers reads GGUF with",
            f"pip install {' '.join(missing)}, or convert the model to safetensors with save_pretrained",
        )


def quantisation(path: Path) -> dict[str, int]:
    """Tensors of a file by the type that they are stored in ("Q4_1": 210, "F32": 61).

    Raises:
        QuantaError: the file is no GGUF, or has a type that nobody here can dequantise.
    """
    check_packages()
    from gguf import GGUFReader
    from gguf.quants import dequantize

    try:
        tensors = GGUFReader(path).tensors
        for tensor in {t.tensor_type: t for t in tensors}.values():
            try:
                dequantize(tensor.data.reshape(-1, tensor.data.shape[-1])[:1], tensor.tensor_type)
            except NotImplementedError as error:
                raise QuantaError(
                    str(path),
                    f"weights of the type {tensor.tensor_type.name} ({tensor.name})",
                    "a type that the package gguf dequantises",
                    "take the same model in another quantisation, Q8_0 say, or as safetensors",
                ) from error
    except (ValueError, KeyError, OSError, IndexError) as error:
        raise QuantaError(str(path), f"cannot be read ({error})", "a GGUF file", "fetch it again") from error
    return dict(sorted(Counter(t.tensor_type.name for t in tensors).items()))


def check_header(path: Path) -> None:
    """Refuse a file that cannot be dequantised, from its header; only a type that is not known here asks the package gguf.

    Raises:
        QuantaError: the file is no GGUF, part of one, or has a type that nobody here can dequantise.
    """
    header = headers.gguf(path)
    parts = int(header.fields.get("split.count", 1))
    if parts > 1:
        raise QuantaError(
            str(path),
            f"one of {parts} parts of a model",
            "a model in one GGUF file",
            "join the parts with llama-gguf-split --merge",
        )
    if any(tensor.kind not in headers.DECODED for tensor in header.tensors.values()):
        quantisation(path)


def dequantise(path: Path, target: Path) -> None:
    """Write the model and tokenizer of a GGUF file into a folder in Hugging Face format, float32, with `gguf.json` beside.

    `gguf.json` has the file's name and SHA-256 and the types of its tensors.

    Raises:
        QuantaError: packages are missing, or the file cannot be read or dequantised.
    """
    stored = quantisation(path)
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    log.info("%s holds tensors as %s", path.name, ", ".join(f"{n} {kind}" for kind, n in stored.items()))
    given: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    try:
        model = AutoModelForCausalLM.from_pretrained(str(path.parent.resolve()), dtype=torch.float32, **given)
        tokenizer = AutoTokenizer.from_pretrained(str(path.parent.resolve()), **given)
    except (ValueError, KeyError, OSError, RuntimeError, NotImplementedError) as error:
        raise QuantaError(
            str(path),
            f"transformers cannot read it ({error})",
            "a model of an architecture that transformers reads from GGUF",
            "convert it to safetensors with the tool of its authors",
        ) from error
    # a model that came from GGUF refuses to be saved: its weights go into one that did not
    config = type(model.config).from_dict(
        {name: value for name, value in model.config.to_dict().items() if name != "quantization_config"}
    )
    with torch.device("meta"):
        build: Any = AutoModelForCausalLM.from_config
        plain = build(config, trust_remote_code=False)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    target.mkdir(parents=True, exist_ok=True)
    plain.save_pretrained(target)
    tokenizer.save_pretrained(target)
    files.write_json(target / RECORD, {"file": path.name, "sha256": files.file_hash(path), "tensors": stored})
