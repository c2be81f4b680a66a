"""Cluster sizes by rank for every number of clusters, their envelope and its slope.

Makes: `qdg/rank_frequency.csv` (n_clusters, rank, size; the envelope has n_clusters = 0) and `qdg/fits.json`.
"""

from typing import Any

from quanta import clusters, storage, zipf
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    identity = storage.read_table(inputs.selection, ("token", "token_id"))["token_id"].to_numpy()
    labels = clusters.read_labels(inputs.labels, len(identity))
    storage.write_table(outputs.table, zipf.rank_frequency(labels))
    fits = zipf.fit_envelope(
        labels, identity, tuple(params.rank_shares), draws=params.draws, seed=params.seed, show=params.show
    )
    calibrated = storage.read_json(inputs.calibration)
    names = {"calibrated_alpha": "alpha", "alpha_by_collisions": "alpha_by_collisions", "coverage": "coverage"}
    storage.write_json(outputs.fits, fits | {name: calibrated[key] for name, key in names.items()})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
