"""QDG on a parity net, held against the tasks that it was trained on.

Makes: `scores.csv` (adjusted Rand by condition and n_clusters), `tasks.csv` (recovery of each task), `pairs.csv` (cosines by
kind of pair), `envelopes.csv` (slopes of the envelope beside the truth). The shown α has all conditions, others the base.
The net is the widest that did not diverge; `width` in `scores.csv` and `envelopes.csv` says which.
"""

import json
from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.parity import learning_curves, probing, recovery, sparse_parity
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    problem = sparse_parity.ParityProblem(**json.loads(params.problem), alpha=params.alpha, seed=params.seed)
    qdg = json.loads(params.qdg)
    weights = probing.read_snapshots(inputs.weights)
    curves = files.read_table(inputs.curves, learning_curves.CURVE_COLUMNS)
    width = learning_curves.widest_sound(files.read_table(inputs.nets, learning_curves.NET_COLUMNS), inputs.nets)
    losses = probing.losses_at(curves, width, list(weights))
    asked = recovery.conditions(
        list(weights), qdg["samples"], noises=qdg["noises"], sample_numbers=qdg["sample_numbers"]
    )
    found = recovery.ground_truth(
        problem,
        weights,
        losses,
        asked if params.shown else asked[:1],
        n_clusters=qdg["n_clusters"],
        assignment=json.loads(params.assignment),
        below_bits=qdg["below_bits"],
        learned_bits=learning_curves.LEARNED_BITS,
        least=qdg["least_samples"],
        ranks=tuple(qdg["ranks"]),
    )
    files.write_table(outputs.scores, found.scores.assign(width=width))
    files.write_table(outputs.tasks, found.tasks)
    files.write_table(outputs.pairs, found.pairs)
    files.write_table(outputs.envelopes, pd.DataFrame(found.envelopes).assign(width=width))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
