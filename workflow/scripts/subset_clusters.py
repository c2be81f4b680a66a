"""From which part of the corpus each cluster's tokens are, for every number of clusters.

Makes: `qdg/subsets.csv`: n_clusters, label, subset, n_tokens.
"""

from typing import Any

from quanta import predictions, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    labels = storage.read_table(inputs.labels, ("n_clusters", "token", "label"))
    chosen = storage.read_table(inputs.selection, ("token", "document"))
    subsets = storage.read_table(inputs.documents, ("document", "subset"))["subset"]
    storage.write_table(outputs.table, predictions.clusters_by_subset(labels, chosen, subsets.tolist()))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
