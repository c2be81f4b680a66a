"""The theory's losses, exact and asymptotic, with simulated learners; and the slope that a fit finds where it looks.

Makes: `report/figures/theory`.
"""

from typing import Any

from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    losses = files.read_table(inputs.losses, ("alpha", "learned", "loss", "loss_asymptote", "slope_parameters"))
    simulation = files.read_table(inputs.simulation, ("alpha", "samples", "simulated_loss", "expected_loss"))
    figure, axes = drawing.canvas(params.look, columns=3, ratio=0.95)
    alphas = sorted(losses["alpha"].unique())
    for alpha, colour in zip(alphas, drawing.shades(len(alphas)), strict=True):
        mine, learners = losses[losses["alpha"] == alpha], simulation[simulation["alpha"] == alpha]
        label = f"α = {alpha:g}"
        axes[0, 0].plot(mine["learned"], mine["loss"], color=colour, label=label)
        axes[0, 0].plot(mine["learned"], mine["loss_asymptote"], color=colour, ls=":")
        axes[0, 1].plot(learners["samples"], learners["expected_loss"], color=colour)
        axes[0, 1].plot(learners["samples"], learners["simulated_loss"], ".", ms=4, color=colour)
        axes[0, 1].plot(learners["samples"], learners["sharp_loss"], color=colour, ls=":")
        axes[0, 2].plot(mine["learned"], mine["slope_parameters"], color=colour)
        axes[0, 2].axhline(alpha, color=colour, ls=":")
    for ax, label in zip(axes[0], ("quanta learned, n", "samples, D", "quanta learned, n"), strict=True):
        drawing.log_axis(ax, label)
    for ax in axes[0, :2]:
        ax.set(yscale="log", ylabel="loss (b − a = 1)", ylim=(3e-3, 1.5))
    axes[0, 2].set(ylim=(0, 2), ylabel="slope")
    for ax, title in zip(axes[0], ("finite sum", "simulated learners", "slope in parameters"), strict=True):
        ax.set_title(title)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(alphas))
    drawn = {
        "finite sum, local slope": losses[["alpha", "learned", "loss", "loss_asymptote", "slope_parameters"]],
        "simulated learners": simulation[["alpha", "samples", "expected_loss", "simulated_loss", "sharp_loss"]],
    }
    drawing.save(figure, outputs, drawing.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
