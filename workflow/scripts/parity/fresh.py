"""Train nets of all widths on sparse parity with new samples at every step, as one batch.

Makes: `curves.parquet` (held-out loss of every task over steps), `nets.csv` (with the precision of the products), and
`widest.npz`: weights of the widest net that did not diverge at a tenth, three tenths and the end of training, as
`step{step}.{name}`. A job that was killed goes on from its checkpoint.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quanta import devices
from quanta.jobs.job import device, run
from quanta.parity import learning_curves, networks, sparse_parity
from quanta.parity import training as parity_training
from quanta.storage import files, training_state, writing


def main(inputs: Any, outputs: Any, params: Any) -> None:
    problem = sparse_parity.ParityProblem(**json.loads(params.problem), alpha=params.alpha, seed=params.seed)
    where = torch.device(device())
    training = json.loads(params.training)
    settled = devices.settle_precision(training.pop("precision"), where.type)
    settings = parity_training.TrainingSettings(steps=params.steps, precision=settled, **training)
    widths = sorted(params.widths)
    sparse_parity.check_widths(widths)
    need = parity_training.estimated_bytes(problem, widths, params.batch_size, settings, device=where.type)
    parity_training.check_memory(need, devices.free_bytes(where))
    nets = networks.Nets(problem, widths, where)
    everything = [params.problem, params.training, widths, params.steps, params.batch_size, params.alpha, params.seed]
    key = training_state.key(*everything, params.code, str(where), settled)
    checkpoint = parity_training.Checkpoint(Path(params.checkpoint), key)
    snapshots = sorted({max(params.steps // 10, 1), max(3 * params.steps // 10, 1), params.steps})
    curves, saved = parity_training.train(
        nets,
        sparse_parity.FreshSamples(problem, params.batch_size, where),
        settings,
        label=f"parity, α = {params.alpha:g}",
        checkpoint=checkpoint,
        snapshots=snapshots,
    )
    keys: Any = {"sweep": "fresh", "alpha": params.alpha, "seed": params.seed}
    parameters = [nets.parameters_of(width) for width in widths]
    files.write_table(outputs.curves, learning_curves.curve_table(curves, widths, **keys))
    files.write_table(outputs.nets, learning_curves.net_table(curves, widths, parameters, precision=settled, **keys))
    with writing.atomic(outputs.weights) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **{f"step{step}.{name}": array for step, net in saved.items() for name, array in net.items()})
    checkpoint.remove()


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
