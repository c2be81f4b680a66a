"""Exponents in parameters, steps and data beside the theory's, steps to convergence, emergence.

Makes: `parity/fits.json`, `parity/points.csv` (mean loss along each resource), `parity/emergence.csv` (each task's drop),
`parity/exponents.csv` and `parity/convergence.csv` (exponents and steps to convergence as tables).
"""

import json
from typing import Any

import pandas as pd
from quanta import parity_fits, parity_tables, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    fit = json.loads(params.fit)
    curves = [storage.read_table(path, parity_tables.CURVE_COLUMNS) for path in inputs.curves]
    nets = [storage.read_table(path, parity_tables.NET_COLUMNS) for path in inputs.nets]
    fits, points, emergence = parity_fits.fit_all(
        pd.concat(curves, ignore_index=True),
        pd.concat(nets, ignore_index=True),
        loss_range=tuple(fit["loss_range_bits"]),
        step_range=tuple(fit["steps_range"]) if fit["steps_range"] else None,
        draws=fit["bootstrap"],
        seed=params.seed,
    )
    storage.write_json(outputs.fits, fits)
    storage.write_table(outputs.exponents, parity_fits.exponent_table(fits))
    storage.write_table(outputs.convergence, parity_fits.convergence_table(fits))
    storage.write_table(outputs.points, points)
    storage.write_table(outputs.emergence, emergence)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
