"""Cluster sizes by rank, their envelope and its slope (the paper's figure 5); beside it the same of every null model.

Makes: `report/figures/rank_frequency`.
"""

from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from quanta.jobs.job import run
from quanta.rank_frequency import zipf
from quanta.report import drawing
from quanta.storage import files

# without those of fit and theory, and two that are too light
_COLOURS = [drawing.PALETTE[i] for i in (0, 2, 4, 5, 7, 9)]
_DASHES = ("--", ":", "-.", (0, (6, 2)), (0, (1, 3)), (0, (4, 1, 1, 1, 1, 1)), (0, (8, 3)))
DRAWS = 60  # of the theory's own sampling


def main(inputs: Any, outputs: Any, params: Any) -> None:
    table = files.read_table(inputs.table, ("n_clusters", "rank", "size"))
    fit = files.read_json(inputs.fits)["envelope_slope"]
    first, last = fit["ranks"]
    alpha = files.read_json(inputs.scaling)["alpha_n"]["value"]
    selection = files.read_table(inputs.selection, ("token_id",))
    curves = {k: part for k, part in table.groupby("n_clusters") if k != zipf.ENVELOPE}
    top = table[table["n_clusters"] == zipf.ENVELOPE]
    identity = zipf.sizes(selection["token_id"].to_numpy())
    nulls = {zipf.IDENTITY: pd.DataFrame({"rank": np.arange(1, len(identity) + 1), "size": identity})}
    for path in inputs.nulls:
        others = files.read_table(path, ("model", "rank", "size"))
        nulls |= {name: part[["rank", "size"]] for name, part in others.groupby("model") if name != "the data"}
    drawn = {f"{k} clusters": part for k, part in curves.items()} | {"envelope": top}
    drawn |= {f"null: {name}": part for name, part in nulls.items()}

    figure, axes = drawing.canvas(params.look, columns=2, ratio=1.25)
    left, right = axes[0]
    for colour, (k, part) in zip(drawing.shades(len(curves)), curves.items(), strict=True):
        name = f"{k} clusters" if k in (min(curves), max(curves)) else None
        left.plot(part["rank"], part["size"], color=colour, lw=0.7, alpha=0.8, label=name)
    for ax in (left, right):
        ax.axvspan(first, last, color=drawing.FIT, alpha=0.08, lw=0)
        ax.plot(top["rank"], top["size"], color="black", lw=1.6, label="envelope")
        drawing.log_axis(ax, "rank of cluster")
        ax.set(yscale="log", ylabel="tokens in cluster")
    for colour, dashes, (name, part) in zip(cycle(_COLOURS), cycle(_DASHES), nulls.items(), strict=False):
        right.plot(part["rank"], part["size"], color=colour, ls=dashes, lw=1.1, label=name)

    if alpha is not None and alpha > 0:
        low, middle, high = zipf.sampled_zipf(alpha, len(selection), draws=DRAWS, seed=params.seed)
        seen = np.arange(1, int((middle > 0).sum()) + 1)
        left.plot(seen, middle[: len(seen)], color=drawing.ACCENT, lw=1.1,
                  label=f"$α = α_N$, {len(selection):,} tokens, no clustering")  # fmt: skip
        left.fill_between(seen, low[: len(seen)], high[: len(seen)], color=drawing.ACCENT, alpha=0.15, lw=0)
        drawn["theory, finite tokens"] = pd.DataFrame({"rank": seen, "size": middle[: len(seen)]})
    # every line of a slope goes through the middle of the ranks that were fitted
    ranks = np.arange(first, last + 1)
    centre = np.exp(np.log(ranks).mean())
    height = np.exp(np.log(top.set_index("rank")["size"].loc[first:last]).mean())

    def line(slope: float, **look: Any) -> None:
        left.plot(ranks, height * (ranks / centre) ** slope, **look)

    line(fit["value"], color=drawing.FIT, lw=2, label=f"slope {drawing.value_with_interval(fit)}")
    for edge in fit["interval"] or ():
        line(edge, color=drawing.FIT, lw=0.7, ls=":")
    if alpha is not None:
        theory = f"theory, $−(α_N + 1)$ = {drawing.number(-alpha - 1, 3)}"
        line(-alpha - 1, color=drawing.ACCENT, lw=1.4, ls="-.", label=theory)

    ends = [(ax.get_xlim(), ax.get_ylim()) for ax in (left, right)]
    for ax, title in ((left, "clusters found"), (right, "null models")):
        ax.set(title=title, xlim=(1, max(x[1] for x, _ in ends)), ylim=(0.8, max(y[1] for _, y in ends)))
        ax.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), fontsize=7)
    table = pd.concat([part.assign(curve=name) for name, part in drawn.items()], ignore_index=True)
    drawing.save(figure, outputs, table[["curve", "rank", "size"]])


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
