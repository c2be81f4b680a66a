"""When each cluster is learned against how large it is, for the steps of each followed model and for sizes; and the correlations.

Makes: `report/figures/learned`. A point a cluster, with the interval of its median; the clusters that are described best are
named by their commonest token before and target.
"""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from quanta.arrays import evenly
from quanta.catalogue import naming, order_of_learning, when_learned
from quanta.clustering import membership
from quanta.corpus import decoding, encoding, vocabulary
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.models.family import FAMILY_COLUMNS
from quanta.report import annotations, drawing
from quanta.storage import files

NAMED, CANDIDATES = 9, 60
# a row of the last panel: its words, which correlation it is, and against what (None: the axis's main reference)
LINES = (
    ("size of the cluster", order_of_learning.MAIN, None),
    ("… given the target's count", order_of_learning.GIVEN_TARGET, None),
    ("… beyond the unigram", order_of_learning.MAIN, when_learned.UNIGRAM.name),
    ("count of the target", order_of_learning.BY_TARGET, None),
    ("count of the rule", order_of_learning.BY_RULE, None),
    ("null: size of target groups", order_of_learning.NULL, None),
)


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    label = membership.at(membership.read_labels(inputs.labels, len(chosen)), params.show)
    texts = decoding.Texts(vocabulary.load_tokenizer(Path(inputs.tokenizer).parent))
    described, names, _ = naming.read_described(inputs.described, inputs.names)
    table = files.read_table(inputs.table, ("n_clusters", "label", "size", "axis", "reference", "learned", "low"))
    table = table[
        (table["n_clusters"] == params.show)
        & (table["reference"] == table["axis"].map(lambda axis: order_of_learning.main_reference(axis).name))
    ]
    order = files.read_json(inputs.order)
    family = files.read_table(inputs.family, FAMILY_COLUMNS).set_index(["model", "step"])
    words = [
        f"{_short(before)[-9:]}→{_short(target)[:9]}" for before, target in naming.typical(label, chosen, tokens, texts)
    ]
    candidates = naming.striking(described, names, params.show, CANDIDATES)
    lines = json.loads(params.axes)

    rows = (len(lines) + 2) // 2
    figure, axes = drawing.canvas(params.look, rows=rows, columns=2, ratio=0.8)
    for ax in axes.flat[len(lines) + 1 :]:
        ax.set_axis_off()
    drawn = []
    for ax, (axis, members) in zip(axes.flat, lines, strict=False):
        at = [
            family.loc[tuple(member), "non_embedding_parameters"] if axis == "size" else member[1] for member in members
        ]
        at = np.maximum(np.array(at, dtype=float), 1)
        part = table[table["axis"] == axis].sort_values("label")
        size, learned = part["size"].to_numpy(), part["learned"].to_numpy()
        beyond = at.max() * (at.max() / at.min()) ** 0.06  # where clusters stand that are not learned within the axis
        found, first = np.isfinite(learned), learned <= at.min()
        few = size < order["least_tokens"]
        high = np.where(np.isfinite(part["high"]), part["high"], beyond)
        ax.vlines(size[found], part["low"].to_numpy()[found], high[found], color="0.75", lw=0.7, zorder=1)
        place = np.where(found, learned, beyond)
        for chosen_ones, marker in ((found & ~first, "o"), (first, "v"), (~found, "^")):
            for kept, face in ((~few, drawing.DATA), (few, "white")):
                own = chosen_ones & kept
                ax.plot(size[own], place[own], marker, ms=3.2, mfc=face, mec=drawing.DATA, mew=0.7, ls="", zorder=2)
        drawing.log_axis(ax, "tokens in the cluster")
        ax.set(yscale="log", ylabel="non-embedding parameters" if axis == "size" else "training step")
        ax.margins(0.08)
        ax.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        if axis == "size":
            ax.set_yticks(at, [drawing.count(value) for value in at])
            ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
        # spread over when they are learned, the ends first
        by_place = sorted(candidates, key=lambda index: -place[index])
        spread = [by_place[i] for i in evenly(len(by_place), NAMED)]
        annotations.point_labels(ax, np.stack([size, place], axis=1), {index: words[index] for index in spread})
        line = order_of_learning.line_of(order, axis)
        correlation = f": ρ = {drawing.value_with_interval(line, 2)}" if line["value"] is not None else ""
        ax.set_title(f"{axis}{correlation}", fontsize=7)
        drawn.append(part.assign(words=[words[i] for i in part["label"]]))

    ax = axes.flat[len(lines)]
    for index, (axis, _) in enumerate(lines):
        shift = (index - (len(lines) - 1) / 2) * 0.2 + 0.08
        for row, (_, question, reference) in enumerate(LINES):
            found_line = order_of_learning.line_of(order, axis, question, reference=reference)
            if found_line["value"] is None or not found_line["interval"]:
                continue
            ax.plot(found_line["interval"], [row + shift] * 2, color="0.45", lw=1, zorder=1)
            ax.plot(found_line["value"], row + shift, drawing.marker(index), ms=3.8, color=drawing.PALETTE[index % 10],
                    mec="black", mew=0.4, label=axis if row == 0 else None)  # fmt: skip
    ax.axvline(0, color="black", lw=0.7)
    for row, (name, _, _) in enumerate(LINES):
        ax.annotate(name, (-1, row - 0.42), xytext=(3, 0), textcoords="offset points", fontsize=6.5, va="center")
    ax.set(ylim=(len(LINES) - 0.4, -0.8), yticks=[])
    ax.grid(visible=False, axis="y")
    ax.set(xlim=(-1, 1), xlabel="rank correlation with when it is learned")
    ax.set_title("negative: frequent ones first", fontsize=8)
    handles, found_names = ax.get_legend_handles_labels()
    ax.legend(handles, found_names, fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.24), ncols=3,
              handletextpad=0.1, columnspacing=0.8)  # fmt: skip
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True))


def _short(text: str) -> str:
    """A token's text as it is drawn; four and more of one character are counted."""
    line = annotations.drawable(text).replace(" ", "␣")
    return re.sub(r"(.)\1{3,}", lambda found: f"{found[1]}×{len(found[0])}", line)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
