"""Eigenvectors of the normalised angular affinity without its matrix: from the features and a graph of neighbours.

Makes: `qdg/embedding.npy` (token, k), `qdg/eigenvalues.npy` (k,), largest first.
"""

from typing import Any

from quanta.affinity import cosine as affinity_cosine
from quanta.clustering import neighbours
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    features = files.read_array(inputs.features, dtype="float32", shape=(None, None))
    index = files.read_array(inputs.neighbours, dtype="int32", shape=(len(features), None), memory_map=False)
    cosine = files.read_array(inputs.cosines, dtype="float32", shape=index.shape, memory_map=False)
    graph = neighbours.graph(index, cosine, linear=True)
    unit = affinity_cosine.unit_rows(features)
    vectors, values, _ = neighbours.embedding(graph, params.largest, unit=unit, seed=params.seed)
    files.write_array(outputs.embedding, vectors)
    files.write_array(outputs.eigenvalues, values)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
