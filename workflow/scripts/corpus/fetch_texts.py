"""Fetch the text files of a data set from the hub, at a pinned commit, each checked by its hash.

Makes: `corpus/fetched/`, and `corpus/fetched.pin.json`, which says what they are and in which order they are read.
"""

import json
from typing import Any

from quanta.jobs.job import run
from quanta.storage import files, hub_pins, hub_requests, hub_transfer


def main(inputs: Any, outputs: Any, params: Any) -> None:
    wanted, patience = json.loads(params.corpus), hub_requests.Patience(**json.loads(params.patience))
    pin = hub_pins.pin(
        params.lock, "dataset", wanted["repository"], wanted["revision"], wanted["files"], patience=patience
    )
    hub_transfer.fetch(pin, params.store, outputs.folder, patience)
    files.write_json(outputs.pin, pin.as_dict())


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
