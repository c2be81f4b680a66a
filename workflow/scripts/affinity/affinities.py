"""The affinity from loss curves over sizes and steps, and how far it agrees with that of gradients.

Makes: `qdg/affinity_of_losses.npy`, float32 (token, token), of the tokens that the affinity of gradients is of, and
`qdg/affinities.json`.
"""

from typing import Any

import numpy as np
from quanta import arrays
from quanta.affinity import cosine, loss_curves
from quanta.clustering import assignment
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.storage import files
from quanta.validation import agreement as validation_agreement


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    cosines = np.asarray(cosine.read_affinity(inputs.affinity))
    chosen = chosen.iloc[arrays.evenly(len(chosen), len(cosines))]
    place = tokens.flat(chosen["document"].to_numpy(), chosen["position"].to_numpy())
    curves = np.stack([stored.read_losses(path, tokens)[place] for path in inputs.losses], axis=1)
    found = loss_curves.CHOICES["loss_curves"](loss_curves.Evidence(losses=curves))
    files.write_array(outputs.losses, found)
    how = assignment.Assignment.of(params)
    agreement = validation_agreement.agreement(cosines, found, params.show, how, seed=params.seed)
    files.write_json(outputs.agreement, agreement | {"n_members": curves.shape[1]})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
