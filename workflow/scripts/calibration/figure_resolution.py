"""Exponent by collisions against the cosine above which two tokens share a quantum.

Makes: `report/figures/resolution`.
"""

from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    curve = files.read_table(inputs.resolution, ("threshold", "alpha", "low", "high", "alpha_triples"))
    fits, scaling = files.read_json(inputs.fits), files.read_json(inputs.scaling)
    figure, axes = drawing.canvas(params.look)
    ax = axes[0, 0]
    ax.fill_between(curve["threshold"], curve["low"], curve["high"], color=drawing.DATA, alpha=0.3, lw=0)
    ax.plot(curve["threshold"], curve["alpha"], color=drawing.DATA, label="pairs; band: sampling of texts, 90 %")
    ax.plot(curve["threshold"], curve["alpha_triples"], color=drawing.DATA, ls=":", label="triples")
    ax.axhspan(*fits["alpha"]["interval"], color=drawing.ACCENT, alpha=0.2, lw=0,
               label=f"calibrated: {drawing.value_with_interval(fits['alpha'])}")  # fmt: skip
    of_loss = scaling["alpha_n"]["value"]
    if of_loss is not None:
        ax.axhline(of_loss, color=drawing.FIT, ls="-.", lw=1.2,
                   label=f"$α_N$ of the loss: {drawing.number(of_loss, 3)}")  # fmt: skip
    ax.axvline(fits["alpha_by_collisions"]["threshold"], color=drawing.NULL, ls=":", lw=1,
               label="errs least on simulations")  # fmt: skip
    ax.set(xlabel="cosine above which two tokens share a quantum", ylabel="exponent α")
    ax.legend()
    alpha, pairs = fits["alpha"], fits["alpha_by_collisions"]
    lines = pd.DataFrame(
        [
            {"line": "calibrated", "alpha": alpha["value"], "low": alpha["interval"][0], "high": alpha["interval"][1]},
            {"line": "α_N of the loss", "alpha": of_loss},
            {"line": "errs least on simulations", "threshold": pairs["threshold"]},
        ]
    )
    drawn = curve[["threshold", "alpha", "low", "high", "alpha_triples"]]
    drawing.save(figure, outputs, drawing.panels({"resolution": drawn, "lines": lines}))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
