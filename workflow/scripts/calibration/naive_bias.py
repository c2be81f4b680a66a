"""What the paper's fit makes of planted quanta: some of the simulations, evenly spread over α, clustered like the data.

Those of the default settings come with the project (`quanta.calibration.shipped_slopes`); one is clustered anew to see that it is the same.

Makes: `calibration/naive_bias.csv`: simulation, alpha, slope, true_slope, strength.
"""

from typing import Any

from quanta.calibration import naive_slopes, regression, shipped_slopes
from quanta.clustering import assignment
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    simulations = files.read_table(inputs.simulations, ("simulation", "planted_alpha", "planted_n_tokens"))
    tokens = regression.n_tokens(simulations)
    numbers = naive_slopes.spread_over_alpha(simulations, params.clustered)
    ks = [k for k in params.n_clusters if k < tokens]
    how = assignment.Assignment.of(params)
    table = shipped_slopes.slopes(numbers, tokens, ks, tuple(params.rank_shares), how, seed=params.seed)
    files.write_table(outputs.bias, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
