"""Magnitudes of the selected tokens' gradients, one part of them, standardised and folded to features; the second of two passes.

Makes: float32 (token, feature) of the part, not normalised, and a record of how they were made, with the losses in nats.
"""

from typing import Any

from quanta.affinity import magnitude_features
from quanta.corpus import encoding
from quanta.gradients import selection, shards, token_gradients
from quanta.jobs.job import device, run
from quanta.losses import batching
from quanta.models import pretrained
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    table = selection.read_selection(inputs.selection, tokens)
    rows = batching.shard(len(table), *files.part_of(outputs.features))
    chosen = table.iloc[rows.start : rows.stop]
    model = pretrained.load(inputs.model, device())
    over = magnitude_features.Statistics.read(inputs.statistics)
    how: Any = {key: getattr(params, key) for key in ("features", "seed", "parameters", "precision")}
    features, found = magnitude_features.magnitude_features(
        model,
        tokens,
        chosen["document"].to_numpy(),
        chosen["position"].to_numpy(),
        over,
        kind=params.kind,
        batch_tokens=params.batch_tokens,
        **how,
    )
    selection.check_same_losses(chosen, found, str(inputs.model))
    said = token_gradients.record(model, **how)
    if params.kind == magnitude_features.ATTENTION:
        said["same"] |= {"parameter_set": params.kind, "parameters": len(over.mean), "features": features.shape[1]}
        said["parameter_set"] = {"kind": params.kind, "parameters": len(over.mean)}
    said["same"] |= {"magnitudes": magnitude_features.METHOD, "statistics": over.digest()}
    shards.write(outputs.features, features, found, said)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
