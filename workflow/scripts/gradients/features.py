"""Join the parts of the gradient features, which must have been made the same way.

Makes: `qdg/features.npy`, float32 (token, feature), not normalised, and `qdg/features.json`: parameter set with its
count, number of features, seed, precision.
"""

from typing import Any

from quanta.affinity import cosine
from quanta.gradients import shards
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    parts, _, said = shards.read(inputs.parts)
    cosine.check_parts(parts, inputs.parts, len(files.read_table(inputs.selection, ("token",))))
    with files.new_array(outputs.features, (sum(map(len, parts)), parts[0].shape[1]), "float32") as out:
        begin = 0
        for part in parts:
            out[begin : begin + len(part)] = part
            begin += len(part)
    files.write_json(outputs.record, said)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
