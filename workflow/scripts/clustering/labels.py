"""Cluster labels for every number of clusters, from one embedding; by average linkage from the affinity itself.

Makes: `qdg/labels.parquet`: n_clusters, token, label; label 0 is the largest cluster.
"""

from typing import Any

from quanta.affinity import cosine
from quanta.clustering import assignment, main_line, membership
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    largest, how = max(params.n_clusters), assignment.Assignment.of(params)
    if how.seedless:
        cosines = cosine.read_affinity(inputs.affinity[0])
        files.write_table(
            outputs.labels, membership.as_table(main_line.cluster_like_data(cosines, params.n_clusters, how, seed=0))
        )
        return
    vectors = files.read_array(inputs.embedding, dtype="float64", shape=(None, largest), memory_map=False, finite=True)
    files.write_table(outputs.labels, membership.as_table(how(vectors, params.n_clusters, seed=params.seed)))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
