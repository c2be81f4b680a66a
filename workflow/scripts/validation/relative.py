"""Clusters of the selected tokens under another model or step: its gradients, clustered like those of qdg.model.

Makes: `qdg/relatives/{model}/step{step}.parquet`: n_clusters, token, label. Gradients are exact where
the data's are (`qdg.mode`).
"""

from typing import Any

import numpy as np
from quanta.affinity import cosine, under_model
from quanta.clustering import assignment, membership, neighbours, spectral
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.jobs.job import device, run
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    model, largest = pretrained.load(inputs.model, device()), max(params.n_clusters)
    making = under_model.Making.of(params)
    if params.neighbours:
        features = making.sketch(model, tokens, table)
        graph = neighbours.graph(*neighbours.nearest(features, params.neighbours), linear=True)
        vectors, _, _ = neighbours.embedding(graph, largest, unit=cosine.unit_rows(features), seed=params.seed)
    else:
        cosines = np.empty((len(table), len(table)), dtype=np.float32)
        making.cosines(model, tokens, table, cosines)
        vectors, _ = spectral.embedding(cosine.angular(cosines), largest)
    assign = assignment.Assignment.of(params)
    files.write_table(outputs.labels, membership.as_table(assign(vectors, params.n_clusters, seed=params.seed)))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
