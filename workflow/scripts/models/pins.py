"""Look at all pins together before any weights are fetched: equal weights under two names, and the room on the disk.

Of the checkpoints' files, configurations and tokenizers are fetched here, each once: what no run can use is refused by
them, before gigabytes of weights.

Makes: `models/pins.csv`: model, step, repository, revision (the one taken), commit, files, bytes.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from quanta.corpus import vocabulary
from quanta.errors import QuantaError
from quanta.jobs.job import run
from quanta.models import weights
from quanta.storage import files, hub_pins, hub_requests, hub_transfer
from quanta.storage.hub_pins import Pin


def main(inputs: Any, outputs: Any, params: Any) -> None:
    members = json.loads(params.members)
    pins = [hub_pins.pin_of(files.read_json(path)) for path in inputs.pins]
    hub_pins.check_different({f"{m} step {s}": pin for (m, s), pin in zip(members, pins, strict=True)})
    hub_pins.check_room(pins, params.store)
    patience = hub_requests.Patience(**json.loads(params.patience))
    with tempfile.TemporaryDirectory() as temporary:
        try:
            _check_small_files(pins, Path(temporary), Path(params.store), patience)
        except QuantaError as error:  # by the names of the hub
            where = error.where.replace(f"{temporary}/", "")
            raise QuantaError(where, error.found, error.expected, error.mend) from error
    rows = [
        (model, step, pin.repository, pin.revision, pin.commit, len(pin.files), pin.size)
        for (model, step), pin in zip(members, pins, strict=True)
    ]
    columns = ["model", "step", "repository", "revision", "commit", "files", "bytes"]
    files.write_table(outputs.table, pd.DataFrame(rows, columns=columns))


def _check_small_files(pins: list[Pin], temporary: Path, store: Path, patience: hub_requests.Patience) -> None:
    """Of each different pair of configuration and tokenizer: that a run can use both, and all tokenizers together.

    Raises:
        QuantaError: quantised weights, an unknown model type, token ids past the embedding, tokenizers that differ, or no
            tokenizer of the first model.
    """
    seen, folders = set(), list[Path]()
    for pin in pins:
        small = {file.path: file for file in pin.files if file.path in ("config.json", "tokenizer.json")}
        where = f"hub, {pin.repository} at {pin.revision}"
        if not seen and "tokenizer.json" not in small:
            raise QuantaError(
                where,
                "no tokenizer.json",
                "a fast tokenizer of Hugging Face, by which texts are read",
                "take another revision; or save model and tokenizer with save_pretrained and set models.source to folder",
            )
        digests = tuple(file.digest for file in small.values())
        if digests in seen:
            continue
        seen.add(digests)
        folders.append(temporary / f"{pin.repository}@{pin.revision}")
        folders[-1].mkdir(parents=True)
        for file in small.values():
            shutil.copyfile(hub_transfer.fetch_file(pin, file, store, patience), folders[-1] / file.path)
        if "config.json" in small:
            settings = files.read_json(folders[-1] / "config.json")
            weights.check_settings(settings, f"{where}, config.json")
            weights.check_type(settings, f"{where}, config.json")
            weights.check_ids_of(settings, folders[-1] / "tokenizer.json", f"{where}, config.json")
    if len(folders) > 1:
        vocabulary.check_alike(folders)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
