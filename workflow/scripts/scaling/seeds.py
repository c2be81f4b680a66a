"""How far the mean losses of one size lie apart between seeds, at the final step.

Makes: `scaling/seeds.csv`: non_embedding_parameters, n_seeds, mean_loss_nats, standard_deviation_nats.
"""

from typing import Any

from quanta.jobs.job import run
from quanta.models.family import FAMILY_COLUMNS
from quanta.scaling.recurrence import between_seeds
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    mean_loss = files.read_table(inputs.mean_loss, ("model", "step", "mean_loss_nats"))
    family = files.read_table(inputs.family, (*FAMILY_COLUMNS, "seed"))
    files.write_table(outputs.table, between_seeds(mean_loss, family, params.final_step))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
