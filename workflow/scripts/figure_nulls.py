"""Rank-frequency envelopes of the data and of every null model, through the same functions.

Makes: `report/figures/nulls`.
"""

from typing import Any

from quanta import figures, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = storage.read_table(inputs.table, ("model", "slope")).set_index("model")
    curves = storage.read_table(inputs.curves, ("model", "rank", "size"))
    figure, axes = figures.canvas(params.look, ratio=0.75)
    ax = axes[0, 0]
    names = list(dict.fromkeys(curves["model"]))
    for i, (colour, name) in enumerate(zip(figures.shades(len(names) - 1), names[1:], strict=True)):
        part = curves[curves["model"] == name]
        ax.plot(
            part["rank"],
            part["size"],
            color=colour,
            ls=figures.STYLES[i % len(figures.STYLES)],
            lw=1.1,
            label=f"{name}: {figures.number(table.loc[name, 'slope'])}",
        )
    part = curves[curves["model"] == names[0]]
    ax.plot(part["rank"], part["size"], color="black", lw=1.8,
            label=f"{names[0]}: {figures.number(table.loc[names[0], 'slope'])}")  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="rank of cluster", ylabel="tokens in cluster", ylim=(0.8, None))
    ax.legend()
    figures.save(figure, outputs, curves.assign(slope=curves["model"].map(table["slope"])))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
