"""Which tasks QDG splits or merges, and why: recall and precision against frequency and loss, cosines by kind of pair.

Makes: `report/figures/parity_tasks`.
"""

from typing import Any

import numpy as np
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    scores = files.read_table(inputs.scores, ("name", "n_clusters", "adjusted_rand"))
    tasks = files.read_table(inputs.tasks, ("condition", "n_clusters", "task", "recall", "precision", "loss_bits"))
    pairs = files.read_table(inputs.pairs, ("condition", "pair", "q05", "median", "q95"))
    base = scores[scores["name"] == "base"]
    chosen = int(base.loc[base["adjusted_rand"].idxmax(), "n_clusters"])
    mine = tasks[(tasks["condition"] == "base") & (tasks["n_clusters"] == chosen)]
    figure, axes = drawing.canvas(params.look, columns=3, ratio=1.3)
    left, middle, right = axes[0]
    for ax, column, label in (
        (left, "recall", "share in its main cluster"),
        (middle, "precision", "share of that cluster"),
    ):
        dots = ax.scatter(mine["frequency"], mine[column], c=mine["loss_bits"], s=18, cmap="viridis", vmin=0, vmax=1)
        drawing.log_axis(ax, "frequency of the task")
        ax.set(ylabel=label, ylim=(0, 1.03))
    left.set_title(f"split, {chosen} clusters")
    middle.set_title("merged")
    figure.colorbar(dots, ax=middle, label="loss (bits)")
    kinds = pairs[pairs["condition"] == "base"].iloc[::-1]
    places = np.arange(len(kinds))
    right.hlines(places, kinds["q05"], kinds["q95"], color=drawing.DATA)
    right.plot(kinds["median"], places, "o", color=drawing.DATA)
    right.set_yticks(places, [_wrapped(pair) for pair in kinds["pair"]], fontsize=6)
    right.set(xlabel="cosine, 5 to 95 %")
    right.set_title("why")
    drawn = {
        f"{chosen} clusters": mine[["task", "frequency", "recall", "precision", "loss_bits"]],
        "cosines": kinds[["pair", "q05", "median", "q95"]],
    }
    drawing.save(figure, outputs, drawing.panels(drawn))


def _wrapped(pair: str) -> str:
    """The words of a kind of pair on two lines, so that they leave room for the panels."""
    head, comma, tail = pair.partition(", ")
    return f"{head}{comma.rstrip()}\n{tail}" if len(pair) > 26 else pair


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
