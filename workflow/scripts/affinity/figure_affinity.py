"""The affinity matrix with its tokens ordered by cluster, and how similar tokens are within clusters and between.

Makes: `report/figures/affinity`. At most so many tokens as pixels are drawn, evenly spread within clusters.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta import arrays
from quanta.affinity import cosine
from quanta.catalogue import naming
from quanta.clustering import membership
from quanta.jobs.job import run
from quanta.report import annotations, drawing
from quanta.storage import files

PIXELS = 800


def main(inputs: Any, outputs: Any, params: Any) -> None:
    matrix = cosine.read_affinity(inputs.affinity)
    n_tokens = len(files.read_table(inputs.selection, ("token",)))
    labels = membership.read_labels(inputs.labels, n_tokens)
    label = membership.at(labels, params.show)[arrays.evenly(n_tokens, len(matrix))]
    order = np.argsort(label, kind="stable")
    order = order[arrays.evenly(len(order), PIXELS)]
    shown = matrix[np.ix_(order, order)]
    figure, axes = drawing.canvas(params.look, columns=2, ratio=0.95)
    image = axes[0, 0].imshow(shown, cmap="mako", vmin=0, vmax=1, interpolation="nearest", rasterized=True)
    axes[0, 0].set(
        xlabel=f"tokens, by cluster ({params.show} clusters)", ylabel="tokens, by cluster", xticks=[], yticks=[]
    )
    _, names, _ = naming.read_described(inputs.described, inputs.names)
    for (k, number), name in names.items():
        rows = np.flatnonzero(label[order] == number)
        if k == params.show and len(rows):
            axes[0, 0].annotate(
                annotations.drawable(name)[:24], (rows.max(), rows.mean()), xytext=(3, 0), textcoords="offset points",
                fontsize=5.5, color="white", va="center", parse_math=False,
            )  # fmt: skip
    figure.colorbar(image, ax=axes[0, 0], label="cosine similarity", shrink=0.8, extend="min")

    upper = np.triu_indices(len(order), 1)
    cosines, same = shown[upper], (label[order][:, None] == label[order][None, :])[upper]
    drawn = []
    for values, name, colour, style in (
        (cosines[same], "same cluster", drawing.FIT, "-"),
        (cosines[~same], "different", drawing.DATA, ":"),
    ):
        if len(values):
            density, edges, _ = axes[0, 1].hist(values, bins=np.linspace(-0.3, 1, 80), density=True, histtype="step", color=colour, ls=style,
                            label=f"{name}: median {drawing.number(float(np.median(values)))}")  # fmt: skip
            drawn.append(
                pd.DataFrame({"pairs": name, "cosine_from": edges[:-1], "cosine_to": edges[1:], "density": density})
            )
    axes[0, 1].set(yscale="log", xlabel="cosine similarity of two tokens", ylabel="density of pairs")
    axes[0, 1].legend(loc="upper center", bbox_to_anchor=(0.5, 1.2))
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
