"""Cosines of the exact gradients of all pairs of selected tokens, without a sketch.

Makes: `qdg/affinity.npy`, float32 (token, token), symmetric, unit diagonal. Gradients that do not fit the memory are
computed again tile by tile, or spilled to the folder for temporary files, whichever is estimated to be cheaper.
"""

import tempfile
from typing import Any

from quanta.affinity import exact
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.jobs.job import device, run
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    shape = (len(table), len(table))
    with files.new_array(outputs.affinity, shape, "float32") as out, tempfile.TemporaryDirectory() as scratch:
        found, _ = exact.exact_cosines(
            pretrained.load(inputs.model, device()),
            tokens,
            table["document"].to_numpy(),
            table["position"].to_numpy(),
            out,
            memory_bytes=params.memory_bytes,
            scratch=scratch,
            parameters=params.parameters,
            precision=params.precision,
            batch_tokens=params.batch_tokens,
        )
        selection.check_same_losses(table, found, str(inputs.model))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
