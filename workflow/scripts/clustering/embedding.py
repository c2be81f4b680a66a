"""Eigenvectors of the normalised affinity (angular, or of nearest neighbours), as many as the largest number of clusters.

Makes: `qdg/embedding.npy` (token, k), `qdg/eigenvalues.npy` (k,), largest first.
"""

from typing import Any

from quanta.affinity import cosine
from quanta.clustering import graph, spectral
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    cosines = cosine.read_affinity(inputs.affinity)
    vectors, values = spectral.embedding(
        graph.weights(cosines, getattr(params, "graph", graph.ANGULAR)), params.largest
    )
    files.write_array(outputs.embedding, vectors)
    files.write_array(outputs.eigenvalues, values)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
