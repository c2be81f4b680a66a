"""Select the tokens that QDG clusters: low loss, not by induction, spread evenly.

Makes: `qdg/tokens.parquet` (token, document, position, token_id, loss_nats) and the counts of each step.
"""

from typing import Any

from quanta import corpus, predictions, selection, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    values = predictions.read_losses(inputs.losses[0], tokens)
    table, counts = selection.select(
        values,
        tokens,
        threshold=params.threshold,
        limit=params.tokens,
        keep_induction=params.induction == "keep",
        as_published=params.selection == "paper",
    )
    storage.write_table(outputs.tokens, table)
    storage.write_json(outputs.counts, counts)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
