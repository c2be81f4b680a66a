"""The affinity from loss curves over sizes and steps, and how far it agrees with that of gradients.

Makes: `qdg/affinity_of_losses.npy`, float32 (token, token), of the tokens that the affinity of gradients is of, and
`qdg/affinities.json`.
"""

from typing import Any

import numpy as np
from quanta import affinity, corpus, predictions, selection, similarities, spectral, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    cosines = np.asarray(affinity.read_affinity(inputs.affinity))
    chosen = chosen.iloc[affinity.spread(len(chosen), len(cosines))]
    place = tokens.offsets[chosen["document"].to_numpy()] + chosen["position"].to_numpy()
    curves = np.stack([predictions.read_losses(path, tokens)[place] for path in inputs.losses], axis=1)
    found = similarities.CHOICES["loss_curves"](similarities.Evidence(losses=curves))
    storage.write_array(outputs.losses, found)
    how = spectral.Assignment(params.method, params.rows, params.restarts)
    agreement = similarities.agreement(cosines, found, params.show, how, seed=params.seed)
    storage.write_json(outputs.agreement, agreement | {"n_members": curves.shape[1]})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
