"""Encode the texts of one split and cut them into documents.

Makes: token ids of all documents one after the other, their offsets, and the table of documents.
"""

from pathlib import Path
from typing import Any

from quanta import corpus, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokenizer = corpus.load_tokenizer(Path(inputs.tokenizer).parent)
    table = storage.read_table(inputs.texts, ("source", "split", "text"))
    tokens, documents = corpus.encode(
        tokenizer,
        table[table["split"] == params.split],
        context=params.context,
        pieces=params.pieces,
        limit_documents=params.documents,
        limit_tokens=params.limit_tokens,
        spread=params.take == "spread",
    )
    storage.write_array(outputs.tokens, tokens.ids)
    storage.write_array(outputs.offsets, tokens.offsets)
    storage.write_table(outputs.documents, documents)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
