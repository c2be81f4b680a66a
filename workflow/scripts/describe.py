"""What every cluster is, in numbers and in words: size, purity, fingerprint, and the rule over context that best tells it.

Makes: `qdg/descriptions.parquet` (a row a cluster of every n_clusters).
"""

from pathlib import Path
from typing import Any

from quanta import clusters, corpus, descriptions, resampling, selection, storage
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    labels = clusters.read_labels(inputs.labels, len(chosen))
    texts = corpus.Texts(corpus.load_tokenizer(Path(inputs.tokenizer).parent))
    documents = storage.read_table(inputs.documents, ("document", "source"))
    text = resampling.texts_of_documents(inputs.documents, tokens.n_documents)[chosen["document"].to_numpy()]
    rules = descriptions.describe(labels, chosen, descriptions.conditions(chosen, tokens, texts), text)
    table = clusters.table(labels, chosen, documents, texts).merge(rules, on=["n_clusters", "label"], validate="1:1")
    storage.write_table(outputs.table, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
