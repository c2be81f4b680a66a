"""The toy of the paper's appendix: exponent by the envelope's slope and by collisions against the planted one.

Makes: `report/figures/toy`.
"""

from itertools import cycle
from typing import Any

from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.table, ("exponent", "noise", "slope", "alpha_collisions"))
    figure, axes = drawing.canvas(params.look, columns=2, ratio=0.9)
    for ax, column, name in (
        (axes[0, 0], -table["slope"], "−slope of the envelope"),
        (axes[0, 1], table["alpha_collisions"] + 1, "α + 1 by collisions of pairs"),
    ):
        colours = drawing.shades(table["noise"].nunique())
        for colour, marker, (noise, part) in zip(colours, cycle(drawing.MARKERS), table.groupby("noise"), strict=False):
            label = f"noise {noise:g}"
            ax.plot(part["exponent"], column[part.index], color=colour, marker=marker, ms=4, label=label)
        ends = [table["exponent"].min(), table["exponent"].max()]
        ax.plot(ends, ends, color="black", lw=0.8, ls="--", label="as planted")
        ax.set(xlabel="planted exponent, α + 1", ylabel=name, ylim=(0.8, 2.4))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    drawing.save(figure, outputs, table[["exponent", "noise", "slope", "alpha_collisions"]])


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
