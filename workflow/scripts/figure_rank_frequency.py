"""Cluster sizes by rank for every number of clusters, the envelope and its slope (the paper's figure 5).

Makes: `report/figures/rank_frequency`.
"""

from typing import Any

import numpy as np
from quanta import figures, storage, zipf
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = storage.read_table(inputs.table, ("n_clusters", "rank", "size"))
    fits = storage.read_json(inputs.fits)
    alpha = storage.read_json(inputs.scaling)["alpha_n"]["value"]
    identity = zipf.sizes(storage.read_table(inputs.selection, ("token_id",))["token_id"].to_numpy())
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

    fit = fits["envelope_slope"]
    first, last = fit["ranks"]
    ranks = np.arange(first, last + 1)
    sizes = top.set_index("rank")["size"]
    middle = np.exp(np.log(sizes.loc[first:last]).mean()) / np.exp(np.log(ranks).mean()) ** fit["value"]
    ax.axvspan(first, last, color=figures.FIT, alpha=0.08, lw=0)
    ax.plot(ranks, middle * ranks ** fit["value"], color=figures.FIT, lw=2,
            label=f"slope {figures.value_with_interval(fit)}, ranks {first} to {last}")  # fmt: skip
    theory = middle * np.exp(np.log(ranks).mean()) ** (fit["value"] + alpha + 1) * ranks ** (-alpha - 1.0)
    ax.plot(ranks, theory, color=figures.ACCENT, lw=1.4, ls="-.", label=f"theory, −(α_N + 1) = {-alpha - 1:.3f}")
    figures.log_axis(ax, "rank of cluster")
    ax.set(yscale="log", ylabel="tokens in cluster", ylim=(0.8, None))
    ax.legend()
    figures.save(figure, outputs)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
