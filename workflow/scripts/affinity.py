"""Cosine similarity of all pairs of gradients.

Makes: `qdg/affinity.npy`, float32 (token, token), symmetric, unit diagonal.
"""

from typing import Any

from quanta import affinity, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    n = len(storage.read_table(inputs.selection, ("token",)))
    with storage.new_array(outputs.affinity, (n, n), "float32") as out:
        affinity.cosine(affinity.read_parts(inputs.features, n), out)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
