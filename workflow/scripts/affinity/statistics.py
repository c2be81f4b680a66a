"""Mean and deviation of the magnitudes of unit gradients, per parameter: the first of two passes.

Makes: `qdg/second/statistics.npy`, float32 (2, parameter): the mean, and 1 over the deviation. For raw magnitudes: 0 and 1.
"""

from typing import Any

from quanta.affinity import magnitude_features
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.jobs.job import device, run
from quanta.models import pretrained


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    model = pretrained.load(inputs.model, device())
    found = magnitude_features.statistics(
        model,
        tokens,
        table["document"].to_numpy(),
        table["position"].to_numpy(),
        kind=params.kind,
        parameters=params.parameters,
        precision=params.precision,
        batch_tokens=params.batch_tokens,
    )
    found.write(outputs.statistics)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
