"""The sceptic's null models, each through the functions of the main line, against the data.

Makes: `calibration/nulls.csv` (a row a model: slope of the envelope with its deviation, calibrated α, what the data are
distinguishable from) and `calibration/nulls_rank_frequency.csv` (model, rank, size). Where the affinity is of a sample of the tokens,
the data's row is of that sample too, clustered anew.
"""

from typing import Any

import numpy as np
from quanta import affinity, calibration, clusters, corpus, nulls, resampling, selection, spectral, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    cosines = np.asarray(affinity.read_affinity(inputs.affinity))
    labels = clusters.read_labels(inputs.labels, len(chosen))
    draws = storage.read_table(inputs.draws, ("draw", "kind", "slope"))
    how = spectral.Assignment(params.method, params.rows, params.restarts)
    text = resampling.texts_of_documents(inputs.documents, tokens.n_documents)[chosen["document"].to_numpy()]
    held, ks = affinity.spread(len(chosen), len(cosines)), params.n_clusters
    if len(held) < len(chosen):
        labels, draws, ks = nulls.sampled(
            cosines, len(chosen), ks, tuple(params.rank_shares), how, seed=params.seed, groups=text[held]
        )
        chosen = chosen.iloc[held]
    features = None
    if inputs.features:
        features = storage.read_array(inputs.features[0], dtype="float32", shape=(None, None))
        features = features if len(held) == len(features) else features[held]
    made = nulls.make(
        cosines,
        features,
        np.asarray(affinity.read_affinity(inputs.untrained)),
        chosen["token_id"].to_numpy(),
        nulls.bigrams(tokens, chosen["document"].to_numpy(), chosen["position"].to_numpy()),
        dimension=params.features,
        seed=params.seed,
    )
    simulations = storage.read_table(inputs.simulations, ("simulation", "planted_alpha", "planted_n_tokens"))
    known, _ = calibration.split(simulations, params.held_out)  # as for the data: one calibration, of known coverage
    table, curves = nulls.table(
        made,
        cosines,
        labels,
        draws,
        calibration.Calibration(known, seed=params.seed),
        how,
        n_clusters=ks,
        shares=tuple(params.rank_shares),
        n_tokens=calibration.n_tokens(simulations),
        seed=params.seed,
        groups=text[held],
    )
    storage.write_table(outputs.table, table)
    storage.write_table(outputs.curves, curves)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
