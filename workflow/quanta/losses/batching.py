"""Documents in batches: blocks, parts, lengths, padding."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from quanta.arrays import Array, Int
from quanta.corpus.encoding import Tokens
from quanta.errors import QuantaError

BLOCK = 128  # a batch never crosses a multiple of it, and a shard is made of whole blocks


def shard(n: int, index: int, shards: int) -> range:
    """Part `index` of n items: contiguous whole blocks, so that any number of shards forms the very same batches.

    The last bits of a sample depend on what else is in its batch. Shards beyond the number of blocks are empty.
    """
    blocks = -(-n // BLOCK)
    return range(min(blocks * index // shards * BLOCK, n), min(blocks * (index + 1) // shards * BLOCK, n))


def length_batches(lengths: Array, batch_tokens: int) -> Iterator[Int[Array, " batch"]]:
    """Indices in batches of similar length within each block, longest first; at most `batch_tokens` with padding, or one."""
    for first in range(0, len(lengths), BLOCK):
        order = first + np.argsort(-np.asarray(lengths[first : first + BLOCK]), kind="stable")
        while len(order):
            size = max(batch_tokens // max(int(lengths[order[0]]), 1), 1)
            yield order[:size]
            order = order[size:]


def pad(documents: Sequence[Array]) -> torch.Tensor:
    """Right-padded ids (document, position). Attention is causal, so what stands to the right alters nothing."""
    ids = np.zeros((len(documents), max(len(d) for d in documents)), dtype=np.int64)
    for row, document in zip(ids, documents, strict=True):
        row[: len(document)] = document
    return torch.from_numpy(ids)


def read(ids: torch.Tensor, beginning: Sequence[int]) -> torch.Tensor:
    """What a model reads: padded ids (document, position) after the corpus's beginning, if it has one."""
    if not beginning:
        return ids
    before = torch.tensor(beginning, dtype=ids.dtype, device=ids.device)
    return torch.cat([before.expand(len(ids), -1), ids], dim=1)


def token_bytes(model: PreTrainedModel) -> int:
    """Estimate of the bytes that one token of a batch takes in a block: about 20 float32 widths (quanta/config/costs.py)."""
    return 4 * 20 * int(model.config.hidden_size)


def check_vocabulary(model: PreTrainedModel, tokens: Tokens) -> None:
    """Refuse tokens that the model has no embedding for. Logits may be wider than the tokenizer (Pythia pads them).

    Raises:
        QuantaError: a token id is past the model's vocabulary.
    """
    weight: torch.Tensor = model.get_input_embeddings().weight  # type: ignore[assignment]
    largest, rows = max(int(tokens.ids.max()), *tokens.beginning, 0), len(weight)
    if largest >= rows:
        raise QuantaError(
            "models",
            f"token id {largest}, while the model has {rows} embeddings",
            "models that share the corpus's tokenizer",
            "give the tokenizer of this family, and run from the corpus stage on",
        )
