"""Sparse parity: mean loss against parameters, steps and data, with the curves of single tasks beneath (the paper's figure 2).

Makes: `report/figures/parity_scaling`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.parity import learning_curves
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    curves = pd.concat([files.read_table(path, learning_curves.CURVE_COLUMNS) for path in inputs.curves])
    nets = pd.concat([files.read_table(path, learning_curves.NET_COLUMNS) for path in inputs.nets])
    resources = learning_curves.resources_of(curves)
    points = files.read_table(inputs.points, ("scale", "loss_bits", "alpha", "resource"))
    fits = {f["resource"]: f for f in files.read_json(inputs.fits)["exponents"] if f["alpha"] == params.alpha}
    figure, axes = drawing.canvas(params.look, rows=2, columns=len(resources), ratio=0.85)
    drawn = {}
    for column, resource in enumerate(resources):
        top, bottom = axes[:, column]
        mine = points[(points["alpha"] == params.alpha) & (points["resource"] == resource)]
        drawn[f"mean loss, {resource}"] = mine[["seed", "scale", "loss_bits"]]
        for _, one in mine.groupby("seed"):
            top.plot(one["scale"], one["loss_bits"], "o-" if resource != "steps" else "-", ms=3, color=drawing.DATA)
        fit = fits.get(resource)
        if fit and fit["value"] is not None:
            used = np.array(fit["points_used"])
            mean = mine[mine["scale"].isin(used)].groupby("scale")["loss_bits"].mean()
            middle = (
                np.exp(np.log(mean).mean()) * np.exp(np.log(mean.index.to_numpy(dtype=float)).mean()) ** fit["value"]
            )
            line = pd.DataFrame({"scale": used, "loss_bits": middle * used ** -fit["value"]})
            top.plot(line["scale"], line["loss_bits"], color=drawing.FIT, lw=1)
            drawn[f"power law, {resource}"] = line
            finite = "none" if fit["theory_finite"] is None else f"{fit['theory_finite']:.2f}"
            top.set_title(f"{fit['value']:.2f} ({fit['theory_asymptotic']:.2f}; {finite})")
        losses = learning_curves.task_losses(curves, nets, resource)
        shown = np.unique(np.geomspace(1, losses.shape[1], 12).round().astype(int))
        drawn[f"single tasks, {resource}"] = drawing.long(losses[shown], "scale", "task", "loss_bits")
        for task, colour in zip(shown, drawing.shades(len(shown)), strict=True):
            bottom.plot(losses.index, losses[task], color=colour, lw=1, label=f"task {task}")
        for ax in (top, bottom):
            drawing.log_axis(ax, drawing.SCALES[resource])
        top.set(yscale="log")
        drawing.plain_ticks(top.yaxis)
        bottom.set(ylim=(-0.05, 1.5))  # rare tasks rise far above a coin toss where a training set is overfitted
    axes[0, 0].set_ylabel("mean loss (bits)")
    axes[1, 0].set_ylabel("a task's loss (bits)")
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=7)
    drawing.save(figure, outputs, drawing.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
