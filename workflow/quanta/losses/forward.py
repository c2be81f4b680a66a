"""Losses: float32 cross-entropy in nats of every token of every document, in one flat order for all models.

One document is one sequence: right padding, no packing, and before it the corpus's beginning (none in the paper, section 4).
"""

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from quanta import devices
from quanta.arrays import Array, Float, Float32, Int
from quanta.corpus.encoding import Tokens
from quanta.devices import settle_precision
from quanta.losses import batching
from quanta.losses.stored import check_losses
from quanta.models.pretrained import unembedding
from quanta.progress import Progress

# float32 logits held at a time: 16 MiB, which stay in a CPU's cache between the passes of the cross-entropy; 512 MiB on
# a GPU, whose products want more rows
LOGITS_AT_ONCE = {"cpu": 2**22, "cuda": 2**27}


@torch.no_grad()
def token_losses(
    model: PreTrainedModel,
    tokens: Tokens,
    documents: range,
    *,
    batch_tokens: int,
    precision: str = "float32",
    label: str = "",
) -> Float32[Array, " token"]:
    """Losses in nats of the tokens of `documents` (a contiguous range), NaN at the first token of each.

    The result does not depend on `batch_tokens` beyond rounding (1e-5 nats); on a GPU it is lowered to what the card's
    free memory holds. With `precision` "bfloat16" matrix products run in bfloat16, with "auto" where that pays
    (`quanta.devices`); the cross-entropy itself is float32 always.

    Raises:
        QuantaError: the model cannot take the tokens, or a loss is not finite.
    """
    device = next(model.parameters()).device
    precision = settle_precision(precision, device.type)
    first = tokens.offsets[documents.start]
    losses = np.full(int(tokens.offsets[documents.stop] - first), np.nan, dtype=np.float32)
    lengths = tokens.lengths[documents.start : documents.stop]
    if len(losses):
        batching.check_vocabulary(model, tokens)
    if device.type == "cuda":
        logits = 3 * 4 * LOGITS_AT_ONCE["cuda"]  # with two copies
        batch_tokens = devices.fitting(batch_tokens, batching.token_bytes(model), devices.free_bytes(device), logits)
    progress = Progress(f"losses {label}".rstrip(), len(losses), "tokens")
    for batch in batching.length_batches(lengths, batch_tokens):
        batch = batch[lengths[batch] > 1]
        if not len(batch):
            continue
        ids = batching.pad([tokens.document(documents.start + int(i)) for i in batch]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            hidden = model.base_model(input_ids=batching.read(ids[:, :-1], tokens), use_cache=False).last_hidden_state
        hidden = hidden[:, len(tokens.beginning) :]
        # padding is not unembedded: on short documents and a wide vocabulary that is most of the work
        real = torch.from_numpy(np.arange(ids.shape[1] - 1) < (lengths[batch] - 1)[:, None]).to(device)
        values = _cross_entropy(model, hidden[real], ids[:, 1:][real], precision).cpu().numpy()
        for row, index in zip(np.split(values, np.cumsum(lengths[batch] - 1)[:-1]), batch, strict=True):
            begin = int(tokens.offsets[documents.start + int(index)] - first)
            losses[begin + 1 : begin + lengths[index]] = row
        progress.advance(int(lengths[batch].sum()))
    progress.done()
    check_losses(losses, tokens, documents, label or "losses")
    return losses


def _cross_entropy(
    model: PreTrainedModel, hidden: Float[torch.Tensor, "n width"], targets: Int[torch.Tensor, " n"], precision: str
) -> Float[torch.Tensor, " n"]:
    """Nats; the unembedding is applied to pieces, so that the logits never exist whole."""
    unembed = unembedding(model)
    step = max(LOGITS_AT_ONCE.get(hidden.device.type, 2**24) // len(unembed.weight), 1)  # type: ignore[arg-type]
    pieces = []
    for begin in range(0, len(hidden), step):
        with torch.autocast(hidden.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = unembed(hidden[begin : begin + step])
        pieces.append(nn.functional.cross_entropy(logits.float(), targets[begin : begin + step], reduction="none"))
    return torch.cat(pieces)
