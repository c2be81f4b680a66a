"""Encode the texts of one split and cut them into documents.

Makes: token ids of all documents one after the other, their offsets, and the table of documents.
"""

from pathlib import Path
from typing import Any

from quanta.corpus import encoding, vocabulary
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokenizer = vocabulary.load_tokenizer(Path(inputs.tokenizer).parent)
    table = files.read_table(inputs.texts, ("source", "split", "text"))
    tokens, documents = encoding.encode(
        tokenizer,
        table[table["split"] == params.split],
        context=params.context,
        pieces=params.pieces,
        limit_documents=params.documents,
        limit_tokens=params.limit_tokens,
        spread=params.take == "spread",
        parse_special=params.special_tokens == "parse",
    )
    files.write_array(outputs.tokens, tokens.ids)
    files.write_array(outputs.offsets, tokens.offsets)
    files.write_table(outputs.documents, documents)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
