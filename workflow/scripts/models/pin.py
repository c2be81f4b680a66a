"""Pin one model and step: the commit of its revision, and the files needed with their hashes.

Makes: `models/{model}/step{step}.pin.json`. What the lock file knows is taken from there, the rest is asked of the hub
and written to it.
"""

import json
from typing import Any

from quanta.jobs.job import run
from quanta.storage import files, hub_pins, hub_requests


def main(inputs: Any, outputs: Any, params: Any) -> None:
    wanted = json.loads(params.request)
    found = hub_pins.pin(
        params.lock,
        "model",
        wanted["repository"],
        wanted["revision"],
        instead=wanted["instead"],
        patience=hub_requests.Patience(**json.loads(params.patience)),
    )
    files.write_json(outputs.pin, found.as_dict())


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
