"""What every cluster is, in numbers and in words: size, purity, fingerprint, and the rule over context that best tells it.

Makes: `qdg/descriptions.parquet` (a row a cluster of every n_clusters).
"""

from pathlib import Path
from typing import Any

from quanta.catalogue import composition, context_rules
from quanta.clustering import membership
from quanta.corpus import decoding, encoding, resampling, vocabulary
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    labels = membership.read_labels(inputs.labels, len(chosen))
    texts = decoding.Texts(vocabulary.load_tokenizer(Path(inputs.tokenizer).parent))
    documents = files.read_table(inputs.documents, ("document", "source"))
    text = resampling.texts_of_documents(inputs.documents, tokens.n_documents)[chosen["document"].to_numpy()]
    rules = context_rules.best_rules(labels, chosen, context_rules.conditions(chosen, tokens, texts), text)
    table = composition.content(labels, chosen, documents, texts).merge(
        rules, on=["n_clusters", "label"], validate="1:1"
    )
    files.write_table(outputs.table, table)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
