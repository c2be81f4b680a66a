"""What models read before each document: a beginning-of-text token, if their tokenizer puts one there, or nothing.

Makes: `corpus/beginning.json`: ids, tokens (as the tokenizer spells them), why.
"""

import logging
from typing import Any

from quanta.corpus import vocabulary
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    ids, why, tokens = [], "models that are trained here have none", []
    if inputs.model:
        folder = str(inputs.model[0] if isinstance(inputs.model, list) else inputs.model)
        ids, why = vocabulary.beginning_of(folder, params.beginning)
        tokenizer = vocabulary.load_tokenizer(folder)
        tokens = [tokenizer.id_to_token(token) for token in ids]
    logging.getLogger("quanta").info("before each document: %s (%s)", " ".join(tokens) or "nothing", why)
    files.write_json(outputs.beginning, {"ids": ids, "tokens": tokens, "why": why})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
