"""The sceptic's null models, each through the functions of the main line, against the data.

Makes: `calibration/nulls.csv` (a row a model: slope of the envelope with its deviation, calibrated α, what the data are
distinguishable from) and `calibration/nulls_rank_frequency.csv` (model, rank, size). Where the affinity is of a sample of the tokens,
the data's row is of that sample too, clustered anew.
"""

from typing import Any

import numpy as np
from quanta import arrays
from quanta.affinity import cosine
from quanta.calibration import regression
from quanta.catalogue import contexts
from quanta.clustering import assignment, membership
from quanta.corpus import encoding, resampling
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.storage import files
from quanta.validation import null_comparison, null_models


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    cosines = np.asarray(cosine.read_affinity(inputs.affinity))
    labels = membership.read_labels(inputs.labels, len(chosen))
    draws = files.read_table(inputs.draws, ("draw", "kind", "slope"))
    how = assignment.Assignment.of(params)
    text = resampling.texts_of_documents(inputs.documents, tokens.n_documents)[chosen["document"].to_numpy()]
    held, ks = arrays.evenly(len(chosen), len(cosines)), params.n_clusters
    if len(held) < len(chosen):
        labels, draws, ks = null_comparison.sampled(
            cosines, len(chosen), ks, tuple(params.rank_shares), how, seed=params.seed, groups=text[held]
        )
        chosen = chosen.iloc[held]
    features = None
    if inputs.features:
        features = files.read_array(inputs.features[0], dtype="float32", shape=(None, None))
        features = features if len(held) == len(features) else features[held]
    data = null_models.Data(
        cosines,
        features,
        np.asarray(cosine.read_affinity(inputs.untrained)),
        chosen["token_id"].to_numpy(),
        contexts.bigrams(tokens, chosen["document"].to_numpy(), chosen["position"].to_numpy()),
        dimension=params.features,
        seed=params.seed,
    )
    simulations = files.read_table(inputs.simulations, ("simulation", "planted_alpha", "planted_n_tokens"))
    known, _ = regression.split(simulations, params.held_out)  # as for the data: one calibration, of known coverage
    table, curves = null_comparison.compared(
        null_models.make(data),
        cosines,
        labels,
        draws,
        regression.Calibration(known, seed=params.seed),
        how,
        n_clusters=ks,
        shares=tuple(params.rank_shares),
        n_tokens=regression.n_tokens(simulations),
        seed=params.seed,
        groups=text[held],
    )
    files.write_table(outputs.table, table)
    files.write_table(outputs.curves, curves)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
