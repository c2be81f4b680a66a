"""Exponents in parameters, steps and data beside the theory's, steps to convergence, emergence.

Makes: `parity/fits.json`, `parity/points.csv` (mean loss along each resource), `parity/emergence.csv` (each task's drop),
`parity/exponents.csv` and `parity/convergence.csv` (exponents and steps to convergence as tables).
"""

import json
from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.parity import convergence, exponents, learning_curves
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    fit = json.loads(params.fit)
    curves = [files.read_table(path, learning_curves.CURVE_COLUMNS) for path in inputs.curves]
    nets = [files.read_table(path, learning_curves.NET_COLUMNS) for path in inputs.nets]
    fits, points, emergence = exponents.fit_all(
        pd.concat(curves, ignore_index=True),
        pd.concat(nets, ignore_index=True),
        loss_range=tuple(fit["loss_range_bits"]),
        step_range=tuple(fit["steps_range"]) if fit["steps_range"] else None,
        draws=fit["bootstrap"],
        seed=params.seed,
    )
    files.write_json(outputs.fits, fits)
    files.write_table(outputs.exponents, exponents.exponent_table(fits))
    files.write_table(outputs.convergence, convergence.convergence_table(fits))
    files.write_table(outputs.points, points)
    files.write_table(outputs.emergence, emergence)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
