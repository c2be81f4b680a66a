"""Stability, purity and splits of the clusters, one table a run.

Makes: `qdg/clusters.parquet` (a row a cluster), `qdg/tree.parquet` (parents across n_clusters), `qdg/stability.csv` (a row
a resample, with the envelope's slope), `qdg/lineage.parquet` (the largest n_clusters against the smaller ones) and
`qdg/soft_rank_frequency.csv` (rank, soft_size, hard_size: non-negative factors beside clusters).
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta import affinity, clusters, corpus, nulls, selection, soft, stability, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    source = storage.read_table(inputs.documents, ("document", "source"))["source"].to_numpy()
    table = clusters.read_labels(inputs.labels, len(chosen))
    labels = {int(k): part.sort_values("token")["label"].to_numpy() for k, part in table.groupby("n_clusters")}
    cosines = np.asarray(affinity.read_affinity(inputs.affinity))
    document, position = chosen["document"].to_numpy(), chosen["position"].to_numpy()
    scores, draws = stability.resample(cosines, labels, tuple(params.rank_shares), draws=params.draws, seed=params.seed)
    groups = {
        "target": chosen["token_id"].to_numpy(),
        "bigram": nulls.bigrams(tokens, document, position),
        "source": pd.factorize(source[document])[0],
    }
    storage.write_table(outputs.clusters, stability.describe(cosines, labels, groups, scores))
    storage.write_table(outputs.tree, stability.tree(labels))
    storage.write_table(outputs.draws, draws)
    storage.write_table(outputs.lineage, stability.across(labels))
    shares = soft.memberships(cosines, params.show)
    storage.write_table(outputs.soft, soft.rank_frequency(shares, labels[params.show]))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
