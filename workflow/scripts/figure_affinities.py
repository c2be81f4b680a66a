"""Two affinities pair by pair: cosine of gradients and correlation of loss curves.

Makes: `report/figures/affinities`.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta import affinity, figures, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    left, right = affinity.read_affinity(inputs.affinity), affinity.read_affinity(inputs.losses)
    found = storage.read_json(inputs.agreement)
    upper = np.triu_indices(len(left), 1)
    figure, axes = figures.canvas(params.look)
    ax = axes[0, 0]
    x, y = np.asarray(left)[upper], np.asarray(right)[upper]
    image = ax.hexbin(x, y, gridsize=60, bins="log", cmap="mako_r", rasterized=True)
    figure.colorbar(image, ax=ax, label="pairs of tokens")
    edges = np.linspace(-0.2, 1, 13)
    middle = (edges[1:] + edges[:-1]) / 2
    place = np.digitize(x, edges) - 1
    means = [y[place == i].mean() if (place == i).sum() > 20 else np.nan for i in range(len(middle))]
    ax.plot(middle, means, "o-", color=figures.FIT, ms=3, path_effects=figures.OUTLINE,
            label=f"mean; rank correlation {figures.number(found['rank_correlation'])}, "
            f"adjusted Rand {figures.number(found['adjusted_rand'])}")  # fmt: skip
    ax.set(xlabel="cosine of gradients", ylabel="correlation of loss curves")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15))
    cells = pd.DataFrame(image.get_offsets(), columns=["cosine", "correlation"]).assign(pairs=image.get_array())
    drawn = {
        "pairs of tokens": cells[cells["pairs"] > 0],
        "mean": pd.DataFrame({"cosine": middle, "correlation": means}),
    }
    figures.save(figure, outputs, figures.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
