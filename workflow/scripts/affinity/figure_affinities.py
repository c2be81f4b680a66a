"""Two affinities pair by pair: cosine of gradients and correlation of loss curves.

Makes: `report/figures/affinities`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta.affinity import cosine
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    left, right = cosine.read_affinity(inputs.affinity), cosine.read_affinity(inputs.losses)
    found = files.read_json(inputs.agreement)
    upper = np.triu_indices(len(left), 1)
    figure, axes = drawing.canvas(params.look)
    ax = axes[0, 0]
    x, y = np.asarray(left)[upper], np.asarray(right)[upper]
    image = ax.hexbin(x, y, gridsize=60, bins="log", cmap="mako_r", rasterized=True)
    figure.colorbar(image, ax=ax, label="pairs of tokens")
    edges = np.linspace(-0.2, 1, 13)
    middle = (edges[1:] + edges[:-1]) / 2
    place = np.digitize(x, edges) - 1
    means = [y[place == i].mean() if (place == i).sum() > 20 else np.nan for i in range(len(middle))]
    ax.plot(middle, means, "o-", color=drawing.FIT, ms=3, path_effects=drawing.OUTLINE,
            label=f"mean; rank correlation {drawing.number(found['rank_correlation'])}, "
            f"adjusted Rand {drawing.number(found['adjusted_rand'])}")  # fmt: skip
    ax.set(xlabel="cosine of gradients", ylabel="correlation of loss curves")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15))
    cells = pd.DataFrame(image.get_offsets(), columns=["cosine", "correlation"]).assign(pairs=image.get_array())
    drawn = {
        "pairs of tokens": cells[cells["pairs"] > 0],
        "mean": pd.DataFrame({"cosine": middle, "correlation": means}),
    }
    drawing.save(figure, outputs, drawing.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
