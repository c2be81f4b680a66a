"""Mean loss of every model and step, and its fit against non-embedding parameters.

Makes: `scaling/mean_loss.csv`, and `scaling/fits.json` with and without an irreducible term, intervals by bootstrap over
texts and, where sizes have several seeds, over these.
"""

import json
from typing import Any

import numpy as np
from quanta.corpus import encoding, resampling
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.models.family import FAMILY_COLUMNS
from quanta.scaling import mean_loss
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    family = files.read_table(inputs.family, FAMILY_COLUMNS)
    sums: dict[tuple[str, int], Any] = {}
    for (model, step), path in zip(json.loads(params.members), inputs.losses, strict=True):
        table = stored.by_document(stored.read_losses(path, tokens), tokens)
        sums[model, step] = table["loss_sum_nats"].to_numpy()
    counts = table["n_predictions"].to_numpy()
    family["mean_loss_nats"] = [
        sums[model, step].sum() / counts.sum() for model, step in zip(family["model"], family["step"], strict=True)
    ]
    family["n_predictions"] = counts.sum()
    columns = ["model", "step", "non_embedding_parameters", "mean_loss_nats", "n_predictions"]
    files.write_table(outputs.table, family[columns])

    final = family[family["step"] == params.final_step]
    fits = mean_loss.fit_mean_loss(
        final["model"].tolist(),
        final["non_embedding_parameters"].to_numpy(),
        np.stack([sums[model, params.final_step] for model in final["model"]]),
        counts,
        left_out=params.leave_out,
        draws=params.draws,
        seed=params.seed,
        groups=resampling.texts_of_documents(inputs.documents, tokens.n_documents),
    )
    files.write_json(outputs.fits, fits)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
