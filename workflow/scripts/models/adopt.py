"""Take one checkpoint of a given folder of models into the run: a copy, so that the run stays what it was.

A GGUF file becomes safetensors here, once.

Makes: `models/{model}/step{step}/`. A model's folder holds the checkpoint itself, or sub-folders `step{n}`; a folder
`tokenizer` beside the models is shared by all. Where the given folder has a `family.csv`, weights must have its hash.
"""

import shutil
from pathlib import Path
from typing import Any

from quanta.jobs.job import run
from quanta.models import weights


def main(inputs: Any, outputs: Any, params: Any) -> None:
    target = Path(outputs.folder)
    model, step = target.parent.name, int(target.name.removeprefix("step"))
    source = weights.checkpoint_folder(Path(params.path) / model, step, only_step=params.only_step)
    shared = Path(params.path) / "tokenizer"
    weights.check_given(source, shared if shared.is_dir() else None)
    if (packed := weights.gguf_file(source)) is not None:
        from quanta.models import gguf

        gguf.dequantise(packed, target)
        weights.check_hash(target, params.sha256)
    else:
        weights.check_hash(source, params.sha256)
        target.mkdir(parents=True)
        for pattern in weights.FILES:
            for file in source.glob(pattern):
                shutil.copyfile(file, target / file.name)
    for file in shared.glob("tokenizer*.json"):
        shutil.copyfile(file, target / file.name)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
