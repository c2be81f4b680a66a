"""Count and hash the weights of every model and step, and compare their tokenizers.

Makes: `models/family.csv`: model, step, non_embedding_parameters, revision, sha256, seed, optimiser_step, commit, by
size and step. Equal weights under two names are refused, and tokenizers that differ between models or steps.
"""

import json
from typing import Any

from quanta.corpus import vocabulary
from quanta.jobs.job import run
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    vocabulary.check_alike(inputs.folders)
    members = [m | {"folder": folder} for m, folder in zip(json.loads(params.members), inputs.folders, strict=True)]
    for member, path in zip(members, inputs.pins, strict=False):  # no pins where nothing came from the hub
        pin = files.read_json(path)
        member |= {"commit": pin["commit"], "revision": pin["revision"]}
    files.write_table(outputs.table, pretrained.family_table(members))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
