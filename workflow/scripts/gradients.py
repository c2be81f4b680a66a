"""Gradients of the selected tokens' losses, one part of them, folded to features; not normalised.

Makes: float32 (token, feature) of the part, and a record of how they were made, with the losses in nats.
"""

from pathlib import Path
from typing import Any

from quanta import corpus, gradients, losses, models, selection, shards
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    table = selection.read_selection(inputs.selection, tokens)
    part, of = Path(outputs.features).suffixes[-2].removeprefix(".part").split("of")
    rows = losses.shard(len(table), int(part), int(of))
    chosen = table.iloc[rows.start : rows.stop]
    model = models.load(inputs.model, device())
    how: Any = {key: getattr(params, key) for key in ("features", "seed", "parameters", "precision")}
    features, found = gradients.token_gradients(
        model,
        tokens,
        chosen["document"].to_numpy(),
        chosen["position"].to_numpy(),
        batch_tokens=params.batch_tokens,
        **how,
    )
    selection.check_same_losses(chosen, found, str(inputs.model))
    shards.write(outputs.features, features, found, gradients.record(model, **how))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
