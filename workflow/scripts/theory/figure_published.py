"""Published exponents: α_D against α_N with the theory's curve, and the residuals (the paper's last appendix figure).

Makes: `report/figures/published`.
"""

from typing import Any

import numpy as np
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files
from quanta.theory import closed_form, published_exponents


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(
        inputs.published, (*published_exponents.PUBLISHED_COLUMNS, "predicted_alpha_d", "log_ratio", "file")
    )
    counts = files.read_json(inputs.fits)["published"]
    figure, axes = drawing.canvas(params.look, columns=2, ratio=0.85)
    left, right = axes[0]
    reach = np.geomspace(table["alpha_n"].min() / 1.3, table["alpha_n"].max() * 1.3, 100)
    curve = closed_form.data_exponent(reach)
    left.plot(reach, curve, color=drawing.FIT, label="$α_N / (α_N + 1)$")
    left.fill_between(reach, curve / counts["factor"], curve * counts["factor"], color=drawing.FIT, alpha=0.15, lw=0)
    left.plot(reach, reach, color=drawing.NULL, ls=":", label="$α_D = α_N$")
    sources = table.drop_duplicates(["source", "file"])[["source", "file"]].to_numpy().tolist()
    colours = drawing.PALETTE
    for number, (source, file) in enumerate(sources):
        mine = table[(table["source"] == source) & (table["file"] == file)]
        own = file != published_exponents.PUBLISHED.name
        for ax, values in ((left, mine["alpha_d"]), (right, np.exp(mine["log_ratio"]))):
            ax.plot(
                mine["alpha_n"], values, drawing.MARKERS[number % len(drawing.MARKERS)], color=colours[number % len(colours)],
                mec="black" if own else "none", ms=7 if own else 5, label=source if ax is right else None,
            )  # fmt: skip
    right.axhline(1, color=drawing.FIT)
    right.axhspan(1 / counts["factor"], counts["factor"], color=drawing.FIT, alpha=0.15, lw=0)
    for ax, label in ((left, "$α_D$"), (right, "$α_D$, measured over predicted")):
        drawing.log_axis(ax, "$α_N$")
        ax.set(yscale="log", ylabel=label)
        drawing.plain_ticks(ax.xaxis)
        drawing.plain_ticks(ax.yaxis)
    left.legend()
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    right.set_title(f"{counts['within_factor']} of {counts['pairs']} within a factor {counts['factor']:g}")
    drawing.save(figure, outputs, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
