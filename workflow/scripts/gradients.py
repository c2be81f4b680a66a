"""Gradients of the selected tokens' losses, one part of them, folded or exact; not normalised.

Makes: float32 (token, feature) of the part.
"""

from pathlib import Path
from typing import Any

from quanta import corpus, gradients, losses, models, selection, storage
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    table = selection.read_selection(inputs.selection, tokens)
    part = int(Path(outputs.features).suffixes[-2].removeprefix(".part"))
    rows = losses.shard(len(table), part, params.shards)
    chosen = table.iloc[rows.start : rows.stop]
    features, found = gradients.token_gradients(
        models.load(inputs.model, device()),
        tokens,
        chosen["document"].to_numpy(),
        chosen["position"].to_numpy(),
        features=params.features,
        seed=params.seed,
        batch_tokens=params.batch_tokens,
    )
    selection.check_same_losses(chosen, found, str(inputs.model))
    storage.write_array(outputs.features, features)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
