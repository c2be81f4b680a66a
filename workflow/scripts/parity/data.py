"""Train one net on each fixed training set of the sweep in data.

Makes: `curves.parquet` (held-out loss of every task over steps) and `nets.csv` (with the precision of the products); size is
the number of training samples. A job that was killed goes on from its checkpoints, and nets that were done are not trained again.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from quanta import devices
from quanta.jobs.job import device, run
from quanta.parity import learning_curves, networks, sparse_parity
from quanta.parity import training as parity_training
from quanta.storage import files, training_state


def main(inputs: Any, outputs: Any, params: Any) -> None:
    problem = sparse_parity.ParityProblem(**json.loads(params.problem), alpha=params.alpha, seed=params.seed)
    data = json.loads(params.data)
    where = torch.device(device())
    training = json.loads(params.training)
    settled = devices.settle_precision(training.pop("precision"), where.type)
    settings = parity_training.TrainingSettings(
        steps=data["steps"], patience=data["patience"], precision=settled, **training
    )
    widths, sizes = [data["width"]], sorted(data["sizes"])
    need = parity_training.estimated_bytes(
        problem, widths, params.batch_size, settings, training_set=sizes[-1], device=where.type
    )
    parity_training.check_memory(need, devices.free_bytes(where))
    # not of the list of sizes: sets that were done stay so when others are added
    shared = [params.problem, params.training, widths, data["steps"], data["patience"], params.batch_size]
    shared += [params.alpha, params.seed, params.code, str(where), settled]
    keys: Any = {"sweep": "data", "alpha": params.alpha, "seed": params.seed}
    curves, rows, kept = [], [], []
    for size in sizes:
        nets = networks.Nets(problem, widths, where)
        kept.append(
            parity_training.Checkpoint(Path(f"{params.checkpoint}-{size}.pt"), training_state.key(size, *shared))
        )
        found, _ = parity_training.train(
            nets,
            sparse_parity.TrainingSet(problem, size, params.batch_size, where),
            settings,
            label=f"parity, α = {params.alpha:g}, {size} samples",
            checkpoint=kept[-1],
        )
        parameters = [nets.parameters_of(width) for width in widths]
        curves.append(learning_curves.curve_table(found, [size], **keys))
        rows.append(learning_curves.net_table(found, [size], parameters, precision=settled, **keys))
    files.write_table(outputs.curves, pd.concat(curves, ignore_index=True))
    files.write_table(outputs.nets, pd.concat(rows, ignore_index=True))
    for checkpoint in kept:
        checkpoint.remove()


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
