"""Cosine similarity of all pairs of gradients.

Makes: `qdg/affinity.npy`, float32 (token, token), symmetric, unit diagonal.
"""

from typing import Any

from quanta.affinity import cosine
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    n = len(files.read_table(inputs.selection, ("token",)))
    with files.new_array(outputs.affinity, (n, n), "float32") as out:
        cosine.cosine(cosine.read_parts(inputs.features, n), out)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
