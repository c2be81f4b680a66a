"""Train one size of the ladder.

Makes: `models/{model}/step{step}/` for each saved step, with the tokenizer beside the weights, and the learning curve.
The same tokens in the same order for every size.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from quanta import corpus, models, storage, training
from quanta.job import device, run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    size = json.loads(params.size)
    shared = json.loads(params.recipe)
    tokens = corpus.load_tokens(inputs.tokens, inputs.offsets)
    tokenizer = corpus.load_tokenizer(Path(inputs.tokenizer).parent)
    recipe = training.Recipe(learning_rate=size["learning_rate"], precision=size["precision"], **shared)
    shape = models.Size(**{key: size[key] for key in ("name", "width", "layers", "heads")})
    model = models.new_model(shape, vocabulary=tokenizer.get_vocab_size(), context=recipe.context, seed=params.seed).to(
        device()
    )
    folders = dict(zip(params.steps, map(Path, outputs.folders), strict=True))

    def save(step: int) -> None:
        model.save_pretrained(folders[step])
        for file in Path(inputs.tokenizer).parent.glob("tokenizer*.json"):
            shutil.copyfile(file, folders[step] / file.name)

    curve = training.train(
        model, tokens.ids, recipe, seed=params.seed, label=shape.name, save_at=list(folders), save=save
    )
    storage.write_table(outputs.curve, curve)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
