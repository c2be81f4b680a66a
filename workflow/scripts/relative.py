"""Clusters of the selected tokens under another model or step: its gradients, clustered like those of qdg.model.

Makes: `qdg/relatives/{model}/step{step}.parquet`: n_clusters, token, label. Gradients are sketched, in exact mode too.
"""

from typing import Any

import numpy as np
from quanta import affinity, corpus, gradients, models, neighbours, selection, spectral, storage
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    table = selection.read_selection(inputs.selection, tokens)
    features, _ = gradients.token_gradients(
        models.load(inputs.model, device()),
        tokens,
        table["document"].to_numpy(),
        table["position"].to_numpy(),
        features=params.features,
        seed=params.seed,
        parameters=params.parameters,
        precision=params.precision,
        batch_tokens=params.batch_tokens,
    )
    features = np.asarray(features)
    largest = max(params.n_clusters)
    if params.neighbours:
        graph = neighbours.graph(*neighbours.nearest(features, params.neighbours), linear=True)
        vectors, _, _ = neighbours.embedding(graph, largest, unit=neighbours.unit_rows(features), seed=params.seed)
    else:
        cosines = np.empty((len(features), len(features)), dtype=np.float32)
        affinity.cosine([features], cosines)
        vectors, _ = spectral.embedding(affinity.angular(cosines), largest)
    found = spectral.cluster(
        vectors,
        params.n_clusters,
        method=params.method,
        rows=params.rows,
        restarts=params.restarts,
        seed=params.seed,
    )
    storage.write_table(outputs.labels, found)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
