"""Train one size of the ladder.

Makes: `models/{model}/step{step}/` for each saved step, with the tokenizer beside the weights, and the learning curve,
whose column `precision` says what the products were computed in.
The same tokens in the same order for every size of a seed. While it runs, its state lies under `unfinished/{model}/`: a killed
training goes on from there.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from quanta import devices
from quanta.corpus import encoding, vocabulary
from quanta.jobs.job import device, run
from quanta.models import training
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    size = json.loads(params.size)
    shared = json.loads(params.recipe)
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    tokenizer = vocabulary.load_tokenizer(Path(inputs.tokenizer).parent)
    where = device()
    settled = devices.settle_precision(size["precision"], where)
    recipe = training.Recipe(learning_rate=size["learning_rate"], precision=settled, **shared)
    shape = training.LadderSize(**{key: size[key] for key in ("name", "width", "layers", "heads")})
    seed = params.seed + size["seed"]
    model = training.new_model(shape, vocabulary=tokenizer.get_vocab_size(), context=recipe.context, seed=seed)
    model = model.to(where)
    everything = [
        params.size,
        params.recipe,
        params.seed,
        params.steps,
        params.code,
        str(model.device),
        settled,
        torch.__version__,
    ]
    content = hashlib.sha256(json.dumps(everything).encode() + tokens.ids.tobytes()).hexdigest()
    unfinished = training.Unfinished(Path(params.unfinished), content)

    def save(step: int) -> None:
        model.save_pretrained(unfinished.folder_of(step))
        for file in Path(inputs.tokenizer).parent.glob("tokenizer*.json"):
            shutil.copyfile(file, unfinished.folder_of(step) / file.name)

    curve = training.train(
        model,
        tokens.ids,
        recipe,
        seed=seed,
        label=shape.name,
        save_at=params.steps,
        save=save,
        unfinished=unfinished,
    )
    for step, folder in zip(params.steps, outputs.folders, strict=True):
        shutil.move(unfinished.folder_of(step), folder)
    files.write_table(outputs.curve, curve.assign(precision=settled))
    shutil.rmtree(unfinished.folder)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
