"""Read the texts of the corpus, leave out short and repeated ones, split them.

Makes: `corpus/texts.parquet` (source, split, text), which `datasets.load_dataset("parquet", data_files=…)` reads, and
`corpus/sources.json`, which says where they come from.
"""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
from quanta import corpus, storage, surroundings
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    settings = json.loads(params.corpus)
    versions = json.loads(params.versions)
    if settings["source"] == "python":
        found = surroundings.find_distributions(settings["python"]["distributions"], versions)
        documents, origin = corpus.python_sources(found), {"distributions": versions}
    else:
        path = settings["jsonl"]["path"]
        documents = corpus.jsonl_documents(path, settings["jsonl"]["field"])
        origin = {"file": Path(path).name, "sha256": corpus.file_hash(path)}
    kept = islice(corpus.distinct(documents, settings["minimum_characters"]), params.documents)
    table = corpus.documents_table(kept, settings["heldout_share"])
    with storage.atomic(outputs.texts) as temporary:
        datasets.Dataset.from_pandas(table, preserve_index=False).to_parquet(temporary)
    counts = {str(split): len(part) for split, part in table.groupby("split")}
    storage.write_json(outputs.sources, {"source": settings["source"], "texts": counts, **origin})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
