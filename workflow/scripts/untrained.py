"""Cosines of the same tokens' gradients in a model of the same shape with fresh weights: a null model.

Makes: `calibration/untrained.npy`, float32 (token, token); of so many tokens, evenly spread, as `tokens` says.
"""

from typing import Any

import numpy as np
from quanta import affinity, corpus, gradients, models, nulls, selection, storage
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    table = selection.read_selection(inputs.selection, tokens)
    table = table.iloc[affinity.spread(len(table), params.tokens)]
    features, _ = gradients.token_gradients(
        nulls.fresh_weights(models.load(inputs.model, device()), seed=params.seed),
        tokens,
        table["document"].to_numpy(),
        table["position"].to_numpy(),
        features=params.features,
        seed=params.seed,
        parameters=params.parameters,
        precision=params.precision,
        batch_tokens=params.batch_tokens,
        label="untrained",
    )
    with storage.new_array(outputs.affinity, (len(features), len(features)), "float32") as out:
        affinity.cosine([np.asarray(features)], out)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
