"""Print one row of the table of real models per run: what was clustered, and what the clusters are like, as Markdown.

    PYTHONPATH=workflow python docs/results/real-models/facts.py results/RUN[@N_CLUSTERS] ... > facts.md

Columns of clusters are at N_CLUSTERS, which is 100 without the sign. Mixed clusters have a mean cosine below 0.1. Medians are over clusters of six tokens or more.
"""

import sys

import numpy as np
import quanta
from quanta.results import Run

K, FEWEST, MIXED = "100", 6, 0.1
COLUMNS = (
    "run", "predictions", "mean loss, nats", "below 0.1 nats", "by induction", "clustered",
    "share in mixed clusters", "cosine within", "commonest target", "commonest bigram", "stability, halves",
    "rule on other texts: precision", "recall",
)  # fmt: skip


def clustered(run: Run) -> str:
    """The model whose gradients are clustered: its losses are those of the selected tokens."""
    places = run.corpus.offsets[run.tokens["document"]] + run.tokens["position"].to_numpy()
    for model in run.family["model"].unique():
        if np.allclose(run.losses(model)[places], run.tokens["loss_nats"]):
            return str(model)
    raise ValueError(f"{run.folder}: no model has the losses of the selected tokens")


def row(given: str) -> list[str]:
    """The facts of a run (its directory, and a number of clusters after @), in the order of COLUMNS."""
    path, _, k = given.partition("@")
    run = quanta.load(path)
    counts = run.read("qdg/selection.json")
    model = clustered(run)
    table = run.descriptions.merge(run.contexts.drop(columns="size"), on=["n_clusters", "label"])
    table = table[table["n_clusters"] == int(k or K)]
    mixed = table.loc[table["cosine_within"] < MIXED, "size"].sum() / table["size"].sum()
    large = table[table["size"] >= FEWEST]
    names = (
        "cosine_within",
        "purity_target",
        "purity_bigram",
        "stability_halves",
        "precision_held_out",
        "recall_held_out",
    )
    return [
        run.folder.name,
        f"{counts['predictions']:,}",
        f"{np.nanmean(run.losses(model)):.2f}",
        f"{counts['below_threshold'] / counts['predictions']:.1%}",
        f"{counts['by_induction'] / counts['below_threshold']:.0%}",
        f"{counts['selected']:,}",
        f"{mixed:.0%}",
        *(f"{large[name].median():.2f}" for name in names),
    ]


if __name__ == "__main__":
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for given in sys.argv[1:]:
        print("| " + " | ".join(row(given)) + " |")
