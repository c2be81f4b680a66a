"""What can be taken away alone, by gradients and by noise: shares by grouping, over the step, between clusters; what is put in.

Makes: `report/figures/interventions`.
"""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from quanta.interventions import groups, halves, scores, transfer
from quanta.jobs.job import run
from quanta.report import drawing
from quanta.storage import files

WORDS = {
    groups.OTHER: "the other half",
    groups.SAME_TARGET: "same target, outside",
    scores.ELSE: "all else",
}
LOWEST = -1.5  # score that is drawn
COLOURS = {groups.OTHER: drawing.DATA, groups.SAME_TARGET: drawing.ACCENT, scores.ELSE: drawing.NULL}


def main(inputs: Any, outputs: Any, params: Any) -> None:
    shares = files.read_table(inputs.shares, ("kind", "grouping", "halving", *WORDS))
    medians = files.read_table(inputs.medians, ("kind", "grouping", "halving", "subset", "share", "median"))
    curves = files.read_table(inputs.curves, ("kind", "step_share", "role", "nats"))
    matrix = files.read_table(inputs.transfer, transfer.MATRIX)
    matrix = matrix[matrix["grouping"] == groups.CLUSTERS]
    kinds, lost = set(shares["kind"]), "share of what the half lost"
    parts: dict[str, Callable[[Any], pd.DataFrame]] = {
        "removal": lambda ax: _by_grouping(ax, shares, medians, groups.REMOVAL, "Taken away", lost)
    }
    if groups.INSERTION in kinds:
        gained = "share of what the half gained"
        parts["insertion"] = lambda ax: _by_grouping(ax, shares, medians, groups.INSERTION, "Put in", gained)
    if groups.NOISE in kinds:
        parts["noise"] = lambda ax: _by_grouping(ax, shares, medians, groups.NOISE, "Taken away by noise", lost)
        parts["both"] = lambda ax: _both_ways(ax, shares)
    if len(curves):
        parts["step"] = lambda ax: _over_step(ax, curves)
    if len(matrix):
        parts["transfer"] = lambda ax: _transfer(figure, ax, matrix)
    figure, axes = drawing.canvas(params.look, rows=-(-len(parts) // 2), columns=2, ratio=0.95)
    places = np.ravel(axes)
    found = {name: draw(ax) for (name, draw), ax in zip(parts.items(), places, strict=False)}
    for ax in places[len(parts) :]:
        ax.set_visible(False)
    if len(found["removal"]):
        places[0].legend(loc="lower right")
    some = {name: part for name, part in found.items() if len(part)}
    drawing.save(figure, outputs, drawing.panels(some or found))  # no step was reached: tables without rows


def _by_grouping(
    ax: Any, shares: pd.DataFrame, medians: pd.DataFrame, kind: str, title: str, label: str
) -> pd.DataFrame:
    """Medians with their intervals over a dot per group; a row per grouping and halving."""
    some = medians[(medians["kind"] == kind) & (medians["subset"] == "all") & medians["share"].isin(WORDS)]
    rows = list(dict.fromkeys(zip(some["grouping"], some["halving"], strict=True)))
    for y, (grouping, halving) in enumerate(rows):
        own = shares[(shares["kind"] == kind) & (shares["grouping"] == grouping) & (shares["halving"] == halving)]
        values = own[groups.OTHER].dropna().to_numpy()
        ax.plot(values, y + np.linspace(-0.12, 0.12, len(values)), ".", ms=3, color=drawing.DATA, alpha=0.35, zorder=1)
        for shift, (share, words) in zip((0.0, 0.24, 0.36), WORDS.items(), strict=True):
            for one in some[(some["grouping"] == grouping) & (some["halving"] == halving)].itertuples():
                if one.share == share:
                    ax.plot([one.low, one.high], [y + shift] * 2, "-", color=COLOURS[share], lw=1.6)
                    ax.plot(one.median, y + shift, "o", ms=3.5, color=COLOURS[share], label=words if not y else None)
    ax.set_yticks(range(len(rows)), [_row(*row) for row in rows])
    ax.set(title=title, xlabel=label, xlim=(-0.1, 1.35))
    ax.set_ylim(len(rows) + 2.4, -0.6)  # below the rows is the legend
    return some[["grouping", "halving", "share", "groups", "median", "low", "high"]]


def _row(grouping: str, halving: str) -> str:
    bare = ",\nno bigram" if halving == halves.NO_BIGRAM else ""
    return f"{groups.short(grouping)}{bare}"


def _both_ways(ax: Any, shares: pd.DataFrame) -> pd.DataFrame:
    """The scores of each cluster of the first clustering, by the gradient and by noise."""
    own = shares[(shares["halving"] == halves.DOCUMENTS) & (shares["grouping"] == groups.CLUSTERS)]
    table = own.pivot(index="group", columns="kind", values="score").reindex(columns=[groups.REMOVAL, groups.NOISE])
    table = table.dropna()
    ax.plot(table[groups.REMOVAL], table[groups.NOISE].clip(lower=LOWEST), "o", ms=3.5, color=drawing.DATA, alpha=0.6)
    for line in (ax.axhline, ax.axvline):
        line(scores.ALONE, color=drawing.NULL, lw=1, ls="--")
    ax.set(
        title=f"Both ways, {len(table)} clusters",
        xlabel="score by the gradient",
        ylabel=f"score by noise, {LOWEST:g} or more".replace("-", "−"),
    )
    return table.reset_index()


def _over_step(ax: Any, curves: pd.DataFrame) -> pd.DataFrame:
    """Median loss over the step: of the half itself, its other half, and all else."""
    words = {groups.FIRST: "the half itself", groups.OTHER: "its other half", groups.SAME_TARGET: "same target",
             groups.PANEL: "all else"}  # fmt: skip
    shades = (drawing.FIT, drawing.DATA, drawing.ACCENT, drawing.NULL)
    curves = curves[(curves["kind"] == groups.REMOVAL) & curves["role"].isin(words)]
    table = curves.groupby(["role", "step_share"], sort=False)["nats"].agg(["median", "size"]).reset_index()
    for i, (role, word) in enumerate(words.items()):
        part = table[table["role"] == role].sort_values("step_share")
        if len(part):
            ax.plot(part["step_share"], part["median"], drawing.STYLES[i], marker=drawing.marker(i), ms=4,
                    color=shades[i], label=word)  # fmt: skip
    if len(table):
        ax.set_xscale("log", base=2)
        ax.set_xticks([0.25, 0.5, 1, 2], ["1/4", "1/2", "1", "2"])
        ax.legend(loc="upper left")
    number = curves["group"].nunique()
    ax.set(title=f"Steps, {number} clusters", xlabel="share of the step", ylabel="median loss, nats more")
    return table


def _transfer(figure: Any, ax: Any, matrix: pd.DataFrame) -> pd.DataFrame:
    """The matrix, clusters of one unit side by side, then by size."""
    ax.set(title="Transfer", xlabel="cluster that is looked at", ylabel="cluster that is taken away")
    ax.grid(visible=False)
    units = transfer.units(matrix)
    order = units.sort_values(["unit", "group"])["group"].to_numpy()
    shares = transfer.wide(matrix).loc[order, order].to_numpy()
    image = ax.imshow(shares, vmin=0, vmax=1, cmap="mako_r", interpolation="nearest", aspect="auto")
    step = max(len(order) // 5, 1)
    ax.set_xticks(range(0, len(order), step), order[::step])
    ax.set_yticks(range(0, len(order), step), order[::step])
    bar = figure.colorbar(mpl.cm.ScalarMappable(image.norm, image.cmap), ax=ax, shrink=0.8)
    bar.set_label("share lost")
    return matrix[["source", "target", "share", "n"]]


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
