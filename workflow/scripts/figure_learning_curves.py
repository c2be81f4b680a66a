"""Training loss of every size against tokens seen.

Makes: `report/figures/learning_curves`.
"""

from typing import Any

import pandas as pd
from quanta import figures, storage
from quanta.family import FAMILY_COLUMNS
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    family = storage.read_table(inputs.family, FAMILY_COLUMNS).drop_duplicates("model").set_index("model")
    figure, axes = figures.canvas(params.look)
    ax = axes[0, 0]
    lowest, texts, drawn = [], [], []
    for colour, model, path in zip(figures.shades(len(params.models)), params.models, inputs.curves, strict=True):
        curve = storage.read_table(path, ("tokens", "loss_nats"))
        smooth = curve["loss_nats"].rolling(10, min_periods=1).mean()
        size = figures.count(family.loc[model, "non_embedding_parameters"])
        ax.plot(curve["tokens"], smooth, color=colour)
        texts.append(f"{size}: {smooth.iloc[-1]:.2f}")
        drawn.append(pd.DataFrame({"model": model, "tokens": curve["tokens"], "loss_nats": smooth}))
        lowest += [smooth.min(), smooth.iloc[0]]
    figures.log_axis(ax, "tokens seen")
    ax.set(ylabel="training loss (nats a token)")
    figures.log_ticks(ax, lowest)
    ax.set_ylim(min(lowest) * 0.95, max(lowest) * 1.05)
    ax.set_xlim(right=ax.get_xlim()[1] * 1.1)
    figures.end_labels(ax, texts)
    figures.save(figure, outputs, pd.concat(drawn, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
