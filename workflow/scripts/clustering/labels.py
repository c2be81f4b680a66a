"""Cluster labels for every number of clusters, from one embedding.

Makes: `qdg/labels.parquet`: n_clusters, token, label; label 0 is the largest cluster.
"""

from typing import Any

from quanta.clustering import assignment
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    largest = max(params.n_clusters)
    vectors = files.read_array(inputs.embedding, dtype="float64", shape=(None, largest), memory_map=False, finite=True)
    table = assignment.cluster(
        vectors,
        params.n_clusters,
        method=params.method,
        rows=params.rows,
        restarts=params.restarts,
        seed=params.seed,
    )
    files.write_table(outputs.labels, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
