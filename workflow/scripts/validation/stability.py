"""Stability, purity and splits of the clusters, one table a run.

Makes: `qdg/clusters.parquet` (a row a cluster), `qdg/tree.parquet` (parents across n_clusters), `qdg/stability.csv` (a row
a resample, with the envelope's slope), `qdg/lineage.parquet` (the largest n_clusters against the smaller ones) and
`qdg/soft_rank_frequency.csv` (rank, soft_size, hard_size: non-negative factors beside clusters). Where the affinity is of a sample of the
tokens, so are skill, cosine_within and the soft sizes.
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta import arrays
from quanta.affinity import cosine
from quanta.catalogue import composition, contexts
from quanta.clustering import assignment, main_line, membership, neighbours
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.storage import files
from quanta.validation import lineage, soft_factors, stability


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    source = files.read_table(inputs.documents, ("document", "source"))["source"].to_numpy()
    table = membership.read_labels(inputs.labels, len(chosen))
    labels = {int(k): part.sort_values("token")["label"].to_numpy() for k, part in table.groupby("n_clusters")}
    cosines = np.asarray(cosine.read_affinity(inputs.affinity))
    document, position = chosen["document"].to_numpy(), chosen["position"].to_numpy()
    held = arrays.evenly(len(chosen), len(cosines))
    how = assignment.Assignment.of(params)
    if inputs.features:
        features = files.read_array(inputs.features[0], dtype="float32", shape=(None, None))
        anew = neighbours.of_features(features, params.neighbours, how)
    else:
        anew = main_line.of_cosines(cosines, how)
    vectors = files.read_array(inputs.embedding, dtype="float64", shape=(None, None), finite=True)
    shares = tuple(params.rank_shares)
    text = pd.factorize(source[document])[0]
    scores, draws = stability.resample(
        anew, vectors, labels, shares, how, draws=params.draws, seed=params.seed, groups=text
    )
    groups = {
        "target": chosen["token_id"].to_numpy(),
        "bigram": contexts.bigrams(tokens, document, position),
        "source": text,
    }
    files.write_table(outputs.clusters, composition.facts(cosines, held, labels, groups, scores))
    files.write_table(outputs.tree, lineage.tree(labels))
    files.write_table(outputs.draws, draws)
    files.write_table(outputs.lineage, lineage.across(labels))
    factors = soft_factors.memberships(cosines, params.show)
    files.write_table(outputs.soft, soft_factors.rank_frequency(factors, labels[params.show][held]))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
