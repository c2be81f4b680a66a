"""Clusters with some of their tokens in context, their targets marked (the paper's figure 1).

Makes: `report/figures/clusters`. First those that the reader has named, then those whose description holds best on documents
that it was not found on, each with another target.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from quanta.arrays import evenly
from quanta.catalogue import contexts, naming
from quanta.clustering import membership
from quanta.corpus import decoding, encoding, vocabulary
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.report import annotations, drawing

COLUMNS, ROWS, LINES = 2, 4, 5
BEFORE, TARGET, AFTER = 38, 12, 12  # characters
TITLE = 40  # characters
POINTS = 6.0
ADVANCE = 0.602  # width of a character of DejaVu Sans Mono over its size


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    label = membership.at(membership.read_labels(inputs.labels, len(chosen)), params.show)
    texts = decoding.Texts(vocabulary.load_tokenizer(Path(inputs.tokenizer).parent))
    described, names, _ = naming.read_described(inputs.described, inputs.names)
    shown = naming.striking(described, names, params.show, COLUMNS * ROWS)

    figure, axes = drawing.canvas(params.look, rows=ROWS, columns=COLUMNS, ratio=0.42)
    drawn = []
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, number in zip(axes.flat, shown, strict=False):
        inside = np.flatnonzero(label == number)
        title = names.get((params.show, number)) or naming.in_words(described, params.show, number)
        said = _cut(annotations.drawable(title), TITLE)
        ax.set_title(f"{number}: {said} ({len(inside)})", fontsize=7, parse_math=False)
        lines = inside[evenly(len(inside), LINES)]
        for line, token in enumerate(lines):
            row = chosen.iloc[token]
            found = contexts.context(tokens, texts, int(row["document"]), int(row["position"]))
            parts = {key: annotations.drawable(text) for key, text in found.items()}
            parts = {
                "before": parts["before"][-BEFORE:].rjust(BEFORE),
                "target": _cut(parts["target"].replace(" ", "␣"), TARGET),
                "after": parts["after"][:AFTER],
            }
            at, height = 0.0, 1 - (line + 0.7) / (LINES + 0.4)
            for key, text in parts.items():
                box = {"boxstyle": "square,pad=0.12", "fc": "#ffd75e", "ec": "none"} if key == "target" else None
                ax.annotate(
                    text, (0, height), xycoords="axes fraction", xytext=(at, 0), textcoords="offset points",
                    family="DejaVu Sans Mono", fontsize=POINTS, color="0.5" if key == "after" else "black", bbox=box,
                    va="center", parse_math=False,
                )  # fmt: skip
                at += (len(text) + 0.35) * ADVANCE * POINTS
            drawn.append({"n_clusters": params.show, "label": number, "title": title, "token": int(token), **found})
    columns = ["n_clusters", "label", "title", "token", "before", "target", "after"]
    drawing.save(figure, outputs, pd.DataFrame(drawn, columns=columns))


def _cut(text: str, length: int) -> str:
    """At most so many characters; an ellipsis where some are left out."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
