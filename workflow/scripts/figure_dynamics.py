"""Mean loss of one model over its training (the paper's appendix on dynamics).

Makes: `report/figures/dynamics`.
"""

from typing import Any

from quanta import figures, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = storage.read_table(inputs.table, ("model", "step", "mean_loss_nats"))
    table = table[(table["model"] == params.model) & (table["step"] > 0)]
    figure, axes = figures.canvas(params.look)
    ax = axes[0, 0]
    ax.plot(table["step"], table["mean_loss_nats"], "o-", color=figures.DATA, label=params.model)
    figures.log_axis(ax, "training step")
    ax.set(ylabel="held-out mean loss (nats a token)")
    figures.log_ticks(ax, list(table["mean_loss_nats"]))
    ax.legend()
    figures.save(figure, outputs, table[["model", "step", "mean_loss_nats"]])


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
