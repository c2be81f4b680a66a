"""Cosine similarity of gradients among a sample of the tokens: what needs all pairs is made from these.

Makes: `qdg/affinity_sample.npy`, float32 (held, held), of so many tokens as `tokens` says, evenly spread.
"""

from typing import Any

import numpy as np
from quanta import arrays
from quanta.affinity import cosine
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    features = files.read_array(inputs.features, dtype="float32", shape=(None, None))
    held = arrays.evenly(len(features), params.tokens)
    with files.new_array(outputs.affinity, (len(held), len(held)), "float32") as out:
        cosine.cosine([np.asarray(features[held])], out)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
