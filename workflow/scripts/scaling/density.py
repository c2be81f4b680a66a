"""Probability density of token losses in bits for every model and step.

Makes: `scaling/density.parquet`: model, step, loss_bits (centre of the bin), density_per_bit, n_predictions.
"""

import json
from typing import Any

import pandas as pd
from quanta.corpus import encoding
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.scaling import single_tokens
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    known = tokens.predicted()
    tables = []
    for (model, step), path in zip(json.loads(params.members), inputs.losses, strict=True):
        values = stored.read_losses(path, tokens)[known]
        centres, density = single_tokens.density(values, bins=params.bins, limit_bits=params.limit_bits)
        tables.append(
            pd.DataFrame(
                {
                    "model": model,
                    "step": step,
                    "loss_bits": centres,
                    "density_per_bit": density,
                    "n_predictions": len(values),
                }
            )
        )
    files.write_table(outputs.density, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
