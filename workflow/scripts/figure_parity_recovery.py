"""QDG on a parity net: adjusted Rand against the true tasks, by n_clusters, cause, noise, N and training; slopes.

Makes: `report/figures/parity_recovery`.
"""

from typing import Any

import pandas as pd
from quanta import figures, storage
from quanta.job import run

CAUSES = ("base", "unsigned", "one pattern", "equal", "equal, unsigned", "equal, one pattern")


def main(inputs: Any, outputs: Any, params: Any) -> None:
    scores = storage.read_table(
        inputs.scores, ("name", "n_clusters", "adjusted_rand", "adjusted_rand_cases", "noise", "samples", "step")
    )
    envelopes = pd.concat([storage.read_table(path, ("condition", "alpha")) for path in inputs.envelopes])
    figure, axes = figures.canvas(params.look, rows=2, columns=2, ratio=0.75)
    first, second, third, fourth = axes.flat
    for name, colour in zip(CAUSES, figures.PALETTE, strict=False):
        mine = scores[scores["name"] == name]
        first.plot(mine["n_clusters"], mine["adjusted_rand"], ".-", color=colour, label=name)
    base = scores[scores["name"] == "base"]
    first.plot(base["n_clusters"], base["adjusted_rand_cases"], ":", color="black", label="base, cases as truth")
    first.axhline(0.95, color=figures.NULL, lw=0.8, ls="--")
    figures.log_axis(first, "n_clusters")
    best = scores.groupby("name", sort=False)["adjusted_rand"].max()
    about = scores.drop_duplicates("name").set_index("name")
    for sampling, marker in (("frequency", "o-"), ("equal, one pattern", "s-")):
        names = [n for n in best.index if n in ("base", "equal, one pattern") or n.startswith("noise")]
        names = [n for n in names if about.loc[n, "sampling"] == sampling]
        second.plot(about.loc[names, "noise"], best[names], marker, label=sampling)
    second.set(xlabel="noise added to unit gradients", ylim=(0, 1.02))
    for prefix, column, label in ((" samples", "samples", "N"), ("step ", "step", "step")):
        names = [n for n in best.index if n == "base" or prefix.strip() in n.split()]
        shown = about.loc[names].assign(best=best[names]).sort_values(column)
        share = shown[column] / shown[column].max()
        third.plot(share, shown["best"], "o-", label=f"{label} (1 = {int(shown[column].max())})")
    third.set(xlabel="share of N or of training", ylim=(0, 1.02))
    mine = envelopes[envelopes["condition"] == "base"]
    fourth.plot(mine["true_slope"], mine["envelope_slope"], "o", label="envelope")
    fourth.plot(mine["true_slope"], mine["true_sizes_slope"], "x", color=figures.NULL, label="sizes of the true tasks")
    ends = [mine["true_slope"].min() - 0.1, mine["true_slope"].max() + 0.1]
    fourth.plot(ends, ends, color=figures.FIT, lw=1, label="−(α + 1)")
    fourth.set(xlabel="true slope −(α + 1)", ylabel="fitted slope")
    for ax in (first, second, third):
        ax.set_ylabel("adjusted Rand")
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    for ax in (second, third, fourth):
        ax.legend(fontsize=7)
    figures.save(figure, outputs)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
