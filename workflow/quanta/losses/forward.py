"""Losses: float32 cross-entropy in nats of every token of every document, in one flat order for all models.

One document is one sequence: right padding, no packing, and before it the corpus's beginning (none in the paper, section 4).
Logits are the model's own. Where one Linear layer gives them, it is applied here; else the model's own forward is, to
the hidden states in pieces (`quanta.models.head`).
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from quanta import devices
from quanta.arrays import Array, Float, Float32, Int
from quanta.corpus.encoding import Tokens
from quanta.devices import settle_precision
from quanta.losses import batching, probe
from quanta.losses.stored import check_losses
from quanta.models.head import Head
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
        QuantaError: the model cannot take the tokens, a loss is not finite, or the model fails `quanta.losses.probe`,
            which runs before all else.
    """
    device = next(model.parameters()).device
    precision = settle_precision(precision, device.type)
    first = tokens.offsets[documents.start]
    losses = np.full(int(tokens.offsets[documents.stop] - first), np.nan, dtype=np.float32)
    lengths = tokens.lengths[documents.start : documents.stop]
    if len(losses):
        batching.check_vocabulary(model, tokens)
        head = probe.check_model(model, batch_losses)
    if device.type == "cuda":
        logits = 3 * 4 * LOGITS_AT_ONCE["cuda"]  # with two copies
        batch_tokens = devices.fitting(batch_tokens, batching.token_bytes(model), devices.free_bytes(device), logits)
    progress = Progress(f"losses {label}".rstrip(), len(losses), "tokens")
    for batch in batching.length_batches(lengths, batch_tokens):
        batch = batch[lengths[batch] > 1]
        if not len(batch):
            continue
        ids = batching.pad([tokens.document(documents.start + int(i)) for i in batch]).to(device)
        values = batch_losses(head, ids, lengths[batch], precision, tokens.beginning).cpu().numpy()
        for row, index in zip(np.split(values, np.cumsum(lengths[batch] - 1)[:-1]), batch, strict=True):
            begin = int(tokens.offsets[documents.start + int(index)] - first)
            losses[begin + 1 : begin + lengths[index]] = row
        progress.advance(int(lengths[batch].sum()))
    progress.done()
    check_losses(losses, tokens, documents, label or "losses")
    return losses


@torch.no_grad()
def batch_losses(
    head: Head,
    ids: Int[torch.Tensor, "document position"],
    lengths: Int[Array, " document"],
    precision: str,
    beginning: Sequence[int] = (),
) -> Float[torch.Tensor, " prediction"]:
    """Nats of all predictions of right-padded documents, document after document; the logits never exist whole.

    `beginning` is read before each document and not predicted.
    """
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        hidden = head.hidden(batching.read(ids[:, :-1], beginning))[:, len(beginning) :]
    # padding is not unembedded: on short documents and a wide vocabulary that is most of the work
    real = torch.from_numpy(np.arange(ids.shape[1] - 1) < (lengths - 1)[:, None]).to(ids.device)
    state, targets = hidden[real], ids[:, 1:][real]
    step = max(LOGITS_AT_ONCE.get(ids.device.type, 2**24) // head.vocabulary, 1)
    if not head.plain:  # what a model computes before its trunk may know no longer sequence
        step = min(step, hidden.shape[1])
    pieces = []
    for begin in range(0, len(state), step):
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = head.logits(state[begin : begin + step])
        pieces.append(nn.functional.cross_entropy(logits.float(), targets[begin : begin + step], reduction="none"))
    return torch.cat(pieces)
