"""How sharply single tokens are learned: the share of a token's total fall that its largest step holds.

Makes: `report/figures/sharpness`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    figure, axes = drawing.canvas(params.look)
    ax = axes[0, 0]
    drawn = []
    for colour, style, axis, path in zip(drawing.PALETTE, drawing.STYLES, params.axes, inputs.tables, strict=False):
        table = files.read_table(path, ("total_drop_nats", "largest_drop_share"))
        shares = table.loc[table["total_drop_nats"] >= params.drop, "largest_drop_share"].to_numpy()
        label = (
            f"over {axis}s: n = {len(shares):,}, median {np.median(shares):.2f}"
            if len(shares)
            else f"over {axis}s: none"
        )
        bins = np.linspace(0, 2, 81)
        density, edges, _ = ax.hist(
            np.clip(shares, 0, 2),
            bins=bins,
            histtype="step",
            density=len(shares) > 0,
            color=colour,
            ls=style,
            label=label,
            lw=1.4,
        )
        drawn.append(pd.DataFrame({"axis": axis, "share_from": edges[:-1], "share_to": edges[1:], "density": density}))
    ax.axvline(1, color=drawing.NULL, ls=":", lw=1)
    ax.annotate("all in one step", (1, 0.97), xycoords=("data", "axes fraction"), xytext=(4, 0),
                textcoords="offset points", fontsize=7, color="0.4", va="top")  # fmt: skip
    ax.set(xlabel="largest step's share of the total fall (above 1: it rose elsewhere)", ylabel="density of tokens")
    ax.legend(title=f"tokens that fall by {params.drop:g} nats or more")
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
