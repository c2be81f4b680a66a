"""Select the tokens that QDG clusters: low loss, not by induction, spread evenly.

Makes: `qdg/tokens.parquet` (token, document, position, token_id, loss_nats) and the counts of each step.
"""

from typing import Any

from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    values = stored.read_losses(inputs.losses[0], tokens)
    table, counts = selection.select(
        values,
        tokens,
        threshold=params.threshold,
        limit=params.tokens,
        keep_induction=params.induction == "keep",
        as_published=params.selection == "paper",
    )
    files.write_table(outputs.tokens, table)
    files.write_json(outputs.counts, counts)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
