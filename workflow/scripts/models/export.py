"""Put a trained family into one folder to be handed on: `models.folder.path` takes it as it is.

Makes: `export/`: weights in half precision where that changes next to nothing, one folder a model and step; the
tokenizer; `family.csv` with the weights' hashes, held-out losses and what rounding changes of them; `manifest.csv`, by
which the corpus is known again; learning curves; a card, README.md.
"""

import json
import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quanta.corpus import encoding
from quanta.jobs.job import run
from quanta.losses import forward
from quanta.models import pretrained, weights
from quanta.progress import log
from quanta.storage import files

DOCUMENTS = 256  # that the effect of rounding is measured on
LARGEST_MEAN_CHANGE = 1e-3  # nats


def main(inputs: Any, outputs: Any, params: Any) -> None:
    target = Path(outputs.folder)
    family = files.read_table(inputs.family, ("model", "step", "non_embedding_parameters", "seed"))
    mean = files.read_table(inputs.mean_loss, ("model", "step", "mean_loss_nats"))
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    folders = {(Path(f).parent.name, int(Path(f).name.removeprefix("step"))): Path(f) for f in inputs.folders}
    sizes, recipe = json.loads(params.sizes), json.loads(params.recipe)
    sample = range(min(DOCUMENTS, tokens.n_documents))
    rows = []
    for model, step in zip(family["model"], family["step"].astype(int), strict=True):
        folder, new = folders[model, step], target / model / f"step{step}"
        new.mkdir(parents=True)
        pretrained.rounded(folder, new, torch.float16)
        before, after = (
            forward.token_losses(pretrained.load(f), tokens, sample, batch_tokens=4096, label=f"of {model} step {step}")
            for f in (folder, new)
        )
        change, dtype = float(np.nanmean(np.abs(after - before))), "float16"
        if change > LARGEST_MEAN_CHANGE:
            log.info("%s step %d stays in float32: half precision moves losses by %.1e nats", model, step, change)
            pretrained.rounded(folder, new, torch.float32)
            change, dtype = 0.0, "float32"
        rows.append((weights.weight_hash(new), step * recipe["batch"] * recipe["context"], change, dtype))
    family[["sha256", "tokens_seen", "rounding_nats", "dtype"]] = rows
    family["learning_rate"] = family["model"].map(lambda name: sizes[name]["learning_rate"])
    family = family.merge(mean[["model", "step", "mean_loss_nats"]], on=["model", "step"], validate="one_to_one")
    kept = ["model", "step", "seed", "non_embedding_parameters", "tokens_seen", "learning_rate", "mean_loss_nats",
            "dtype", "rounding_nats", "sha256"]  # fmt: skip
    files.write_table(target / "family.csv", family[kept])
    for curve in map(Path, inputs.curves):
        shutil.copyfile(curve, target / curve.parent.name / "curve.csv")
    (target / "tokenizer").mkdir()
    for file in Path(inputs.tokenizer).parent.glob("tokenizer*.json"):
        shutil.copyfile(file, target / "tokenizer" / file.name)
    shutil.copyfile(str(inputs.manifest), target / "manifest.csv")
    sources = files.read_json(inputs.sources)
    settled = {name for curve in inputs.curves for name in files.read_table(curve, ("precision",))["precision"]}
    card = _card(family, sizes, recipe, sources, params, " or ".join(sorted(settled)))
    (target / "README.md").write_text(card, encoding="utf-8")


def _card(family: Any, sizes: Any, recipe: Any, sources: Any, params: Any, precisions: str) -> str:
    steps = recipe["steps"]
    lines = []
    for row in family[family["step"] == steps].itertuples():
        size = sizes[row.model]
        shape = f"{size['width']} × {size['layers']}, {size['heads']} heads"
        lines.append(
            f"| {row.model} | {row.non_embedding_parameters:,} | {shape} | {row.seed} | {row.learning_rate:g} "
            f"| {row.mean_loss_nats:.3f} | {_minutes(params.times, row.model)} |"
        )
    followed = family.groupby("model")["step"].agg(list)
    histories = "; ".join(f"{name}: {', '.join(map(str, s))}" for name, s in followed[followed.map(len) > 1].items())
    return CARD.format(
        n=family["model"].nunique(),
        tokens=steps * recipe["batch"] * recipe["context"],
        table="\n".join(lines),
        rounding=family["rounding_nats"].max(),
        largest=LARGEST_MEAN_CHANGE,
        kept=(family["dtype"] == "float32").sum(),
        all=len(family),
        histories=histories or "none",
        origin=_origin(sources),
        texts=sources["texts"],
        hardware=_processor(),
        precisions=precisions,
        torch=torch.__version__,
        command=params.command,
        **recipe,
    )


def _origin(sources: Any) -> str:
    """Where the texts come from, in the words of `sources.json`."""
    if "distributions" in sources:
        listed = ", ".join(f"{name} {version}" for name, version in sources["distributions"].items())
        return f"Python sources of {listed}"
    if "repository" in sources:
        return f"{sources['repository']} at commit {sources['commit']}"
    return f"{sources['file']} (SHA-256 {sources['sha256'][:16]}…)"


def _minutes(folder: str, model: str) -> str:
    path = Path(folder) / f"{model}.tsv"
    return f"{float(path.read_text().splitlines()[1].split()[0]) / 60:.0f}" if path.is_file() else ""


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    names = [line for line in path.read_text().splitlines() if line.startswith("model name")] if path.is_file() else []
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


CARD = """\
# The embedded family

Which models are in this folder, and how were they trained?

{n} GPT-NeoX models, trained on {tokens:,} tokens each. They have a parallel residual, rotary embeddings on a quarter of each head, and untied
embeddings. This command makes them:

    {command}

| model | non-embedding parameters | width × layers | seed | peak learning rate | held-out loss (nats) | minutes |
|---|---|---|---|---|---|---|
{table}

Seeds set the weights and the order of the tokens. `family.csv` has one row per checkpoint, with its held-out loss and the SHA-256 of its weights.
The hash is checked when the weights are read. These steps are kept:

    {histories}

- Training: {steps} steps of {batch} windows of {context} tokens. AdamW (0.9, 0.95), weight decay {weight_decay} on matrices. {warmup_steps} steps of warm-up, then a cosine to a
  tenth of the peak. Gradients are clipped at norm 1. Products and activations in {precisions}, the rest in float32.
- Weights: float16. Rounding moves the loss of a token by at most {rounding:.1e} nats on average. A checkpoint stays float32 if rounding would move it by more
  than {largest:.0e} nats ({kept} of {all} checkpoints).
- Corpus: {origin}. {texts[training]} files are for training. {texts[heldout]} are held out with all their near copies.
  `manifest.csv` names each file with its hash. The byte-level BPE was trained on the training files.
- Hardware: {hardware}, where this folder was made, torch {torch}. Minutes are wall time.

Texts and tokenizer have the licences of the corpus. The models are for research on training.
"""


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
