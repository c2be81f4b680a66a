"""Mean loss of every model and step on each part of the corpus (of the Pile: Pile-CC, Github, …).

Makes: `losses/by_subset.csv`: model, step, subset, n_predictions, mean_loss_nats.
"""

import json
from typing import Any

import pandas as pd
from quanta import corpus, predictions, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    subsets = storage.read_table(inputs.documents, ("document", "subset"))["subset"]
    tables = []
    for (model, step), path in zip(json.loads(params.members), inputs.losses, strict=True):
        table = predictions.by_subset(predictions.read_losses(path, tokens), tokens, subsets.tolist())
        table.insert(0, "model", model)
        table.insert(1, "step", step)
        tables.append(table)
    storage.write_table(outputs.table, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
