"""Join the parts of one model's losses and check them against the offsets.

Makes: `losses/{model}/step{step}.npy`: entry j is the prediction of token j of the corpus.
"""

from typing import Any

import numpy as np
from quanta.corpus import encoding
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    parts = [files.read_array(path, dtype="float32", shape=(None,)) for path in inputs.parts]
    values = np.concatenate(parts)
    stored.check_losses(values, tokens, range(tokens.n_documents), str(outputs.losses))
    files.write_array(outputs.losses, values)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
