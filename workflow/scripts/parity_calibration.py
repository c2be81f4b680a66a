"""The exponent of parity nets, whose truth is known, by the calibration of language models and by every simpler estimator.

Makes: `parity/calibration/estimates.csv` (a row a net, condition and estimator), `coverage.csv` (how often intervals hold the
truth). The nets are the widest ones that did not diverge, at their last step; `width` says which.
"""

import json
from typing import Any

import pandas as pd
from quanta import parity, parity_calibration, parity_qdg, parity_tables, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    known, qdg, chosen = json.loads(params.problem), json.loads(params.qdg), json.loads(params.calibration)
    calibrated = parity_calibration.calibrations(
        qdg["samples"], known["n_tasks"] * 2 ** known["k"], seed=params.first_seed, **chosen
    )
    parts = []
    for weights, curves, nets, (alpha, seed) in zip(
        inputs.weights, inputs.curves, inputs.nets, params.nets, strict=True
    ):
        width = parity_tables.widest_sound(storage.read_table(nets, parity_tables.NET_COLUMNS), nets)
        snapshots = parity_qdg.read_snapshots(weights)
        last = max(snapshots)
        losses = parity_qdg.losses_at(storage.read_table(curves, parity_tables.CURVE_COLUMNS), width, [last])
        parts.append(
            parity_calibration.estimates(
                parity.ParityProblem(**known, alpha=alpha, seed=seed),
                snapshots[last],
                losses[last],
                calibrated,
                samples=qdg["samples"],
                below_bits=qdg["below_bits"],
                learned_bits=parity_tables.LEARNED_BITS,
            ).assign(width=width)
        )
    envelopes = [storage.read_table(path, ("condition", "seed", "alpha", "width")) for path in inputs.envelopes]
    table = parity_calibration.with_coverage(parity_calibration.together(parts, pd.concat(envelopes)))
    storage.write_table(outputs.estimates, table)
    storage.write_table(outputs.coverage, parity_calibration.coverage(table, calibrated))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
