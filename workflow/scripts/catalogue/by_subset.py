"""From which part of the corpus each cluster's tokens are, for every number of clusters.

Makes: `qdg/subsets.csv`: n_clusters, label, subset, n_tokens.
"""

from typing import Any

from quanta.catalogue import composition
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    labels = files.read_table(inputs.labels, ("n_clusters", "token", "label"))
    chosen = files.read_table(inputs.selection, ("token", "document"))
    subsets = files.read_table(inputs.documents, ("document", "subset"))["subset"]
    files.write_table(outputs.table, composition.clusters_by_subset(labels, chosen, subsets.tolist()))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
