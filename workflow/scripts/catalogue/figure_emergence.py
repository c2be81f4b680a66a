"""Mean loss of every cluster over training and over sizes: clusters fall one after another while the mean is smooth.

Makes: `report/figures/emergence`.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
from quanta.catalogue import naming, when_learned
from quanta.clustering import membership
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.models.family import FAMILY_COLUMNS, in_order
from quanta.report import annotations, drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    label = membership.at(membership.read_labels(inputs.labels, len(chosen)), params.show)
    family = files.read_table(inputs.family, FAMILY_COLUMNS)
    given = [tuple(member) for member in json.loads(params.members)]
    paths = dict(zip(given, inputs.losses, strict=True))
    members = in_order(given, family)
    where = tokens.flat(chosen["document"].to_numpy(), chosen["position"].to_numpy())
    mean = {
        member: np.bincount(label, stored.read_losses(paths[member], tokens)[where]) / np.bincount(label)
        for member in members
    }
    _, names, _ = naming.read_described(inputs.described, inputs.names)
    sizes_of_one_seed = set(map(tuple, json.loads(params.sizes)))
    panels = [
        ([member for member in members if member[0] == params.dynamics and member[1] > 0], "training step"),
        ([member for member in members if member in sizes_of_one_seed], "non-embedding parameters"),
    ]
    panels = [(line, title) for line, title in panels if len(line) > 1]
    sizes = family.set_index(["model", "step"])["non_embedding_parameters"]

    figure, axes = drawing.canvas(params.look, columns=len(panels), ratio=1.15 if len(panels) > 1 else 0.8)
    drawn = []
    for ax, (line, title) in zip(axes[0], panels, strict=True):
        table = np.stack([mean[member] for member in line], axis=1)
        order = when_learned.by_fall(table)
        image = ax.imshow(
            table[order], aspect="auto", cmap="mako", interpolation="nearest", vmin=0, vmax=6, rasterized=True
        )
        ax.grid(visible=False)
        steps = title == "training step"
        ticks = [str(member[1]) if steps else drawing.count(sizes[member]) for member in line]
        ax.set_xticks(range(len(line)), ticks, rotation=90 if steps else 0)
        ax.set(xlabel=title, ylabel="cluster, earliest fall first")
        for place, number in enumerate(order):
            if (params.show, int(number)) in names:
                text = annotations.drawable(names[params.show, int(number)])[:24]
                ax.annotate(text, (0, place), fontsize=5.5, color="black", va="center", parse_math=False,
                            bbox={"fc": "white", "ec": "none", "pad": 0.4, "alpha": 0.8})  # fmt: skip
        drawn.extend(
            pd.DataFrame({"label": order, "model": model, "step": step, "mean_loss_nats": mean[model, step][order]})
            for model, step in line
        )
    figure.colorbar(image, ax=list(axes[0]), label="mean loss of the cluster (nats)", shrink=0.7, extend="max")
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True).drop_duplicates())


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
