"""How well each cluster is found again by other models and steps: scores, falling, beside chance.

Makes: `report/figures/lineage`.
"""

from typing import Any

import numpy as np
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.table, ("relative", "label", "score", "score_by_chance"))
    figure, axes = drawing.canvas(params.look)
    ax = axes[0, 0]
    names = list(dict.fromkeys(table["relative"]))
    for i, (colour, name) in enumerate(zip(drawing.shades(len(names)), names, strict=True)):
        part = table[table["relative"] == name].sort_values("score", ascending=False)
        rank = np.arange(1, len(part) + 1)
        label = f"{name}: median {part['score'].median():.2f}"
        marks = {"marker": drawing.marker(i), "ms": 3, "markevery": (i, max(len(part) // 12, 1))}
        ax.plot(rank, part["score"], color=colour, label=label, **marks)
        ax.plot(rank, part["score_by_chance"], color=colour, ls=":", lw=0.8)
    ax.plot([], [], color=drawing.NULL, ls=":", lw=0.8, label="by chance, clusters of these sizes")
    ax.set(xlabel="clusters, the best found first", ylabel="Jaccard index with its match", ylim=(0, 1.02))
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15))
    drawing.save(figure, outputs, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
