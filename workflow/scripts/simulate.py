"""Summaries of simulated planted quanta, one share of them.

Makes: `calibration/simulations.part{shard}.parquet`: what was planted (`planted_…`) and the summaries.
"""

from pathlib import Path
from typing import Any

from quanta import calibration, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    part = int(Path(outputs.simulations).suffixes[-2].removeprefix(".part"))
    numbers = range(part, params.simulations, params.shards)
    storage.write_table(outputs.simulations, calibration.simulate(numbers, params.tokens, seed=params.seed))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
