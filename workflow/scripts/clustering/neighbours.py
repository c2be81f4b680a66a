"""Nearest neighbours of every token by the cosine of gradients, exact.

Makes: `qdg/neighbours.npy`, int32 (token, neighbour), nearest first, without the token itself, and
`qdg/neighbour_cosines.npy`, float32, their cosines.
"""

from typing import Any

import numpy as np
from quanta.clustering import neighbours
from quanta.jobs.job import device, run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    features = files.read_array(inputs.features, dtype="float32", shape=(None, None))
    index, cosine = neighbours.nearest(features, params.neighbours, device=device())
    files.write_array(outputs.neighbours, index.astype(np.int32))
    files.write_array(outputs.cosines, cosine)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
