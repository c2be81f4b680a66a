"""Gradients of the losses of single tokens, folded or whole: the stage's one call."""

import hashlib
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm  # type: ignore[import-untyped]
from transformers import PreTrainedModel

from quanta.arrays import Array, Float32, Int
from quanta.corpus import encoding
from quanta.corpus.encoding import Tokens
from quanta.devices import resolve_precision
from quanta.gradients import engine as gradients_engine
from quanta.gradients.engine import FEATURES, METHOD, Engine
from quanta.gradients.parameter_sets import parameter_set
from quanta.progress import Progress


def token_gradients(
    model: PreTrainedModel,
    tokens: Tokens | Sequence[Sequence[int]],
    documents: Int[Array, " n"] | Sequence[int],
    positions: Int[Array, " n"] | Sequence[int],
    *,
    features: int | None = FEATURES,
    seed: int = 0,
    parameters: str = "paper",
    precision: str = "float32",
    batch_tokens: int = 2048,
    share: bool = True,
    label: str = "gradients",
    bar: bool = False,
) -> tuple[Float32[Array, "n feature"], Float32[Array, " n"]]:
    """Gradients (not normalised) and losses in nats of the tokens at (document, position).

    Args:
        model: a causal language model of transformers; it is left as it was found.
        tokens: the corpus, or a list of documents, each a list of token ids.
        documents: index of each target's document.
        positions: index of each target within its document, from 1.
        features: k, the number to fold to (error of a cosine about 1/√k), or None for the gradients themselves.
        seed: of the fold's signs.
        parameters: `paper`, `clean` or `all`, see `quanta.gradients.parameter_sets.KINDS`.
        precision: `float32`, `tf32` (CUDA), `bfloat16`, or `auto` (`quanta.devices`); errors are in docs/gradients.md.
        batch_tokens: input tokens at a time, for each of torch's threads. It alters no gradient beyond rounding.
        share: let targets of one document share its forward pass (GPT-NeoX).
        label: begins the progress lines.
        bar: draw a progress bar instead of progress lines.

    Raises:
        QuantaError: a target that nothing predicts, an architecture whose weights are in no Linear layer, a gradient
            that is not finite (document, position and loss are named), or a sample larger than the device's memory.
    """
    tokens = encoding.as_tokens(tokens)
    documents, positions = np.asarray(documents, dtype=np.int64), np.asarray(positions, dtype=np.int64)
    gradients_engine.check_targets(model, tokens, documents, positions)
    engine = Engine(model, tokens, features=features, seed=seed, parameters=parameters, precision=precision)
    # numpy asks for huge pages, whose first touch costs several times that of small ones (docs/benchmarks.md)
    into = torch.empty(len(documents), engine.fold.features)
    result: Float32[Array, "n feature"] = into.numpy()
    losses = np.empty(len(documents), dtype=np.float32)
    progress = Progress(label, len(documents), "samples")
    with tqdm(total=len(documents), desc=label, unit="token", disable=not bar) as drawn:
        for samples, found, nats in engine.run(documents, positions, batch_tokens, share=share, into=into):
            if isinstance(found, torch.Tensor):
                result[samples] = found.cpu().numpy()
            losses[samples] = nats
            drawn.update(len(samples))
            if not bar:
                progress.advance(len(samples))
    if not bar:
        progress.done()
    return result, losses


# -------------------------------------------------------------------------------------------- record


def record(
    model: PreTrainedModel,
    *,
    features: int | None = FEATURES,
    seed: int = 0,
    parameters: str = "paper",
    precision: str = "float32",
) -> dict[str, Any]:
    """What a shard (`quanta.gradients.shards`) says about its gradients; shards whose `same` parts agree may be mixed.

    `same` holds the method, the architecture, a hash of the weights (of at most 4,096 evenly spaced elements of each),
    the parameter set with its count, the number of features, the seed and the precision that was used; `made_on` the device and
    versions, which alter rounding only.
    """
    chosen = parameter_set(model, parameters)
    digest, own = hashlib.sha256(), dict(model.named_parameters(remove_duplicate=False))
    for member in chosen.members:
        flat = own[member.name].detach().flatten()
        some = flat[:: -(-len(flat) // 4096)].float().cpu().numpy()
        digest.update(member.name.encode() + some.tobytes())
    device = next(model.parameters()).device
    return {
        "same": {
            "method": METHOD,
            "architecture": type(model).__name__,
            "weights": digest.hexdigest(),
            "parameter_set": chosen.kind,
            "parameters": chosen.count,
            "mode": "exact" if features is None else "sketch",
            "features": chosen.count if features is None else features,
            "seed": None if features is None else seed,
            "precision": resolve_precision(precision, device.type)[0],
        },
        "made_on": {
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
            "torch": torch.__version__,
        },
        "parameter_set": chosen.describe(),
    }
