"""Train one net on each fixed training set of the sweep in data.

Makes: `curves.parquet` (held-out loss of every task over steps) and `nets.csv`; size is the number of training samples. A
job that was killed goes on from its checkpoints.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from quanta import cards, parity, parity_fits, parity_training, storage
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    problem = parity.ParityProblem(**json.loads(params.problem), alpha=params.alpha, seed=params.seed)
    data = json.loads(params.data)
    settings = parity_training.TrainingSettings(
        steps=data["steps"], patience=data["patience"], **json.loads(params.training)
    )
    where = torch.device(device())
    widths, sizes = [data["width"]], sorted(data["sizes"])
    need = parity_training.estimated_bytes(
        problem, widths, params.batch_size, settings, training_set=sizes[-1], device=where.type
    )
    parity_training.check_memory(need, cards.free_bytes(where))
    keys = {"sweep": "data", "alpha": params.alpha, "seed": params.seed}
    curves, rows = [], []
    for size in sizes:
        nets = parity_training.Nets(problem, widths, where)
        found, _ = parity_training.train(
            nets,
            parity.TrainingSet(problem, size, params.batch_size, where),
            settings,
            label=f"parity, α = {params.alpha:g}, {size} samples",
            checkpoint=Path(f"{params.checkpoint}-{size}.pt"),
        )
        curves.append(parity_fits.curve_table(found, [size], **keys))
        rows.append(
            {
                **keys,
                "size": size,
                "parameters": nets.parameters_of(widths[0]),
                "last_step": parity_fits.last_steps(found)[0],
                "diverged_step": int(found.diverged_step[0]),
            }
        )
    storage.write_table(outputs.curves, pd.concat(curves, ignore_index=True))
    storage.write_table(outputs.nets, pd.DataFrame(rows))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
