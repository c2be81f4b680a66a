"""Eigenvectors of the normalised angular affinity, as many as the largest number of clusters.

Makes: `qdg/embedding.npy` (token, k), `qdg/eigenvalues.npy` (k,), largest first.
"""

from typing import Any

from quanta import affinity, spectral, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    cosines = affinity.read_affinity(inputs.affinity)
    vectors, values = spectral.embedding(affinity.angular(cosines), params.largest)
    storage.write_array(outputs.embedding, vectors)
    storage.write_array(outputs.eigenvalues, values)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
