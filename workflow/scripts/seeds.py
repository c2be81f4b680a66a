"""How far the mean losses of one size lie apart between seeds, at the final step.

Makes: `scaling/seeds.csv`: non_embedding_parameters, n_seeds, mean_loss_nats, standard_deviation_nats.
"""

from typing import Any

from quanta import storage
from quanta.family import FAMILY_COLUMNS, between_seeds
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    mean_loss = storage.read_table(inputs.mean_loss, ("model", "step", "mean_loss_nats"))
    family = storage.read_table(inputs.family, (*FAMILY_COLUMNS, "seed"))
    storage.write_table(outputs.table, between_seeds(mean_loss, family, params.final_step))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
