"""The second affinity of all pairs of tokens, of the kind that the configuration names (`qdg.second`).

Makes: `qdg/second/affinity.npy`, float32 (token, token), symmetric, unit diagonal.
"""

from typing import Any

from quanta.affinity import cosine, kinds
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    n = len(files.read_table(inputs.selection, ("token",)))
    (features,) = cosine.read_parts([inputs.features], n)
    files.write_array(outputs.affinity, kinds.kind(params.kind).of_features(features))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
