"""Sharp drops of one seed in the others: the share that recurs, for every threshold, and one seed's drop against another's.

Makes: `report/figures/seeds`.
"""

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.scaling import recurrence
from quanta.storage import files

IN = {recurrence.ANOTHER: "in another seed", recurrence.OTHERS: "in the average of the others"}


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.table, ("kind", "threshold_nats", "recurs_in", "share", "low", "high", "expected"))
    numbers = files.read_json(inputs.numbers)
    drops = files.read_table(inputs.drops, ("step", "drop_nats", "other_nats", "n"))
    figure, axes = drawing.canvas(params.look, columns=2, ratio=0.9)

    ax = axes[0, 0]
    shown = table[(table["kind"] == "drop") & table["recurs_in"].isin([recurrence.ANOTHER, recurrence.OTHERS])]
    shown = shown[np.isfinite(shown["share"])]
    styles = ((recurrence.ANOTHER, "o-", drawing.DATA), (recurrence.OTHERS, "s--", drawing.FIT))
    drawn = []
    for where, style, colour in styles[: 1 if len(numbers["seeds"]) == 2 else 2]:
        part = shown[shown["recurs_in"] == where]
        ax.fill_between(part["threshold_nats"], part["low"], part["high"], color=colour, alpha=0.25, lw=0)
        ax.plot(part["threshold_nats"], part["share"], style, ms=4, color=colour, label=IN[where])
        drawn.append(part.assign(panel="share that recurs"))
    part = shown[shown["recurs_in"] == recurrence.ANOTHER]
    ax.plot(part["threshold_nats"], part["expected"], ":", color="black", lw=1.2, label="if seeds were independent")
    ax.set(xlabel="threshold of a drop (nats)", ylabel="share of drops that recur", ylim=(0, 1))
    ax.legend(fontsize=7)

    ax = axes[0, 1]
    grid = drops.groupby(["drop_nats", "other_nats"])["n"].sum().unstack(fill_value=0)
    half = recurrence.WIDTH / 2
    limit = 5.0
    image = ax.pcolormesh(
        np.append(grid.index - half, grid.index[-1] + half), np.append(grid.columns - half, grid.columns[-1] + half),
        np.where(grid.to_numpy().T > 0, grid.to_numpy().T, np.nan), cmap="Greys", norm=mpl.colors.LogNorm(vmin=1), rasterized=True,
    )  # fmt: skip
    weight = grid.to_numpy()
    mean = (weight * grid.columns.to_numpy()).sum(axis=1) / np.maximum(weight.sum(axis=1), 1)
    enough = weight.sum(axis=1) >= 30
    ax.plot([-limit, limit], [-limit, limit], ":", color="black", lw=1)
    ax.plot(grid.index[enough], mean[enough], "-", color=drawing.FIT, lw=1.8, path_effects=drawing.OUTLINE,
            label="mean of the other")  # fmt: skip
    ax.set(
        xlim=(-limit, limit), ylim=(-limit, limit), xlabel="drop in one seed (nats)", ylabel="drop in another (nats)"
    )
    ax.grid(visible=False)
    ax.legend(fontsize=7, loc="upper left")
    figure.colorbar(image, ax=ax, label="predictions", shrink=0.8)
    drawn.append(pd.DataFrame({"panel": "mean drop in another seed", "threshold_nats": grid.index, "share": mean}))
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
