"""Sparse parity: loss of every task at every scale.

Makes: `report/figures/parity_heatmap`.
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
    figure, axes = drawing.canvas(params.look, columns=len(resources), ratio=0.95)
    drawn = {}
    for ax, resource in zip(axes[0], resources, strict=True):
        losses = learning_curves.task_losses(curves, nets, resource)
        drawn[resource] = drawing.long(losses, "scale", "task", "loss_bits")
        scales = losses.index.to_numpy(dtype=float)
        half = np.sqrt(scales[1:] / scales[:-1]) if len(scales) > 1 else np.array([1.5])
        edges = np.concatenate([[scales[0] / half[0]], scales[:-1] * half, [scales[-1] * half[-1]]])
        tasks = np.arange(losses.shape[1] + 1) + 0.5
        image = ax.pcolormesh(edges, tasks, losses.to_numpy().T, vmin=0, vmax=1, cmap="viridis", rasterized=True)
        drawing.log_axis(ax, drawing.SCALES[resource])
        ax.grid(visible=False)
        ax.invert_yaxis()
    axes[0, 0].set_ylabel("task, by frequency")
    figure.colorbar(image, ax=list(axes[0]), label="loss (bits)", extend="max")
    drawing.save(figure, outputs, drawing.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
