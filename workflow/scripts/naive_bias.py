"""What the paper's fit makes of planted quanta: some of the simulations, evenly spread over α, clustered like the data.

Makes: `calibration/naive_bias.csv`: simulation, alpha, slope, true_slope, strength.
"""

from typing import Any

import numpy as np
from quanta import calibration, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    simulations = storage.read_table(inputs.simulations, ("simulation", "planted_alpha"))
    order = simulations.sort_values("planted_alpha", kind="stable")["simulation"].to_numpy()
    numbers = order[np.linspace(0, len(order) - 1, min(params.clustered, len(order))).round().astype(int)]
    ks = [k for k in params.n_clusters if k < params.tokens]
    table = calibration.naive_slopes(numbers, params.tokens, ks, tuple(params.rank_shares), seed=params.seed)
    storage.write_table(outputs.bias, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
