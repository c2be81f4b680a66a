"""Clusters of the selected tokens under another model or step: its gradients, clustered like those of qdg.model.

Makes: `qdg/relatives/{model}/step{step}.parquet`: n_clusters, token, label. Gradients are exact where
the data's are (`qdg.mode`).
"""

import tempfile
from typing import Any

import numpy as np
from quanta.affinity import cosine, exact
from quanta.clustering import assignment, membership, neighbours, spectral
from quanta.corpus import encoding
from quanta.gradients import selection, token_gradients
from quanta.jobs.job import device, run
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    model, largest = pretrained.load(inputs.model, device()), max(params.n_clusters)
    document, position = table["document"].to_numpy(), table["position"].to_numpy()
    how = {name: getattr(params, name) for name in ("parameters", "precision", "batch_tokens")}
    cosines = np.empty((0, 0) if params.neighbours else (len(table), len(table)), dtype=np.float32)
    if params.memory_bytes is not None:
        with tempfile.TemporaryDirectory() as scratch:
            exact.exact_cosines(
                model, tokens, document, position, cosines, memory_bytes=params.memory_bytes, scratch=scratch, **how
            )
    else:
        found, _ = token_gradients.token_gradients(
            model, tokens, document, position, features=params.features, seed=params.seed, **how
        )
        features = np.asarray(found)
        if not params.neighbours:
            cosine.cosine([features], cosines)
    if params.neighbours:
        graph = neighbours.graph(*neighbours.nearest(features, params.neighbours), linear=True)
        vectors, _, _ = neighbours.embedding(graph, largest, unit=neighbours.unit_rows(features), seed=params.seed)
    else:
        vectors, _ = spectral.embedding(cosine.angular(cosines), largest)
    assign = assignment.Assignment(params.method, params.rows, params.restarts)
    files.write_table(outputs.labels, membership.as_table(assign(vectors, params.n_clusters, seed=params.seed)))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
