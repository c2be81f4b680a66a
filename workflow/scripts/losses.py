"""Losses of one model and step on one part of the documents, or on all.

Makes: float32 nats a token of the part, NaN at the first token of each document. Of the whole, where a model has one part.
"""

from pathlib import Path
from typing import Any

from quanta import corpus, losses, models, storage
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    model = models.load(inputs.model, device())
    suffixes = Path(outputs.losses).suffixes
    part = int(suffixes[-2].removeprefix(".part")) if len(suffixes) > 1 else 0
    documents = losses.shard(tokens.n_documents, part, params.shards)
    folder = Path(inputs.model)
    values = losses.token_losses(
        model,
        tokens,
        documents,
        batch_tokens=params.batch_tokens,
        precision=params.precision,
        label=f"of {folder.parent.name} {folder.name}",
    )
    storage.write_array(outputs.losses, values)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
