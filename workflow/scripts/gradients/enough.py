"""Refuse a selection that is too small for the largest number of clusters, before its gradients are taken.

Makes: `qdg/enough.json`: both numbers.
"""

from typing import Any

from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    selected = int(files.read_json(inputs.counts)["selected"])
    selection.check_enough(selected, params.largest, params.threshold)
    files.write_json(outputs.enough, {"selected": selected, "largest_n_clusters": params.largest})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
