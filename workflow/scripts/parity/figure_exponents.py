"""Sparse parity: fitted exponents against α, with the theory, asymptotic and over the range fitted, and the paper's.

Makes: `report/figures/parity_exponents`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files
from quanta.theory import closed_form


def main(inputs: Any, outputs: Any, params: Any) -> None:
    fits = pd.DataFrame(files.read_json(inputs.fits)["exponents"])
    resources = [name for name in drawing.EXPONENTS if (fits["resource"] == name).any()]
    fits = fits.dropna(subset=["value"])
    paper = files.read_table(inputs.paper, ("alpha", "resource", "exponent"))
    figure, axes = drawing.canvas(params.look, columns=len(resources), ratio=0.95)
    reach = np.linspace(0.05, 1.2 * max(fits["alpha"].max(), 0.8), 50)
    for ax, resource in zip(axes[0], resources, strict=True):
        ax.plot(
            reach, [closed_form.exponent(resource, a) for a in reach], color=drawing.FIT, label="theory, asymptotic"
        )
        mine = fits[fits["resource"] == resource]
        ax.plot(mine["alpha"], mine["theory_finite"], "s", mfc="none", color=drawing.FIT, label="theory, finite K")
        for fit in mine.to_dict(orient="records"):
            if fit["interval"]:
                ax.plot([fit["alpha"]] * 2, fit["interval"], color=drawing.DATA, lw=1)
        ax.plot(mine["alpha"], mine["value"], "o", color=drawing.DATA, label="fitted")
        theirs = paper[paper["resource"] == resource]
        ax.plot(theirs["alpha"], theirs["exponent"], "x", color=drawing.NULL, label="the paper")
        ax.set(xlabel="α", ylabel=drawing.EXPONENTS[resource], ylim=(0, 1.2))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    low = [np.nan if not interval else interval[0] for interval in fits["interval"]]
    high = [np.nan if not interval else interval[1] for interval in fits["interval"]]
    drawn = {
        "this run": fits[["alpha", "resource", "value", "theory_asymptotic", "theory_finite"]].assign(
            low=low, high=high
        ),
        "the paper": paper.rename(columns={"exponent": "value"}),
    }
    drawing.save(figure, outputs, drawing.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
