"""Cluster sizes by rank for every number of clusters, the envelope and its slope (the paper's figure 5).

Makes: `report/figures/rank_frequency`.
"""

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from quanta import figures, storage, zipf
from quanta.job import run

_STYLES = (":", (0, (6, 2)), (0, (1, 3)), (0, (4, 1, 1, 1)), (0, (8, 3)), (0, (3, 4)), (0, (4, 1, 1, 1, 1, 1)))
DRAWS = 60  # of the theory's own sampling


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = storage.read_table(inputs.table, ("n_clusters", "rank", "size"))
    fits = storage.read_json(inputs.fits)
    alpha = storage.read_json(inputs.scaling)["alpha_n"]["value"]
    selection = storage.read_table(inputs.selection, ("token_id",))
    identity = zipf.sizes(selection["token_id"].to_numpy())
    figure, axes = figures.canvas(params.look, ratio=0.75)
    ax = axes[0, 0]
    curves = {k: part for k, part in table.groupby("n_clusters") if k != zipf.ENVELOPE}
    for colour, (k, part) in zip(figures.shades(len(curves)), curves.items(), strict=True):
        name = f"{k} clusters" if k in (min(curves), max(curves)) else None
        ax.plot(part["rank"], part["size"], color=colour, lw=0.7, alpha=0.8, label=name)
    top = table[table["n_clusters"] == zipf.ENVELOPE]
    ax.plot(top["rank"], top["size"], color="black", lw=1.6, label="envelope")
    ax.plot(np.arange(1, len(identity) + 1), identity, color=figures.NULL, ls="--", lw=1.2,
            label="null: tokens grouped by their identity")  # fmt: skip
    drawn = [
        table.rename(columns={"n_clusters": "curve"}).assign(
            curve=table["n_clusters"].map(lambda k: f"{k} clusters" if k != zipf.ENVELOPE else "envelope")
        ),
        pd.DataFrame({"curve": "null: target identity", "rank": np.arange(1, len(identity) + 1), "size": identity}),
    ]
    for path in inputs.nulls:
        others = storage.read_table(path, ("model", "rank", "size"))
        models = others[others["model"] != "the data"].groupby("model")
        for style, (name, part) in zip(cycle(_STYLES), models, strict=False):
            ax.plot(part["rank"], part["size"], color=figures.NULL, ls=style, lw=0.9, label=f"null: {name}")
            drawn.append(part.rename(columns={"model": "curve"}).assign(curve=f"null: {name}"))
    if alpha > 0:
        low, middle, high = figures.sampled_zipf(alpha, len(selection), draws=DRAWS, seed=params.seed)
        seen = np.arange(1, int((middle > 0).sum()) + 1)
        ax.plot(seen, middle[: len(seen)], color=figures.ACCENT, lw=1.1,
                label=f"theory at {len(selection):,} tokens, $α = α_N$, no clustering")  # fmt: skip
        ax.fill_between(seen, low[: len(seen)], high[: len(seen)], color=figures.ACCENT, alpha=0.15, lw=0)
        drawn.append(pd.DataFrame({"curve": "theory, finite tokens", "rank": seen, "size": middle[: len(seen)]}))

    fit = fits["envelope_slope"]
    first, last = fit["ranks"]
    ranks = np.arange(first, last + 1)
    sizes = top.set_index("rank")["size"]
    middle = np.exp(np.log(sizes.loc[first:last]).mean()) / np.exp(np.log(ranks).mean()) ** fit["value"]
    ax.axvspan(first, last, color=figures.FIT, alpha=0.08, lw=0)
    ax.plot(ranks, middle * ranks ** fit["value"], color=figures.FIT, lw=2,
            label=f"slope {figures.value_with_interval(fit)}, ranks {first} to {last}")  # fmt: skip
    for edge in fit["interval"] or ():
        ax.plot(ranks, middle * np.exp(np.log(ranks).mean()) ** (fit["value"] - edge) * ranks**edge,
                color=figures.FIT, lw=0.7, ls=":")  # fmt: skip
    theory = middle * np.exp(np.log(ranks).mean()) ** (fit["value"] + alpha + 1) * ranks ** (-alpha - 1.0)
    name = f"theory, $−(α_N + 1)$ = {figures.number(-alpha - 1, 3)}"
    ax.plot(ranks, theory, color=figures.ACCENT, lw=1.4, ls="-.", label=name)
    figures.log_axis(ax, "rank of cluster")
    ax.set(yscale="log", ylabel="tokens in cluster", ylim=(0.8, None))
    ax.legend(fontsize=7)
    figures.save(figure, outputs, pd.concat(drawn, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
