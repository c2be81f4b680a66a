"""Read the texts of the corpus, leave out short and repeated ones, split them with near duplicates on one side.

Makes: `corpus/texts.parquet` (source, split, text, subset), which `datasets.load_dataset("parquet", data_files=…)` reads;
`corpus/sources.json`, which says where they come from; where models are trained, `corpus/manifest.csv`, by which the
corpus is known again. Given such a manifest, only the texts that it knows are kept, with its split, and
`corpus/differences.csv` names the others.
"""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
from quanta import manifests, sources, storage, surroundings
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    settings = json.loads(params.corpus)
    versions = json.loads(params.versions)

    def read(path: str | Path) -> Iterator[sources.Document]:
        chosen = settings["jsonl"]
        return sources.documents_of(path, chosen["field"], subset=chosen.get("subset"))

    if settings["source"] == "python":
        pins = {} if inputs.manifest else versions
        names = settings["python"]["distributions"]
        found = surroundings.find_distributions(names, pins, all_needed=not inputs.manifest)
        documents, origin = sources.python_sources(found), {"distributions": versions}
    elif settings["source"] == "hub":
        pin = storage.read_json(inputs.pin[0])
        paths = [Path(str(inputs.file)) / file["path"] for file in pin["files"]]
        documents = chain.from_iterable(map(read, paths))
        origin = {key: pin[key] for key in ("repository", "revision", "commit", "files")}
    else:
        path = settings["jsonl"]["path"]
        documents = read(path)
        origin = {"file": Path(path).name, "sha256": storage.file_hash(path)}
    repeated = bool(inputs.manifest) or settings.get("repeated") == "keep"
    kept = sources.distinct(documents, settings["minimum_characters"], repeated=repeated)
    if inputs.manifest:
        known = manifests.read(str(inputs.manifest))
        table, differences = manifests.agree(kept, known, versions, params.minimum_agreement)
        storage.write_table(str(outputs.differences), differences)
    else:
        table = sources.documents_table(
            sources.first(kept, params.documents, settings["heldout_share"]),
            settings["heldout_share"],
            params.containment,
        )
    if outputs.manifest:
        storage.write_table(str(outputs.manifest), manifests.of(table, versions))
    with storage.atomic(outputs.texts) as temporary:
        datasets.Dataset.from_pandas(table, preserve_index=False).to_parquet(temporary)
    counts = {str(split): len(part) for split, part in table.groupby("split")}
    storage.write_json(outputs.sources, {"source": settings["source"], "texts": counts, **origin})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
