"""Mean loss over training of every model whose steps are followed (the paper's appendix on dynamics).

Makes: `report/figures/dynamics`. The exponent is fitted over the last tenfold of steps.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.report import annotations, drawing
from quanta.scaling import mean_loss
from quanta.storage import files

SPAN = 10  # the range of the fit: from the last step over this


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.table, ("model", "step", "mean_loss_nats"))
    table = table[table["model"].isin(params.models)].sort_values(["model", "step"])
    final = int(table["step"].max())
    figure, axes = drawing.canvas(params.look)
    ax = axes[0, 0]
    labels, drawn = [], []
    for index, model in enumerate(params.models):
        own = table[table["model"] == model]
        shown = own[own["step"] > 0]
        colour = drawing.PALETTE[index % len(drawing.PALETTE)]
        marker = drawing.marker(index)
        ax.plot(shown["step"], shown["mean_loss_nats"], marker + "-", ms=4, color=colour)
        late = own["step"] >= final / SPAN
        own = own.assign(fit_nats=np.nan)
        labels.append(model)
        if late.sum() > 2:
            step = own.loc[late, "step"].to_numpy()
            alpha, scale = mean_loss.power_law(step, own.loc[late, "mean_loss_nats"].to_numpy())
            own.loc[late, "fit_nats"] = scale * step**-alpha
            labels[-1] = f"{model}\nexponent {drawing.number(alpha, 3)}"
        drawn.append(own[["model", "step", "mean_loss_nats", "fit_nats"]])
    for own in drawn:
        ax.plot(own["step"], own["fit_nats"], "--", color="black", lw=0.9)
    ax.axvspan(final / SPAN, final, color=drawing.NULL, alpha=0.12, lw=0)
    drawing.log_axis(ax, "training step")
    ax.set(ylabel="held-out mean loss (nats a token)")
    drawing.log_ticks(ax, list(table["mean_loss_nats"]))
    annotations.end_labels(ax, labels, lines_a_text=max(label.count("\n") + 1 for label in labels))
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
