"""QDG on a parity net: adjusted Rand against the true tasks, by n_clusters, cause, noise, N and training; estimates of α.

Makes: `report/figures/parity_recovery`.
"""

from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.parity import learning_curves
from quanta.report import drawing
from quanta.storage import files

CAUSES = ("base", "unsigned", "one pattern", "equal", "equal, unsigned", "equal, one pattern")
# estimators of α, the condition that each is shown under, how it is drawn and named
SHOWN = (
    (learning_curves.ENVELOPE, "base", "o", "envelope, −slope − 1"),
    (learning_curves.COSINES, "base", "s", "collisions by cosine"),
    (learning_curves.LANGUAGE, "base", "D", "calibrated"),
    (learning_curves.LANGUAGE, "one pattern", "^", "calibrated, one pattern"),
    (learning_curves.TASKS_LEARNED, "learned tasks, one pattern", "x", "tasks and K known"),
)
FOUND = 0.95  # adjusted Rand from which tasks are said to be found (docs/parity.md)
COLOURS = [colour for colour in drawing.PALETTE if colour != drawing.FIT]  # which is the truth's


def main(inputs: Any, outputs: Any, params: Any) -> None:
    scores = files.read_table(
        inputs.scores, ("name", "n_clusters", "adjusted_rand", "adjusted_rand_cases", "noise", "samples", "step")
    )
    estimates = files.read_table(inputs.estimates, ("alpha", "condition", "estimator", "value", "low", "high"))
    figure, axes = drawing.canvas(params.look, rows=2, columns=2, ratio=0.75)
    first, second, third, fourth = axes.flat
    looks = {
        name: {"color": colour, "marker": marker, "ms": 3.5}
        for name, colour, marker in zip(CAUSES, drawing.PALETTE, drawing.MARKERS, strict=False)
    }
    for name, look in looks.items():
        mine = scores[scores["name"] == name]
        first.plot(mine["n_clusters"], mine["adjusted_rand"], **look, label=name)
    base = scores[scores["name"] == "base"]
    first.plot(base["n_clusters"], base["adjusted_rand_cases"], ":", color="black", label="base, cases as truth")
    first.axhline(FOUND, color=drawing.NULL, lw=0.8, ls="--", label=f"{FOUND:g}, the tasks found")
    drawing.log_axis(first, "number of clusters")
    drawing.plain_ticks(first.xaxis)
    best = scores.groupby("name", sort=False)["adjusted_rand"].max()
    about = scores.drop_duplicates("name").set_index("name")
    for sampling in ("frequency", "equal, one pattern"):
        names = [n for n in best.index if n in ("base", "equal, one pattern") or n.startswith("noise")]
        names = [n for n in names if about.loc[n, "sampling"] == sampling]
        label = "base" if sampling == "frequency" else sampling
        second.plot(about.loc[names, "noise"], best[names], **looks[label], label=label)
    second.set(xlabel="noise added to unit gradients")
    for prefix, column, label, style, marker in (
        (" samples", "samples", "N", "-", "o"),
        ("step ", "step", "step", "--", "^"),
    ):
        names = [n for n in best.index if n == "base" or prefix.strip() in n.split()]
        shown = about.loc[names].assign(best=best[names]).sort_values(column)
        share = shown[column] / shown[column].max()
        colour, last = looks["base"]["color"], int(shown[column].max())
        third.plot(
            share, shown["best"], style, marker=marker, ms=3.5, color=colour, label=f"base, {label} (1 = {last})"
        )
    third.set(xlabel="share of N or of training")
    for index, (estimator, condition, marker, label) in enumerate(SHOWN):
        mine = estimates[(estimates["estimator"] == estimator) & (estimates["condition"] == condition)]
        reach = [(mine["value"] - mine["low"]).fillna(0), (mine["high"] - mine["value"]).fillna(0)]
        beside = mine["alpha"] + (index - 2) * 0.012 + mine["seed"] * 0.003  # so that intervals do not hide each other
        colour = COLOURS[index]
        fourth.errorbar(beside, mine["value"], reach, fmt=marker, color=colour, ms=4, lw=0.8, label=label)
    ends = [estimates["alpha"].min() - 0.05, estimates["alpha"].max() + 0.05]
    fourth.plot(ends, ends, color=drawing.FIT, lw=1, label="truth")
    fourth.set(xlabel="true α", ylabel="estimated α", ylim=(None, fourth.get_ylim()[1] + 0.9))  # room for the legend
    for ax in (first, second, third):
        ax.set(ylabel="adjusted Rand", ylim=(-0.05, 1.08))
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    for ax in (second, third):
        ax.legend(fontsize=7, loc="center right")
    fourth.legend(fontsize=6.5, loc="upper left", ncols=2, columnspacing=0.6, handletextpad=0.3)
    drawn = {
        "recovery": scores[["name", "n_clusters", "adjusted_rand", "adjusted_rand_cases", "noise", "samples", "step"]],
        "estimates of α": pd.concat(
            estimates[(estimates["estimator"] == estimator) & (estimates["condition"] == condition)]
            for estimator, condition, _, _ in SHOWN
        )[["alpha", "seed", "condition", "estimator", "value", "low", "high"]],
    }
    drawing.save(figure, outputs, drawing.panels(drawn))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
