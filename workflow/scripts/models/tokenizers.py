"""Compare the tokenizers of the family before any losses: two vocabularies of like size would give plausible wrong ones.

Makes: `models/tokenizers.json`: how many models were compared, and which have no tokenizer.json and are taken on trust.
"""

import logging
from typing import Any

from quanta.corpus import vocabulary
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    folders = [str(folder) for folder in inputs.folders]
    without = vocabulary.check_alike(folders)
    if without:
        logging.getLogger("quanta").warning(
            "no tokenizer.json, so that theirs is taken to be the family's: %s", ", ".join(without)
        )
    files.write_json(outputs.compared, {"compared": len(folders) - len(without), "without": without})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
