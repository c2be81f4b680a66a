"""Models: a family of causal language models in Hugging Face format, read from safetensors alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from quanta.errors import QuantaError
from quanta.models import gguf
from quanta.models.family import FAMILY_COLUMNS, FURTHER_COLUMNS
from quanta.models.weights import EXPECTED, check_folder, weight_hash
from quanta.storage import files, writing


def fresh_weights(model: PreTrainedModel, *, seed: int) -> PreTrainedModel:
    """A model of the same configuration with the weights that its architecture starts from; global state is left alone."""
    device = next(model.parameters()).device
    build: Any = type(model)._from_config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh: PreTrainedModel = build(model.config)
    fresh.eval().requires_grad_(False)  # type: ignore[no-untyped-call]
    fresh.to(device)  # type: ignore[arg-type]
    return fresh


def load(folder: str | Path, device: str = "cpu") -> PreTrainedModel:
    """Load a causal language model of any architecture, in float32, ready for inference.

    Attention is computed as its class prefers: fused where the class supports that, which Gemma 2 for one does not.

    Raises:
        QuantaError: the folder holds no safetensors weights, or they do not fit the configuration.
    """
    folder = Path(folder)
    check_folder(folder)
    try:
        # typed as one value by transformers, though it is two with output_loading_info
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder.resolve()),
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise QuantaError(str(folder), f"cannot be loaded ({error})", EXPECTED, files.RERUN) from error
    model, report = loaded
    absent = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    if absent:  # transformers would fill them with random numbers and go on
        raise QuantaError(
            str(folder), f"no weights for {', '.join(absent[:3])} ({len(absent)} tensors)", EXPECTED, files.RERUN
        )
    model.eval().requires_grad_(False)
    return cast(PreTrainedModel, model.to(device))


def shape_of(folder: str | Path) -> PreTrainedModel:
    """The model of a folder without its weights, on the meta device: for counting, however large it is.

    Raises:
        QuantaError: the folder holds no model in Hugging Face format.
    """
    check_folder(Path(folder))
    config = AutoConfig.from_pretrained(str(Path(folder).resolve()), local_files_only=True, trust_remote_code=False)
    build: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        return cast(PreTrainedModel, build(config, trust_remote_code=False))


def unembedding(model: PreTrainedModel) -> nn.Module | None:
    """The layer that turns the last hidden states into logits, or None where the model names none."""
    layer = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return layer if isinstance(layer, nn.Module) else None


def non_embedding_parameters(model: PreTrainedModel) -> int:
    """Parameters without embeddings (of tokens and positions) and unembedding: the paper's N."""
    left_out = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters(recurse=False)}
    unembed = unembedding(model)
    left_out |= set() if unembed is None else {id(p) for p in unembed.parameters()}
    return sum(p.numel() for p in model.parameters() if id(p) not in left_out)


def check_parameters(folder: str | Path, expected: int | None) -> None:
    """Assert a model's non-embedding parameters, counted from its configuration; None expects nothing.

    Raises:
        QuantaError: the model has another number: it is another size than the table of the family says.
    """
    if expected is None:
        return
    found = non_embedding_parameters(shape_of(folder))
    if found != expected:
        raise QuantaError(
            str(folder),
            f"{found:,} non-embedding parameters",
            f"{expected:,}, as the family's table says",
            "look at the member's repository and parameters in models.hub.members",
        )


def rounded(folder: str | Path, target: str | Path, dtype: torch.dtype) -> None:
    """Write a checkpoint again with its weights in another floating type: config.json and model.safetensors.

    Raises:
        QuantaError: a weight is not finite in that type.
    """
    folder, target = Path(folder), Path(target)
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            tensors[name] = tensor.to(dtype).contiguous()
            if not tensors[name].isfinite().all():
                raise QuantaError(str(path), f"{name} holds values past the range of {dtype}", "finite weights",
                                  "round to bfloat16, whose range is wider")  # fmt: skip
    config = files.read_json(folder / "config.json")
    files.write_json(target / "config.json", config | {"dtype": str(dtype).removeprefix("torch.")})
    with writing.atomic(target / "model.safetensors") as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})


def family_table(members: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a model and step from (model, step, revision, folder; seed, optimiser_step, commit), by size, then step.

    Raises:
        QuantaError: two members hold equal weights, which is a wrong download or export.
    """
    rows = [
        {
            "model": member["model"],
            "step": int(member["step"]),
            "non_embedding_parameters": non_embedding_parameters(shape_of(member["folder"])),
            "revision": member["revision"],
            "sha256": weight_hash(member["folder"]),
            "seed": int(member.get("seed", 0)),
            "optimiser_step": member.get("optimiser_step", int(member["step"])),
            "commit": member.get("commit", ""),
        }
        for member in members
    ]
    table = pd.DataFrame(rows, columns=[*FAMILY_COLUMNS, *FURTHER_COLUMNS])
    packed = [Path(member["folder"]) / gguf.RECORD for member in members]
    if any(path.is_file() for path in packed):
        stored = [files.read_json(path)["tensors"] if path.is_file() else {} for path in packed]
        table["quantisation"] = [", ".join(f"{n} {kind}" for kind, n in one.items()) for one in stored]
    twins = table[table.duplicated("sha256", keep=False)]
    if len(twins):
        names = [f"{row.model} step {row.step}" for row in twins.itertuples()]
        raise QuantaError(
            "models",
            f"equal weights under {', '.join(names)}",
            "different weights in each",
            "fetch or export them again",
        )
    return table.sort_values(["non_embedding_parameters", "model", "step"], kind="stable").reset_index(drop=True)
