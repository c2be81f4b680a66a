"""Join the parts of one model's losses and check them against the offsets.

Makes: `losses/{model}/step{step}.npy`: entry j is the prediction of token j of the corpus.
"""

from typing import Any

import numpy as np
from quanta import corpus, predictions, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    parts = [storage.read_array(path, dtype="float32", shape=(None,)) for path in inputs.parts]
    values = np.concatenate(parts)
    predictions.check_losses(values, tokens, range(tokens.n_documents), str(outputs.losses))
    storage.write_array(outputs.losses, values)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
