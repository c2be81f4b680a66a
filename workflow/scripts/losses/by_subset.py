"""Mean loss of every model and step on each part of the corpus (of the Pile: Pile-CC, Github, …).

Makes: `losses/by_subset.csv`: model, step, subset, n_predictions, mean_loss_nats.
"""

import json
from typing import Any

import pandas as pd
from quanta.corpus import encoding
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    subsets = files.read_table(inputs.documents, ("document", "subset"))["subset"]
    tables = []
    for (model, step), path in zip(json.loads(params.members), inputs.losses, strict=True):
        table = stored.by_subset(stored.read_losses(path, tokens), tokens, subsets.tolist())
        table.insert(0, "model", model)
        table.insert(1, "step", step)
        tables.append(table)
    files.write_table(outputs.table, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
