"""Gradients of the selected tokens' losses, one part of them, folded to features; not normalised.

Makes: float32 (token, feature) of the part, and a record of how they were made, with the losses in nats.
"""

from typing import Any

from quanta.corpus import encoding
from quanta.gradients import selection, shards, token_gradients
from quanta.jobs.job import device, run
from quanta.losses import batching
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    rows = batching.shard(len(table), *files.part_of(outputs.features))
    chosen = table.iloc[rows.start : rows.stop]
    model = pretrained.load(inputs.model, device())
    how: Any = {key: getattr(params, key) for key in ("features", "seed", "parameters", "precision")}
    features, found = token_gradients.token_gradients(
        model,
        tokens,
        chosen["document"].to_numpy(),
        chosen["position"].to_numpy(),
        batch_tokens=params.batch_tokens,
        **how,
    )
    selection.check_same_losses(chosen, found, str(inputs.model))
    shards.write(outputs.features, features, found, token_gradients.record(model, **how))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
