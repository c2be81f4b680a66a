"""Cluster labels for every number of clusters, from one embedding.

Makes: `qdg/labels.parquet`: n_clusters, token, label; label 0 is the largest cluster.
"""

from typing import Any

from quanta import spectral, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    largest = max(params.n_clusters)
    vectors = storage.read_array(
        inputs.embedding, dtype="float64", shape=(None, largest), memory_map=False, finite=True
    )
    table = spectral.cluster(
        vectors,
        params.n_clusters,
        method=params.method,
        rows=params.rows,
        restarts=params.restarts,
        seed=params.seed,
    )
    storage.write_table(outputs.labels, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
