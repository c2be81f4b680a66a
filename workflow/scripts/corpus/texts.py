"""Read the texts of the corpus, leave out short and repeated ones, split them with near duplicates on one side.

Makes: `corpus/texts.parquet` (source, split, text, subset), which `datasets.load_dataset("parquet", data_files=…)` reads;
`corpus/sources.json`, which says where they come from; where models are trained, `corpus/manifest.csv`, by which the
corpus is known again. Given such a manifest, only the texts that it knows are kept, with its split, and
`corpus/differences.csv` names the others.
"""

import hashlib
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
from quanta.corpus import manifests, packages, readers, splitting
from quanta.jobs.job import run
from quanta.storage import files, writing


def _origin(path: Path) -> dict[str, Any]:
    """What sources.json says of a file, or of a folder: its SHA-256 is that of its files' names and hashes."""
    if path.is_file():
        return {"file": path.name, "sha256": files.file_hash(path)}
    found = readers.files_of(path)
    named = [f"{file.relative_to(path).as_posix()} {files.file_hash(file)}\n" for file in found]
    return {"folder": path.name, "files": len(found), "sha256": hashlib.sha256("".join(named).encode()).hexdigest()}


def main(inputs: Any, outputs: Any, params: Any) -> None:
    settings = json.loads(params.corpus)
    versions = json.loads(params.versions)

    def read(path: str | Path) -> Iterator[splitting.Document]:
        chosen = settings["jsonl"]
        return readers.documents_of(path, chosen["field"], subset=chosen.get("subset"))

    if settings["source"] == "python":
        pins = {} if inputs.manifest else versions
        names = settings["python"]["distributions"]
        found = packages.find_distributions(names, pins, all_needed=not inputs.manifest)
        documents, origin = readers.python_sources(found), {"distributions": versions}
    elif settings["source"] == "hub":
        pin = files.read_json(str(inputs.pin))
        paths = [Path(str(inputs.file)) / file["path"] for file in pin["files"]]
        documents = chain.from_iterable(map(read, paths))
        origin = {key: pin[key] for key in ("repository", "revision", "commit", "files")}
    else:
        path = settings["jsonl"]["path"]
        documents = read(path)
        origin = _origin(Path(path))
    repeated = bool(inputs.manifest) or settings.get("repeated") == "keep"
    kept = splitting.distinct(documents, settings["minimum_characters"], repeated=repeated)
    if inputs.manifest:
        known = manifests.read(str(inputs.manifest))
        table, differences = manifests.agree(kept, known, versions, params.minimum_agreement)
        files.write_table(str(outputs.differences), differences)
    else:
        share = settings["heldout_share"]
        table = splitting.documents_table(
            splitting.first_held_out(kept, share, params.documents), share, params.containment
        )
    if outputs.manifest:
        files.write_table(str(outputs.manifest), manifests.of(table, versions))
    with writing.atomic(outputs.texts) as temporary:
        datasets.Dataset.from_pandas(table, preserve_index=False).to_parquet(temporary)
    counts = {str(split): len(part) for split, part in table.groupby("split")}
    files.write_json(outputs.sources, {"source": settings["source"], "texts": counts, **origin})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
