"""Cosines of the same tokens' gradients in a model of the same shape with fresh weights: a null model.

Makes: `calibration/untrained.npy`, float32 (token, token); of so many tokens, evenly spread, as `tokens` says. Gradients
are exact where the data's are (`qdg.mode`).
"""

import tempfile
from typing import Any

import numpy as np
from quanta import arrays
from quanta.affinity import cosine, exact
from quanta.corpus import encoding
from quanta.gradients import selection, token_gradients
from quanta.jobs.job import device, run
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    table = table.iloc[arrays.evenly(len(table), params.tokens)]
    model = pretrained.fresh_weights(pretrained.load(inputs.model, device()), seed=params.seed)
    document, position = table["document"].to_numpy(), table["position"].to_numpy()
    how = {name: getattr(params, name) for name in ("parameters", "precision", "batch_tokens")}
    with files.new_array(outputs.affinity, (len(table), len(table)), "float32") as out:
        if params.memory_bytes is not None:
            with tempfile.TemporaryDirectory() as scratch:
                exact.exact_cosines(
                    model, tokens, document, position, out, memory_bytes=params.memory_bytes, scratch=scratch, **how
                )
        else:
            features, _ = token_gradients.token_gradients(
                model, tokens, document, position, features=params.features, seed=params.seed, label="untrained", **how
            )
            cosine.cosine([np.asarray(features)], out)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
