"""Look at all pins together before anything is fetched: equal weights under two names, and the room on the disk.

Makes: `models/pins.csv`: model, step, repository, revision (the one taken), commit, files, bytes.
"""

import json
from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.storage import files, hub_pins


def main(inputs: Any, outputs: Any, params: Any) -> None:
    members = json.loads(params.members)
    pins = [hub_pins.pin_of(files.read_json(path)) for path in inputs.pins]
    hub_pins.check_different({f"{m} step {s}": pin for (m, s), pin in zip(members, pins, strict=True)})
    hub_pins.check_room(pins, params.store)
    rows = [
        (model, step, pin.repository, pin.revision, pin.commit, len(pin.files), pin.size)
        for (model, step), pin in zip(members, pins, strict=True)
    ]
    columns = ["model", "step", "repository", "revision", "commit", "files", "bytes"]
    files.write_table(outputs.table, pd.DataFrame(rows, columns=columns))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
