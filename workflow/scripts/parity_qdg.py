"""QDG on a parity net, held against the tasks that it was trained on.

Makes: `scores.csv` (adjusted Rand by condition and n_clusters), `tasks.csv` (recovery of each task), `pairs.csv` (cosines by
kind of pair), `envelopes.csv` (slopes of the envelope beside the truth). The shown α has all conditions, others the base.
The net is the widest that did not diverge; `width` in `scores.csv` and `envelopes.csv` says which.
"""

import json
from typing import Any

import pandas as pd
from quanta import parity, parity_qdg, parity_tables, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    problem = parity.ParityProblem(**json.loads(params.problem), alpha=params.alpha, seed=params.seed)
    qdg = json.loads(params.qdg)
    weights = parity_qdg.read_snapshots(inputs.weights)
    curves = storage.read_table(inputs.curves, parity_tables.CURVE_COLUMNS)
    width = parity_tables.widest_sound(storage.read_table(inputs.nets, parity_tables.NET_COLUMNS), inputs.nets)
    losses = parity_qdg.losses_at(curves, width, list(weights))
    asked = parity_qdg.conditions(
        list(weights), qdg["samples"], noises=qdg["noises"], sample_numbers=qdg["sample_numbers"]
    )
    found = parity_qdg.ground_truth(
        problem,
        weights,
        losses,
        asked if params.shown else asked[:1],
        n_clusters=qdg["n_clusters"],
        assignment=json.loads(params.assignment),
        below_bits=qdg["below_bits"],
        learned_bits=parity_tables.LEARNED_BITS,
        least=qdg["least_samples"],
        ranks=tuple(qdg["ranks"]),
    )
    storage.write_table(outputs.scores, found.scores.assign(width=width))
    storage.write_table(outputs.tasks, found.tasks)
    storage.write_table(outputs.pairs, found.pairs)
    storage.write_table(outputs.envelopes, pd.DataFrame(found.envelopes).assign(width=width))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
