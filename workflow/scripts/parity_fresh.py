"""Train nets of all widths on sparse parity with new samples at every step, as one batch.

Makes: `curves.parquet` (held-out loss of every task over steps), `nets.csv`, and `widest.npz`: the widest net's weights at a
tenth, three tenths and the end of training, as `step{step}.{name}`. A job that was killed goes on from its checkpoint.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from quanta import cards, parity, parity_fits, parity_training, storage
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    problem = parity.ParityProblem(**json.loads(params.problem), alpha=params.alpha, seed=params.seed)
    settings = parity_training.TrainingSettings(steps=params.steps, **json.loads(params.training))
    where = torch.device(device())
    widths = sorted(params.widths)
    parity.check_widths(widths)
    need = parity_training.estimated_bytes(problem, widths, params.batch_size, settings, device=where.type)
    parity_training.check_memory(need, cards.free_bytes(where))
    nets = parity_training.Nets(problem, widths, where)
    snapshots = sorted({max(params.steps // 10, 1), max(3 * params.steps // 10, 1), params.steps})
    curves, saved = parity_training.train(
        nets,
        parity.FreshSamples(problem, params.batch_size, where),
        settings,
        label=f"parity, α = {params.alpha:g}",
        checkpoint=Path(params.checkpoint),
        snapshots=snapshots,
    )
    keys = {"sweep": "fresh", "alpha": params.alpha, "seed": params.seed}
    storage.write_table(outputs.curves, parity_fits.curve_table(curves, widths, **keys))
    table = pd.DataFrame(
        {
            **keys,
            "size": widths,
            "parameters": [nets.parameters_of(width) for width in widths],
            "last_step": parity_fits.last_steps(curves),
            "diverged_step": curves.diverged_step,
        }
    )
    storage.write_table(outputs.nets, table)
    with storage.atomic(outputs.weights) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **{f"step{step}.{name}": array for step, net in saved.items() for name, array in net.items()})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
