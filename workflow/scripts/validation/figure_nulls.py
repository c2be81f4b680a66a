"""Rank-frequency envelopes of the data and of every null model, through the same functions.

Makes: `report/figures/nulls`.
"""

from typing import Any

from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.table, ("model", "slope")).set_index("model")
    curves = files.read_table(inputs.curves, ("model", "rank", "size"))
    figure, axes = drawing.canvas(params.look, ratio=0.75)
    ax = axes[0, 0]
    names = list(dict.fromkeys(curves["model"]))
    for i, (colour, name) in enumerate(zip(drawing.shades(len(names) - 1), names[1:], strict=True)):
        part = curves[curves["model"] == name]
        ax.plot(
            part["rank"],
            part["size"],
            color=colour,
            ls=drawing.STYLES[i % len(drawing.STYLES)],
            lw=1.1,
            label=f"{name}: {drawing.number(table.loc[name, 'slope'])}",
        )
    part = curves[curves["model"] == names[0]]
    ax.plot(part["rank"], part["size"], color="black", lw=1.8,
            label=f"{names[0]}: {drawing.number(table.loc[names[0], 'slope'])}")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="rank of cluster", ylabel="tokens in cluster", ylim=(0.8, None))
    ax.legend()
    drawing.save(figure, outputs, curves.assign(slope=curves["model"].map(table["slope"])))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
