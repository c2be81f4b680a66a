"""Summaries of simulated planted quanta, one share of them, of as many tokens as were selected and `tokens` allows.

Those of the default settings come with the project (`quanta.calibration.shipped`); a few are made anew to see that they are the same.

Makes: `calibration/simulations.part{shard}of{shards}.parquet`: what was planted (`planted_…`) and the summaries.
"""

from typing import Any

from quanta.calibration import shipped
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    part, of = files.part_of(outputs.simulations)
    numbers = range(part, params.simulations, of)
    tokens = min(params.tokens, int(files.read_json(inputs.counts)["selected"]))
    table = shipped.simulate(numbers, params.simulations, tokens, seed=params.seed)
    files.write_table(outputs.simulations, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
