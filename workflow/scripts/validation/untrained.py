"""Cosines of the same tokens' gradients in a model of the same shape with fresh weights: a null model.

Makes: `calibration/untrained.npy`, float32 (token, token); of so many tokens, evenly spread, as `tokens` says. Gradients
are exact where the data's are (`qdg.mode`).
"""

from typing import Any

from quanta import arrays
from quanta.affinity import under_model
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.jobs.job import device, run
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    table = table.iloc[arrays.evenly(len(table), params.tokens)]
    model = pretrained.fresh_weights(pretrained.load(inputs.model, device()), seed=params.seed)
    with files.new_array(outputs.affinity, (len(table), len(table)), "float32") as out:
        under_model.Making.of(params).cosines(model, tokens, table, out, label="untrained")


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
