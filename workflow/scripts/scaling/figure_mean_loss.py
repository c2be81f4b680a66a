"""Mean loss against non-embedding parameters with its power laws (the paper's figure 4, left).

Makes: `report/figures/mean_loss`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.table, ("model", "step", "non_embedding_parameters", "mean_loss_nats"))
    table = table[table["step"] == params.final_step]
    fits = files.read_json(inputs.fits)
    figure, axes = drawing.canvas(params.look)
    ax = axes[0, 0]
    sizes, losses = table["non_embedding_parameters"].to_numpy(), table["mean_loss_nats"].to_numpy()
    left_out = table["model"].isin(params.leave_out).to_numpy()
    n = np.geomspace(sizes.min() / 1.5, sizes.max() * 1.5, 200)
    plain = fits["alpha_n"]
    if plain["value"] is None:
        fitted, band = np.full(len(table), np.nan), {"parameters": [], "low": [], "high": []}
    else:
        fitted, band = plain["scale_nats"] * sizes ** -plain["value"], plain["band_nats"]
        ax.plot(
            n, plain["scale_nats"] * n ** -plain["value"], color=drawing.FIT,
            label=f"$A N^{{-\\alpha}}$: α = {drawing.value_with_interval(plain)}",
        )  # fmt: skip
        ax.fill_between(band["parameters"], band["low"], band["high"], color=drawing.FIT, alpha=0.2, lw=0)
    floor = fits.get("alpha_n_with_irreducible_loss")
    if floor:
        curve = floor["irreducible_nats"] + floor["scale_nats"] * n ** -floor["value"]
        ax.plot(
            n, curve, color=drawing.NULL, ls="--",
            label=f"$E + A N^{{-\\alpha}}$: α = {drawing.value_with_interval(floor)}, E = {floor['irreducible_nats']:.2f} nats",
        )  # fmt: skip
    ax.plot(sizes[~left_out], losses[~left_out], "o", color=drawing.DATA, label="models")
    if left_out.any():
        ax.plot(
            sizes[left_out], losses[left_out], "o", mfc="white", color=drawing.DATA, label="models left out of the fit"
        )
    used = sizes[~left_out]
    if plain["value"] is not None:
        ax.axvspan(used.min(), used.max(), color=drawing.FIT, alpha=0.06, lw=0, label="range of the fit")
    named = ~table["non_embedding_parameters"].duplicated()  # seeds of a size lie on one another
    for model, size, loss, line in zip(table["model"][named], sizes[named], losses[named], fitted[named], strict=True):
        # on the side that the fitted line does not pass: above it to the right, below it to the left
        above = not loss < line
        lowest = loss if above else losses[sizes == size].min()
        ax.annotate(
            model, (size, lowest), xytext=(4, 4) if above else (-4, -4), textcoords="offset points", fontsize=7,
            color="0.35", ha="left" if above else "right", va="bottom" if above else "top",
        )  # fmt: skip
    drawing.log_axis(ax, "non-embedding parameters")
    drawing.log_ticks(ax, list(losses))
    ax.set(ylabel="mean loss (nats a token)")
    ax.legend()
    data = table[["model", "non_embedding_parameters", "mean_loss_nats"]].assign(
        fitted=~left_out, power_law_nats=fitted
    )
    around = pd.DataFrame(
        {"non_embedding_parameters": band["parameters"], "low_nats": band["low"], "high_nats": band["high"]}
    )
    drawing.save(figure, outputs, pd.concat([data, around], ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
