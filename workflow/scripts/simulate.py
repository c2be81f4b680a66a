"""Summaries of simulated planted quanta, one share of them.

Makes: `calibration/simulations.part{shard}of{shards}.parquet`: what was planted (`planted_…`) and the summaries.
"""

from pathlib import Path
from typing import Any

from quanta import calibration, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    part, of = Path(outputs.simulations).suffixes[-2].removeprefix(".part").split("of")
    numbers = range(int(part), params.simulations, int(of))
    storage.write_table(outputs.simulations, calibration.simulate(numbers, params.tokens, seed=params.seed))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
