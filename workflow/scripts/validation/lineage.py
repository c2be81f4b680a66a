"""Which clusters are found again by other models and steps, on the same tokens, beside chance and beside another seed.

Makes: `qdg/lineage.csv`, a row a cluster and relative: relative (`model/step`, or `other seed`: assigned anew on the same embedding),
n_clusters, label, size, match, match_size, tokens, score (Jaccard index), score_by_chance.
"""

import json
from typing import Any

import pandas as pd
from quanta.clustering import assignment, membership
from quanta.jobs.job import run
from quanta.storage import files
from quanta.validation import lineage


def main(inputs: Any, outputs: Any, params: Any) -> None:
    n_tokens = len(files.read_table(inputs.selection, ("token",)))
    own = membership.at(membership.read_labels(inputs.labels, n_tokens), params.show)
    largest = max(params.n_clusters)
    vectors = files.read_array(inputs.embedding, dtype="float64", shape=(n_tokens, None), finite=True)[:, :largest]
    how = assignment.Assignment.of(params)
    ks = [k for k in params.n_clusters if k <= params.show]
    others = {
        f"{model}/step{step}": membership.at(membership.read_labels(path, n_tokens), params.show)
        for (model, step), path in zip(json.loads(params.members), inputs.relatives, strict=True)
    }
    others["other seed"] = how(vectors, ks, seed=params.seed + 1)[params.show]
    tables = [
        lineage.found_again(own, labels, seed=params.seed).assign(relative=name, n_clusters=params.show)
        for name, labels in others.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    first = ["relative", "n_clusters"]
    files.write_table(outputs.table, table[[*first, *table.columns.drop(first)]])


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
