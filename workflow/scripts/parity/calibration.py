"""The exponent of parity nets, whose truth is known, by the calibration of language models and by every simpler estimator.

Makes: `parity/calibration/estimates.csv` (a row a net, condition and estimator), `coverage.csv` (how often intervals hold the
truth). The nets are the widest ones that did not diverge, at their last step; `width` says which.
"""

import json
from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.parity import estimates, learning_curves, probing, sparse_parity
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    known, qdg, chosen = json.loads(params.problem), json.loads(params.qdg), json.loads(params.calibration)
    calibrated = estimates.calibrations(qdg["samples"], known["n_tasks"], seed=params.first_seed, **chosen)
    parts = []
    for weights, curves, nets, (alpha, seed) in zip(
        inputs.weights, inputs.curves, inputs.nets, params.nets, strict=True
    ):
        width = learning_curves.widest_sound(files.read_table(nets, learning_curves.NET_COLUMNS), nets)
        snapshots = probing.read_snapshots(weights)
        last = max(snapshots)
        losses = probing.losses_at(files.read_table(curves, learning_curves.CURVE_COLUMNS), width, [last])
        parts.append(
            estimates.estimates(
                sparse_parity.ParityProblem(**known, alpha=alpha, seed=seed),
                snapshots[last],
                losses[last],
                calibrated,
                samples=qdg["samples"],
                below_bits=qdg["below_bits"],
                learned_bits=learning_curves.LEARNED_BITS,
            ).assign(width=width)
        )
    envelopes = [files.read_table(path, ("condition", "seed", "alpha", "width")) for path in inputs.envelopes]
    table = estimates.with_coverage(estimates.together(parts, pd.concat(envelopes)))
    files.write_table(outputs.estimates, table)
    files.write_table(outputs.coverage, estimates.coverage(table, calibrated))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
