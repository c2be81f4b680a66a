"""Fetch one pinned checkpoint from the hub: configuration, safetensors and tokenizer, nothing else, no code.

Makes: `models/{model}/step{step}/`. Each file's hash is checked; what has arrived is kept for the next attempt.
"""

import json
from pathlib import Path
from typing import Any

from quanta.jobs.job import run
from quanta.models import pretrained, weights
from quanta.storage import files, hub_pins, hub_requests, hub_transfer


def main(inputs: Any, outputs: Any, params: Any) -> None:
    pin = hub_pins.pin_of(files.read_json(inputs.pin))
    patience = hub_requests.Patience(**json.loads(params.patience))
    for file in pin.files:  # what no job can use is refused before gigabytes of it are fetched
        if file.path == "config.json":
            settings = files.read_json(hub_transfer.fetch_file(pin, file, params.store, patience))
            where = f"hub, {pin.repository} at {pin.revision}, config.json"
            weights.check_settings(settings, where)
            weights.check_type(settings, where)
    hub_transfer.fetch(pin, params.store, outputs.folder, patience)
    weights.check_given(Path(outputs.folder))
    pretrained.check_parameters(outputs.folder, json.loads(params.request)["parameters"])


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
