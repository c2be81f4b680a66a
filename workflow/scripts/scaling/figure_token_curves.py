"""Loss curves of single tokens along size or step: the sharpest and the smoothest falls (the paper's figure 4, right).

Makes: `report/figures/token_curves_{axis}`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from quanta.catalogue import contexts
from quanta.corpus import decoding, encoding, vocabulary
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.models.family import FAMILY_COLUMNS, in_order
from quanta.report import annotations, drawing
from quanta.scaling import single_tokens
from quanta.storage import files

SHOWN = 6


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    texts = decoding.Texts(vocabulary.load_tokenizer(Path(inputs.tokenizer).parent))
    family = files.read_table(inputs.family, FAMILY_COLUMNS)
    given = [tuple(member) for member in json.loads(params.members)]
    members = in_order(given, family)
    paths = dict(zip(given, inputs.losses, strict=True))
    table = files.read_table(inputs.table, ("index", "total_drop_nats", "largest_drop_share", "monogenic", "polygenic"))
    sharp, smooth = single_tokens.examples(table, tokens.ids, SHOWN, drop=params.drop)

    by_step = len({model for model, _ in members}) == 1
    sizes = family.set_index(["model", "step"])["non_embedding_parameters"]
    at = np.array([max(step, 0.5) if by_step else sizes[model, step] for model, step in members])
    all_losses = [stored.read_losses(paths[member], tokens) for member in members]
    figure, axes = drawing.canvas(params.look, columns=2, ratio=1.15)
    drawn = []
    for ax, chosen, title in zip(axes[0], (sharp, smooth), ("sharp falls", "smooth falls"), strict=True):
        for colour, marker, index in zip(drawing.PALETTE, drawing.MARKERS, chosen, strict=False):
            curve = [values[index] for values in all_losses]
            document, position = (int(part[0]) for part in tokens.place(np.array([index])))
            found = contexts.context(tokens, texts, document, position)
            label = f"{annotations.visible(found['before'][-22:])} → {annotations.visible(found['target'][:12])}"
            ax.plot(at, curve, f"{marker}-", ms=3, color=colour, label=label)
            steps = [step for _, step in members]
            drawn.append(
                pd.DataFrame(
                    {
                        "kind": title,
                        "document": document,
                        "position": position,
                        "model": [model for model, _ in members],
                        "step": steps,
                        "loss_nats": curve,
                    }
                )
            )
        drawing.log_axis(ax, "training step" if by_step else "non-embedding parameters")
        ax.set(title=title, ylim=(0, None))
        if chosen:
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=7)
        else:
            ax.annotate("none in this run", (0.5, 0.5), xycoords="axes fraction", ha="center", color="0.4")
    axes[0, 0].set_ylabel("loss of one token (nats)")
    columns = ["kind", "document", "position", "model", "step", "loss_nats"]
    drawing.save(figure, outputs, pd.concat(drawn, ignore_index=True) if drawn else pd.DataFrame(columns=columns))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
