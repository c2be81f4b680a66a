"""The toy of the paper's appendix: Zipf clusters with noise, sent through the same functions.

Makes: `calibration/toy.csv`: exponent (of frequencies, α+1), noise, slope, true_slope (of the true sizes), and
alpha_collisions at the threshold half-way between the cosines within clusters and zero.
"""

from typing import Any

import pandas as pd
from quanta.calibration import toy
from quanta.clustering import assignment
from quanta.jobs.job import run
from quanta.storage import files

EXPONENTS = (1.1, 1.3, 1.5, 1.8)
NOISES = (0.3, 1.0, 2.0)


def main(inputs: Any, outputs: Any, params: Any) -> None:
    how = assignment.Assignment.of(params)
    rows = [
        toy.toy_row(params.tokens, exponent, noise, how, seed=params.seed) for exponent in EXPONENTS for noise in NOISES
    ]
    files.write_table(outputs.table, pd.DataFrame(rows))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
