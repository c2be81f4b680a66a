"""A few random tokens through a model before any work: its losses must be its own, and none may depend on the future."""

from collections.abc import Callable
from weakref import WeakSet

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from quanta.arrays import Array
from quanta.errors import QuantaError
from quanta.losses.batching import pad
from quanta.models.head import TROUBLE, Head, head_of, name_of, own_logits, probe_ids, stops
from quanta.progress import log

TOLERANCE = 1e-3  # nats, and of a loss: float32 in another order of sums; a cap or a scale left out alters far more
CAUSAL = 2e-5  # nats, and of a loss: rounding of the same sums

Losses = Callable[[Head, torch.Tensor, Array, str], torch.Tensor]

_PASSED: "WeakSet[PreTrainedModel]" = WeakSet()


def _apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, in nats or of the loss where that is above one nat."""
    return float(((found - expected).abs() / expected.abs().clamp_min(1)).max())


@torch.no_grad()
def check_model(model: PreTrainedModel, losses: Losses) -> Head:
    """The model's head, once `losses` (head, padded ids, lengths, precision) agrees with the model's own logits.

    Two documents of different lengths go through together, and each alone through the model. Then the second half of a
    text is changed, and the losses before it must stay. A model passes once; its weights are not looked at again.

    Raises:
        QuantaError: the losses are not those of the model's own logits, a later token alters an earlier loss, or the
            model does not run on token ids alone. The error names the model.
    """
    head = head_of(model)
    if model in _PASSED:
        return head
    long = probe_ids(model).cpu().numpy()
    texts = [long, probe_ids(model, seed=1).cpu().numpy()[: max(len(long) - 3, 2)]]
    lengths = np.array([len(text) for text in texts])
    device = next(model.parameters()).device
    ids = pad(texts).to(device)
    try:
        found = losses(head, ids, lengths, "float32")
        own = [own_logits(model, row[None, : n - 1])[0].float() for row, n in zip(ids, lengths, strict=True)]
        expected = torch.cat([nn.functional.cross_entropy(o, row[1:n], reduction="none")
                              for o, row, n in zip(own, ids, lengths, strict=True)])  # fmt: skip
        place = len(long) // 2
        changed = ids.clone()
        changed[0, place:] = changed[0, place:].roll(1)
        changed[0, place] = ids[1, 0] if ids[1, 0] != ids[0, place] else ids[1, 1]
        later = losses(head, changed, lengths, "float32")
    except TROUBLE as error:
        raise stops(model, error) from error
    if not (found.isfinite().all() and expected.isfinite().all()):
        return head  # broken weights, not a wrong head: the losses of the corpus are checked, too
    # the padded and the whole logits of a model that is not causal differ as well, so this comes first
    seen = _apart(later[: place - 1], found[: place - 1])
    if seen > CAUSAL:
        raise QuantaError(
            name_of(model),
            f"tokens from {place} on alter the losses of the tokens before them, by up to {seen:.2g} nats",
            "attention that is causal: the loss of a token depends only on the tokens before it",
            "take a causal architecture; where config.json can make this one a decoder (is_decoder, causal), set that",
        )
    apart = _apart(found, expected)
    if apart > TOLERANCE:
        raise QuantaError(
            name_of(model),
            f"losses computed here differ from those of the model's own logits by up to {apart:.2g} nats",
            f"a difference of at most {TOLERANCE} on {len(found)} tokens",
            "take another architecture: how this one gets from hidden states to logits, or pads, is not known here",
        )
    _PASSED.add(model)
    how = "one Linear layer gives its logits" if head.plain else "its own head gives its logits"
    log.info("probe of %s: %s, losses agree within %.1g nats, none depends on later tokens", name_of(model), how, apart)
    return head
