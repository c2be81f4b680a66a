"""How far the second clustering agrees with the paper's, at each number of clusters.

Makes: `qdg/second/agreement.csv`: n_clusters, adjusted_rand.
"""

from typing import Any

from quanta.clustering import membership
from quanta.jobs.job import run
from quanta.storage import files
from quanta.validation import agreement


def main(inputs: Any, outputs: Any, params: Any) -> None:
    n = len(files.read_table(inputs.selection, ("token",)))
    first, second = (membership.read_labels(path, n) for path in (inputs.first, inputs.second))
    files.write_table(outputs.table, agreement.of_labels(first, second))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
