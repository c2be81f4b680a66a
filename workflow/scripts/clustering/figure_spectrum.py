"""Eigenvalues of the normalised affinity.

Makes: `report/figures/spectrum`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    values = files.read_array(inputs.eigenvalues, dtype="float64", shape=(None,))
    figure, axes = drawing.canvas(params.look)
    ax = axes[0, 0]
    positive = values[values > 0]
    label = f"{len(positive)} of the first {len(values)} are positive"
    ax.plot(np.arange(1, len(positive) + 1), positive, ".-", color=drawing.DATA, ms=3, label=label)
    ax.axvline(params.show, color=drawing.NULL, ls=":", lw=1, label=f"{params.show} clusters, the ones shown")
    drawing.log_axis(ax, "rank")
    ax.set(yscale="log", ylabel="eigenvalue of the normalised affinity")
    ax.legend()
    drawing.save(figure, outputs, pd.DataFrame({"rank": np.arange(1, len(values) + 1), "eigenvalue": values}))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
