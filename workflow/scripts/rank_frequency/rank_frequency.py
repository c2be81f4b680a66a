"""Cluster sizes by rank for every number of clusters, their envelope and its slope.

Makes: `qdg/rank_frequency.csv` (n_clusters, rank, size; the envelope has n_clusters = 0) and `qdg/fits.json`.
"""

from typing import Any

from quanta.clustering import assignment, membership
from quanta.corpus import resampling
from quanta.jobs.job import run
from quanta.rank_frequency import zipf
from quanta.storage import files

SEEDS = 6  # of k-means, the run's own included, over which the power law of cluster sizes is told


def main(inputs: Any, outputs: Any, params: Any) -> None:
    chosen = files.read_table(inputs.selection, ("token", "document", "token_id"))
    identity = chosen["token_id"].to_numpy()
    n_documents = len(files.read_array(inputs.offsets, dtype="int64", shape=(None,))) - 1
    text = resampling.texts_of_documents(inputs.documents, n_documents)
    labels = membership.read_labels(inputs.labels, len(identity))
    files.write_table(outputs.table, zipf.rank_frequency(labels))
    how = assignment.Assignment.of(params)
    vectors = files.read_array(inputs.embedding, dtype="float64", shape=(None, None), finite=True)
    fits = zipf.fit_envelope(
        labels,
        identity,
        tuple(params.rank_shares),
        draws=params.draws,
        seed=params.seed,
        show=params.show,
        groups=text[chosen["document"].to_numpy()],
        again=[]
        if how.seedless
        else [how(vectors, [params.show], seed=params.seed + other)[params.show] for other in range(1, SEEDS)],
    )
    if inputs.calibration:  # of the paper's clustering alone
        calibrated = files.read_json(inputs.calibration)
        names = {"calibrated_alpha": "alpha", "alpha_by_collisions": "alpha_by_collisions", "coverage": "coverage"}
        fits |= {name: calibrated[key] for name, key in names.items()}
    files.write_json(outputs.fits, fits)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
