"""Calibrated exponent against the planted one on held-out simulations, and what the paper's slope makes of planted ones.

Makes: `report/figures/calibration`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    coverage = files.read_table(inputs.coverage, ("alpha", "value", "low", "high", "covered"))
    bias = files.read_table(inputs.bias, ("alpha", "slope", "true_slope"))
    fits = files.read_json(inputs.fits)
    data, slope = fits["alpha"], files.read_json(inputs.qdg)["envelope_slope"]
    figure, axes = drawing.canvas(params.look, columns=2, ratio=1.3)
    left, right = axes[0]
    for covered, colour, marker, name in ((True, drawing.DATA, ".", "covers"), (False, drawing.FIT, "x", "misses")):
        part = coverage[coverage["covered"] == covered]
        left.vlines(part["alpha"], part["low"], part["high"], color=colour, lw=0.6, alpha=0.6)
        left.plot(
            part["alpha"], part["value"], marker, color=colour, ms=3, label=f"{name}: {len(part)} of {len(coverage)}"
        )
    ends = np.array([coverage["alpha"].min(), coverage["alpha"].max()])
    left.plot(ends, ends, color="black", lw=0.8)
    left.axhspan(
        *data["interval"], color=drawing.ACCENT, alpha=0.2, lw=0, label=f"the data: {drawing.value_with_interval(data)}"
    )
    left.set(xlabel="planted α", ylabel="the simulator's α, 90 % interval", title="Coverage")
    left.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    right.plot(bias["alpha"], bias["slope"], "o", color=drawing.FIT, ms=4, label="envelope of clusterings")
    right.plot(bias["alpha"], bias["true_slope"], "x", color=drawing.DATA, ms=4, label="true sizes, same ranks")
    right.plot(ends, -ends - 1, color="black", lw=0.8, label="−(α+1)")
    right.axhline(
        slope["value"], color=drawing.ACCENT, ls="-.", lw=1.2, label=f"the data: {drawing.number(slope['value'])}"
    )
    right.set(xlabel="planted α", ylabel="slope of the paper's fit", title="Bias of the slope")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
    own = {"value": data["value"], "low": data["interval"][0], "high": data["interval"][1], "slope": slope["value"]}
    drawn = {
        "coverage": coverage[["alpha", "value", "low", "high", "covered"]],
        "bias": bias[["alpha", "slope", "true_slope"]],
        "the data": pd.DataFrame([own]),
    }
    drawing.save(figure, outputs, drawing.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
