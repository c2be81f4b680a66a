"""Nearest neighbours of every token by the cosine of gradients, exact.

Makes: `qdg/neighbours.npy`, int32 (token, neighbour), nearest first, without the token itself, and
`qdg/neighbour_cosines.npy`, float32, their cosines.
"""

from typing import Any

import numpy as np
from quanta import neighbours, storage
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    features = storage.read_array(inputs.features, dtype="float32", shape=(None, None))
    index, cosine = neighbours.nearest(features, params.neighbours, device=device())
    storage.write_array(outputs.neighbours, index.astype(np.int32))
    storage.write_array(outputs.cosines, cosine)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
