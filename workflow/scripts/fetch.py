"""Fetch one checkpoint from the hub: configuration, safetensors and tokenizer, nothing else, no code.

Makes: `models/{model}/step{step}/`. Runs where the network is; no other step touches it.
"""

from typing import Any

from quanta import models
from quanta.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    models.fetch(params.repository, params.revision, outputs.folder)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
