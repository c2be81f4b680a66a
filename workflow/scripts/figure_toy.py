"""The toy of the paper's appendix: exponent by the envelope's slope and by collisions against the planted one.

Makes: `report/figures/toy`.
"""

from typing import Any

from quanta import figures, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = storage.read_table(inputs.table, ("exponent", "noise", "slope", "alpha_collisions"))
    figure, axes = figures.canvas(params.look, columns=2, ratio=0.9)
    for ax, column, name in (
        (axes[0, 0], -table["slope"], "−slope of the envelope"),
        (axes[0, 1], table["alpha_collisions"] + 1, "α + 1 by collisions of pairs"),
    ):
        for colour, (noise, part) in zip(figures.shades(table["noise"].nunique()), table.groupby("noise"), strict=True):
            ax.plot(part["exponent"], column[part.index], "o-", color=colour, ms=4, label=f"noise {noise:g}")
        ends = [table["exponent"].min(), table["exponent"].max()]
        ax.plot(ends, ends, color="black", lw=0.8)
        ax.set(xlabel="planted exponent, α + 1", ylabel=name, ylim=(0.8, 2.4))
        ax.legend()
    figures.save(figure, outputs, table[["exponent", "noise", "slope", "alpha_collisions"]])


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
