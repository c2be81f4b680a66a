"""Refuse a selection that is too small for the largest number of clusters, before its gradients are taken.

Makes: `qdg/enough.json`: both numbers.
"""

from typing import Any

from quanta import selection, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    selected = int(storage.read_json(inputs.counts)["selected"])
    selection.check_enough(selected, params.largest, params.threshold)
    storage.write_json(outputs.enough, {"selected": selected, "largest_n_clusters": params.largest})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
