"""Scores of affinities and baselines on each set of known skills, at the true number of clusters.

Makes: `report/figures/known_skills`.
"""

from typing import Any

from quanta.jobs.job import run
from quanta.known_skills.affinities import BASELINE
from quanta.report import drawing
from quanta.storage import files

SHOWN = 12  # affinities per panel, the best ones; the table has all


def main(inputs: Any, outputs: Any, params: Any) -> None:
    columns = ("set", "draw", "condition", "affinity", "assignment", "factor", "truth", "adjusted_rand")
    scores = files.read_table(inputs.scores, columns)
    scores = scores[(scores["condition"] == "base") & (scores["factor"] == 1) & (scores["truth"] == "skill")]
    scores = scores.assign(set=scores["set"].str.replace(r" \d+$", "", regex=True))
    means = scores.groupby(["set", "affinity", "assignment"], as_index=False)["adjusted_rand"].mean()
    best = means.sort_values("adjusted_rand").drop_duplicates(["set", "affinity"], keep="last")
    sets = sorted(best["set"].unique())
    most = min(int(best["set"].value_counts().max()), SHOWN)
    figure, axes = drawing.canvas(params.look, rows=len(sets), ratio=0.06 + 0.035 * most)
    for ax, name in zip(axes[:, 0], sets, strict=True):
        mine = best[best["set"] == name]
        baselines = mine[mine["affinity"].str.startswith(BASELINE)]
        shown = ["cosine", BASELINE + "target", BASELINE + "bigram", *baselines["affinity"].tail(2)]
        always = mine["affinity"].isin(shown)
        rest = mine[~always].tail(most - int(always.sum()))
        mine = mine[always | mine.index.isin(rest.index)]
        names = mine["affinity"].str.removeprefix(BASELINE).tolist()
        plain = mine["affinity"].str.startswith(BASELINE)
        ax.barh(names, mine["adjusted_rand"], color=[drawing.NULL if p else drawing.DATA for p in plain], height=0.7)
        dots = mine.merge(scores, on=["set", "affinity", "assignment"], suffixes=("", "_draw"))
        ax.plot(dots["adjusted_rand_draw"], dots["affinity"].str.removeprefix(BASELINE), "k.", ms=3)
        ax.set(xlim=(min(0, float(best["adjusted_rand"].min())), 1.02), title=name)
        ax.tick_params(axis="y", labelsize=7)
    axes[-1, 0].set(xlabel="adjusted Rand index")
    drawing.save(figure, outputs, best)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
