"""Costs: what the whole experiment takes, in FLOP, hours, memory and disk, from shapes and a speed that was measured.

    PYTHONPATH=workflow python -m quanta.config.costs --configfile config/pythia.yaml --tflops 0.06

FLOP and bytes follow from the shapes. Hours need a speed: `--tflops` is what `tests/benchmarks/losses.py` printed as
useful speed on the machine that will be used.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from quanta.arrays import Array
from quanta.config import members as settings
from quanta.config import schema
from quanta.errors import QuantaError
from quanta.models.neox_shape import SHAPES, Shape

LIBRARIES = 1_100_000_000  # bytes of a process beyond what shapes say: 0.5 to 1.1 GB from 70m to 1b (docs/costs.md)
OWN_GRADIENTS = (
    "standardised",
    "attention",
    "magnitudes",
)  # kinds of the second clustering that take gradients of their own
STATISTICS, NULL_STATISTICS = (
    1024,
    256,
)  # tokens, at most (quanta.affinity.magnitude_features, scripts/validation/untrained.py)
EVALUATIONS = 2  # of a removal's step; its mean is 1.5 to 2.0 in the default run
SMALL_PANEL = 10  # documents
REFERENCE = 256  # tokens that say how much each weight is used at large
BY_PARAMETERS = {shape.non_embedding: name for name, shape in SHAPES.items()}


@dataclass(frozen=True)
class Counted(Shape):
    """A given model of any architecture: its parameters without embeddings come from the headers of its weights."""

    counted: int = 0

    @property
    def non_embedding(self) -> int:
        """As counted."""
        return self.counted

    @property
    def products(self) -> int:
        """Nearly all of them."""
        return self.counted


def shape_of(config: Mapping[str, Any], model: str) -> Shape:
    """The shape of a model of the hub's family, by its parameters, or of a given one, by the headers of its weights.

    Raises:
        QuantaError: a member's parameters are not those of a shape that is known here, or a given model has no weights.
    """
    if config["models"]["source"] == "folder":
        given = settings.given_model(dict(config), model)
        if given is None:
            raise QuantaError(f"models.folder, {model}", "no weights whose headers can be read",
                              "safetensors or a GGUF file", "look at the folder")  # fmt: skip
        return Counted(given.width, given.layers, 1, given.rows, given.parameters)
    found = next((m.get("parameters") for m in config["models"]["hub"]["members"] if m["name"] == model), None)
    name = BY_PARAMETERS.get(int(found)) if found else None
    if name is None:
        raise QuantaError(
            f"models.hub.members, {model}",
            f"parameters {found}",
            f"one of {sorted(BY_PARAMETERS)}",
            "costs are known for Pythia's shapes, and for models in a folder",
        )
    return SHAPES[name]


def forward_flops(shape: Shape, lengths: Sequence[int] | Array) -> float:
    """Useful FLOP of the losses of documents of these lengths: products of weights, unembedding, causal attention.

    Two FLOP a multiply-add. Padding and softmax are not counted.
    """
    n = np.asarray(lengths, dtype=np.float64)
    weights = shape.products + shape.vocabulary * shape.width
    return float(2 * weights * n.sum() + 2 * shape.layers * shape.width * (n * n).sum())


def gradient_flops(shape: Shape, length: float, samples: int) -> float:
    """FLOP of the gradients of single tokens at contexts of `length`: forward, backward to activations and weights."""
    block = 2 * shape.products * length + 2 * shape.layers * shape.width * length**2
    return 3 * samples * block


def second_flops(config: Mapping[str, Any], shape: Shape, length: float) -> float:
    """FLOP of the second clustering's gradients (`qdg.second`): statistics, features, and the same of an untrained model.

    0 without one. `absolute` and `whitened` take the first's gradients. Of `attention` the products of other layers' weights are left out,
    a third. Eigenvectors and labels are not counted.
    """
    qdg = config["qdg"]
    if qdg["second"] == "none" or qdg["graph"] == "neighbours":
        return 0.0
    own = qdg["second"] in OWN_GRADIENTS
    n, null = qdg["tokens"], qdg["second_null"]
    samples = own * (n + (qdg["second"] != "magnitudes") * min(STATISTICS, n)) + null * (
        n + own * min(NULL_STATISTICS, n)
    )
    return gradient_flops(shape, length, samples) * (2 / 3 if qdg["second"] == "attention" else 1)


def interventions_flops(config: Mapping[str, Any], shape: Shape, length: float) -> float:
    """Upper estimate of the FLOP of the interventions: as many clusters as there can be, each removed from halves of both kinds.

    A removal is the gradient of a half, two evaluations of it, and a forward pass of other tokens and of a panel of documents. Noise is the same
    for each draw, with one gradient, and those of `REFERENCE` tokens. An insertion is a gradient per step, and the passes. 0 where they are
    not run.
    """
    settings, qdg = config["interventions"], config["qdg"]
    if not settings["run"]:
        return 0.0
    clusters = min(qdg["show"], qdg["tokens"] // settings["least_tokens"])
    clusterings = 1 + (second_flops(config, shape, length) > 0)
    controls, half = 4 * settings["controls"], settings["half_tokens"]
    own = half + 2 * EVALUATIONS * half / 3 + (half + 2 * settings["other_tokens"]) / 3
    panel, small = settings["panel_tokens"] * clusters / 3, SMALL_PANEL / 3
    removals = clusterings * clusters * (2 * own + panel + small) + (controls + settings["controls"]) * (own + small)
    inserted = settings["insertions"] * (clusterings + 3 / 2)
    insertions = inserted * (settings["insertion_steps"] * half + own + small)
    once = (own - half + small) * 2 * settings["noise_draws"] + half
    noise = min(settings["noise_draws"], 1) * (REFERENCE + (clusterings * clusters + 5 * settings["controls"]) * once)
    return float(gradient_flops(shape, length, 1) * (removals + noise + insertions))


def memory_bytes(shape: Shape, batch_tokens: int, *, bytes_a_weight: int = 4, logits: int = 2**22) -> int:
    """Estimate of the memory of the losses stage: libraries, weights, a block's activations, logits and two copies.

    A block holds its input, the joint query-key-value, rotated queries and keys, the attention's output, the wide layer
    before and after its nonlinearity, and the block's output: about 20 widths a token.
    """
    return LIBRARIES + bytes_a_weight * shape.parameters + 4 * 20 * shape.width * batch_tokens + 3 * 4 * logits


def table(
    config: Mapping[str, Any], *, mean_length: float, tflops: float, bytes_a_weight: int = 2
) -> list[dict[str, Any]]:
    """One row per model of the hub's family or of a given folder: checkpoints, FLOP and hours of all its losses, memory and disk in GB.

    `mean_length` is the mean number of tokens a document after the cut, `tflops` a measured speed in 10¹² FLOP/s.

    Raises:
        QuantaError: a model's shape is not known, see `shape_of`.
    """
    documents, on_hub = config["corpus"]["documents"], config["models"]["source"] == "hub"
    tokens = documents * mean_length
    rows = []
    for model in settings.model_names(dict(config)):
        shape, checkpoints = shape_of(config, model), len(settings.saved_steps(dict(config), model))
        flops = checkpoints * forward_flops(shape, np.full(documents, mean_length))
        rows.append(
            {
                "model": model,
                "checkpoints": checkpoints,
                "FLOP": flops,
                "hours": flops / (tflops * 1e12) / 3600,
                "memory_GB": memory_bytes(shape, config["losses"]["batch_tokens"]) / 1e9,
                "download_GB": on_hub * checkpoints * bytes_a_weight * shape.parameters / 1e9,
                "losses_GB": checkpoints * 4 * tokens / 1e9,
            }
        )
    return rows


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table with a line of sums."""
    lines = [
        "| model | checkpoints | FLOP | hours | memory of a job, GB | download, GB | losses, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    total = {key: sum(row[key] for row in rows) for key in ("checkpoints", "FLOP", "hours", "download_GB", "losses_GB")}
    lines += [
        f"| {row['model']} | {row['checkpoints']} | {row['FLOP']:.2e} | {row['hours']:.2f} | {row['memory_GB']:.1f} "
        f"| {row['download_GB']:.1f} | {row['losses_GB']:.1f} |"
        for row in [*rows, {"model": "all", "memory_GB": max(row["memory_GB"] for row in rows)} | total]
    ]
    return "\n".join(lines)


def report(config: dict[str, Any], *, mean_length: float, tflops: float) -> str:
    """Three Markdown tables of a settled configuration: losses by model, quanta discovery from gradients (QDG), and what follows it.

    `mean_length` is in tokens per document, `tflops` in 10^12 FLOP/s.
    """
    qdg = config["qdg"]
    shape = shape_of(config, qdg["model"])
    n, k = qdg["tokens"], max(qdg["n_clusters"])
    flops = gradient_flops(shape, mean_length, n)
    heads = ["FLOP", "hours", "features, GB", "affinity, GB", "embedding, GB", "memory for eigenvectors, GB"]
    cells = [f"{flops:.2e}", f"{flops / tflops / 3.6e15:.2f}", f"{4 * n * qdg['features'] / 1e9:.1f}"]
    cells += [f"{4 * n * n / 1e9:.1f}", f"{8 * n * k / 1e9:.2f}", f"{24 * n * n / 1e9:.1f}"]
    return "\n".join(
        [
            markdown(table(config, mean_length=mean_length, tflops=tflops)),
            "",
            f"| QDG: {n:,} gradients of {qdg['model']} | {' | '.join(heads)} |",
            "|" + "---|" * (len(heads) + 1),
            f"| | {' | '.join(cells)} |",
            "",
            "| after QDG | FLOP | hours |",
            "|---|---|---|",
            *(
                f"| {name} | {own:.2e} | {own / tflops / 3.6e15:.2f} |"
                for name, own in (
                    ("gradients of the second clustering", second_flops(config, shape, mean_length)),
                    ("interventions, at most", interventions_flops(config, shape, mean_length)),
                )
            ),
        ]
    )


def main() -> None:
    """Print the table of a configuration."""
    parser = argparse.ArgumentParser(description="GPU hours and disk of a configuration")
    parser.add_argument("--configfile", nargs="+", default=["config/pythia.yaml"], help="files, each over those before")
    parser.add_argument("--schema", default="config/schema.yaml")
    parser.add_argument("--tflops", type=float, required=True, help="measured speed of the losses, 10^12 FLOP/s")
    parser.add_argument(
        "--mean-length", type=float, default=500.0, help="tokens a document (the paper: about 10^8 in 200,000)"
    )
    chosen = parser.parse_args()
    given: dict[str, Any] = {}
    for path in chosen.configfile:
        given = schema.over(given, yaml.safe_load(Path(path).read_text(encoding="utf-8")))
    config = schema.settle(given, schema.read_schema(chosen.schema))
    print(report(config, mean_length=chosen.mean_length, tflops=chosen.tflops))  # noqa: T201 (its output is what the command is for)


if __name__ == "__main__":
    main()
