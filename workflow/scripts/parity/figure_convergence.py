"""Sparse parity: steps until a task is learned against its frequency, and how sharp its drop is.

Makes: `report/figures/parity_convergence`.
"""

from itertools import cycle
from typing import Any

import numpy as np
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.emergence, ("alpha", "resource", "frequency", "converged_scale", "decades"))
    fits = {fit["alpha"]: fit for fit in files.read_json(inputs.fits)["convergence"]}
    table = table[(table["resource"] == "steps") & table["converged_scale"].notna()]
    alphas = sorted(table["alpha"].unique())
    legend = 0.025 * len(alphas)  # a line for two
    figure, axes = drawing.canvas(params.look, columns=2, ratio=0.8 + legend)
    left, right = axes[0]
    for alpha, colour, marker in zip(alphas, drawing.shades(len(alphas)), cycle(drawing.MARKERS), strict=False):
        mine, fit = table[table["alpha"] == alpha], fits[alpha]
        slope = "" if fit["value"] is None else f": {drawing.value_with_interval(fit)}"
        look = {"marker": marker, "ms": 4, "ls": "", "color": colour}
        left.plot(mine["frequency"], mine["converged_scale"], **look, label=f"α = {alpha:g}{slope}")
        right.plot(mine["frequency"], mine["decades"], **look)
    if len(table):
        reach = np.array([table["frequency"].min(), table["frequency"].max()])
        middle = np.exp(np.log(table["converged_scale"] * table["frequency"]).mean())
        left.plot(reach, middle / reach, color=drawing.NULL, ls="--", label="slope −1")
    for ax in (left, right):
        drawing.log_axis(ax, "frequency of the task")
        drawing.plain_ticks(ax.xaxis)
    left.set(yscale="log", ylabel="steps to 0.1 bits")
    drawing.plain_ticks(left.yaxis)
    right.set(ylabel="decades, 0.9 to 0.1 bits", ylim=(0, None))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=7)
    drawing.save(figure, outputs, table[["alpha", "frequency", "converged_scale", "decades"]])


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
