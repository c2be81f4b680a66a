"""Compare the tokenizers of the family before any losses: two vocabularies of like size would give plausible wrong ones.

Makes: `models/tokenizers.json`: how many models were compared, which have no tokenizer.json and are taken on trust, and a
sentence for each that looks like a chat model.
"""

import json
import logging
from pathlib import Path
from typing import Any

from quanta.corpus import vocabulary
from quanta.jobs.job import run
from quanta.models import weights
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    folders = [str(folder) for folder in inputs.folders]
    without = vocabulary.check_alike(folders)
    if without:
        logging.getLogger("quanta").warning(
            "no tokenizer.json; the family's tokenizer is taken to be theirs: %s", ", ".join(without)
        )
    named = list(zip(json.loads(params.named), folders, strict=True))
    signs = {one[0]: weights.chat_sign(Path(folder), *one) for one, folder in named}
    chat = [weights.of_chat(model, sign) for model, sign in signs.items() if sign]
    for line in chat:
        logging.getLogger("quanta").warning(line)
    files.write_json(outputs.compared, {"compared": len(folders) - len(without), "without": without, "chat": chat})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
