"""Training loss of every size against tokens seen.

Makes: `report/figures/learning_curves`.
"""

from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.models.family import FAMILY_COLUMNS
from quanta.report import annotations, drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    family = files.read_table(inputs.family, FAMILY_COLUMNS).drop_duplicates("model").set_index("model")
    figure, axes = drawing.canvas(params.look)
    ax = axes[0, 0]
    lowest, texts, drawn = [], [], []
    for colour, model, path in zip(drawing.shades(len(params.models)), params.models, inputs.curves, strict=True):
        curve = files.read_table(path, ("tokens", "loss_nats"))
        smooth = curve["loss_nats"].rolling(10, min_periods=1).mean()
        size = drawing.count(family.loc[model, "non_embedding_parameters"])
        ax.plot(curve["tokens"], smooth, color=colour)
        texts.append(f"{size}: {smooth.iloc[-1]:.2f}")
        drawn.append(pd.DataFrame({"model": model, "tokens": curve["tokens"], "loss_nats": smooth}))
        lowest += [smooth.min(), smooth.iloc[0]]
    drawing.log_axis(ax, "tokens seen")
    ax.set(ylabel="training loss (nats a token)")
    drawing.log_ticks(ax, lowest)
    ax.set_ylim(min(lowest) * 0.95, max(lowest) * 1.05)
    ax.set_xlim(right=ax.get_xlim()[1] * 1.1)
    annotations.end_labels(ax, texts)
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
