"""How each single token is learned along an axis, size or step: total fall, its largest part, monogenic, polygenic.

Makes: `scaling/tokens_by_{axis}.parquet`, one row a prediction with its flat index, and `.json` with the counts.
"""

import json
from typing import Any

import numpy as np
from quanta.corpus import encoding
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.models.family import FAMILY_COLUMNS, in_order
from quanta.scaling import single_tokens
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    family = files.read_table(inputs.family, FAMILY_COLUMNS)
    members = in_order(json.loads(params.members), family)
    paths = dict(zip(map(tuple, json.loads(params.members)), inputs.losses, strict=True))
    index = np.flatnonzero(tokens.predicted())[: params.predictions]
    curves = np.stack([stored.read_losses(paths[member], tokens)[index] for member in members])
    table, counts = single_tokens.token_curves(
        curves, above=params.above, below=params.below, drop=params.drop, share=params.share
    )
    table.insert(0, "index", index)
    files.write_table(outputs.tokens, table)
    files.write_json(outputs.counts, counts)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
