"""Losses of models and steps: of some in one process, or of one on all documents or on a part of them.

Makes: float32 nats a token, NaN at the first token of each document; for each model and step that has none, or others.
"""

import logging
from pathlib import Path
from typing import Any

from quanta.corpus import encoding
from quanta.jobs import together
from quanta.jobs.job import device, run
from quanta.losses import batching, forward
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    log = logging.getLogger("quanta")
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    facts = {"precision": params.precision, "code": params.code}
    for source, target in zip(map(Path, inputs.models), map(Path, outputs.losses), strict=True):
        name = f"{source.parent.name} {source.name}"
        whole = len(target.suffixes) == 1
        part, of = (0, 1) if whole else files.part_of(target)
        key = together.key([source, inputs.tokens, inputs.offsets, inputs.beginning], facts | {"part": [part, of]})
        if whole and together.is_made([target], key):
            log.info("losses of %s are there as they would be made", name)
            continue
        values = forward.token_losses(
            pretrained.load(source, device()),
            tokens,
            batching.shard(tokens.n_documents, part, of),
            batch_tokens=params.batch_tokens,
            precision=params.precision,
            label=f"of {name}",
        )
        files.write_array(target, values)
        if whole:  # parts are removed once they are joined
            together.record([target], key)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
