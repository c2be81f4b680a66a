"""Train the byte-level BPE on the training split, or take the tokenizer that came with the models.

Makes: `corpus/tokenizer/` in Hugging Face format.
"""

import shutil
from pathlib import Path
from typing import Any

from quanta.corpus import splitting, vocabulary
from quanta.jobs.job import run
from quanta.storage import files, writing


def main(inputs: Any, outputs: Any, params: Any) -> None:
    folder = Path(outputs.tokenizer).parent
    if params.vocabulary is None:
        source = Path(inputs.model[0] if isinstance(inputs.model, list) else inputs.model)
        tokenizer = vocabulary.load_tokenizer(source)
        vocabulary.save_tokenizer(tokenizer, folder)
        given = source / "tokenizer_config.json"
        if given.is_file():
            with writing.atomic(outputs.config) as temporary:
                shutil.copyfile(given, temporary)
        return
    table = files.read_table(inputs.texts, ("split", "text"))
    texts = table.loc[table["split"] == splitting.TRAINING, "text"]
    vocabulary.save_tokenizer(vocabulary.train_tokenizer(texts, params.vocabulary), folder)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
