"""Training loss of every size against tokens seen.

Makes: `report/figures/learning_curves`.
"""

from typing import Any

from quanta import figures, storage
from quanta.family import FAMILY_COLUMNS
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    family = storage.read_table(inputs.family, FAMILY_COLUMNS).drop_duplicates("model").set_index("model")
    figure, axes = figures.canvas(params.look)
    ax = axes[0, 0]
    lowest = []
    for colour, model, path in zip(figures.shades(len(params.models)), params.models, inputs.curves, strict=True):
        curve = storage.read_table(path, ("tokens", "loss_nats"))
        smooth = curve["loss_nats"].rolling(10, min_periods=1).mean()
        size = figures.count(family.loc[model, "non_embedding_parameters"])
        ax.plot(curve["tokens"], smooth, color=colour, label=f"{size}: {smooth.iloc[-1]:.2f} nats")
        lowest += [smooth.min(), smooth.iloc[0]]
    figures.log_axis(ax, "tokens seen")
    ax.set(ylabel="training loss (nats a token)")
    figures.log_ticks(ax, lowest)
    ax.legend(title="non-embedding parameters: end")
    figures.save(figure, outputs)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
