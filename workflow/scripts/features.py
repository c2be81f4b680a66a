"""Join the parts of the gradient features.

Makes: `qdg/features.npy`, float32 (token, feature), not normalised.
"""

from typing import Any

from quanta import affinity, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    parts = affinity.read_parts(inputs.parts, len(storage.read_table(inputs.selection, ("token",))))
    shape = (sum(map(len, parts)), parts[0].shape[1])
    with storage.new_array(outputs.features, shape, "float32") as out:
        begin = 0
        for part in parts:
            out[begin : begin + len(part)] = part
            begin += len(part)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
