"""Cosine similarity of gradients among a sample of the tokens: what needs all pairs is made from these.

Makes: `qdg/affinity_sample.npy`, float32 (held, held), of so many tokens as `tokens` says, evenly spread.
"""

from typing import Any

import numpy as np
from quanta import affinity, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    features = storage.read_array(inputs.features, dtype="float32", shape=(None, None))
    held = affinity.spread(len(features), params.tokens)
    with storage.new_array(outputs.affinity, (len(held), len(held)), "float32") as out:
        affinity.cosine([np.asarray(features[held])], out)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
