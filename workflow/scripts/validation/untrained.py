"""Cosines of the same tokens' gradients in a model of the same shape with fresh weights: a null model.

Makes: `calibration/untrained.npy`, float32 (token, token); of so many tokens, evenly spread, as `tokens` says. Gradients
are exact where the data's are (`qdg.mode`). With a `kind`, `qdg/second/untrained.npy`: by this affinity, of all tokens.
"""

from typing import Any

import numpy as np
from quanta import arrays
from quanta.affinity import kinds, magnitude_features, under_model
from quanta.corpus import encoding
from quanta.gradients import selection, token_gradients
from quanta.jobs.job import device, run
from quanta.models import pretrained
from quanta.storage import files

SAMPLES = 256  # tokens that give the statistics of magnitudes


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    model = pretrained.fresh_weights(pretrained.load(inputs.model, device()), seed=params.seed)
    if hasattr(params, "kind"):
        files.write_array(outputs.affinity, _second(model, tokens, table, params))
        return
    table = table.iloc[arrays.evenly(len(table), params.tokens)]
    with files.new_array(outputs.affinity, (len(table), len(table)), "float32") as out:
        under_model.Making.of(params).cosines(model, tokens, table, out, label="untrained")


def _second(model: Any, tokens: Any, table: Any, params: Any) -> Any:
    where = tokens, table["document"].to_numpy(), table["position"].to_numpy()
    how: Any = {name: getattr(params, name) for name in ("parameters", "precision", "batch_tokens")}
    folded = how | {"features": params.features, "seed": params.seed, "label": "untrained"}
    chosen = kinds.kind(params.kind)
    if chosen.features == kinds.SIGNED:
        features, _ = token_gradients.token_gradients(model, *where, **folded)
    else:
        over = magnitude_features.statistics(model, *where, kind=params.kind, samples=SAMPLES, **how)
        features, _ = magnitude_features.magnitude_features(model, *where, over, kind=params.kind, **folded)
    return chosen.of_features(np.asarray(features))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
