"""Losses of chosen tokens under weights that move: contexts are laid out once and run through the model again and again."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from quanta.arrays import Array, Float, Int
from quanta.corpus.encoding import Tokens
from quanta.gradients import neox
from quanta.losses import batching
from quanta.models.head import head_of

A_BATCH = 100  # tokens that take as long as what a batch takes besides its tokens
AT_ONCE = 4096  # predictions that are unembedded together


def cheapest(lengths: Int[Array, " row"], batch_tokens: int) -> list[int]:
    """Where runs of rows, whose lengths fall, begin and end, so that padding and batches together cost least.

    A run has at most `batch_tokens` tokens with padding, or one row.
    """
    n = len(lengths)
    cost, after = np.zeros(n + 1), np.zeros(n, dtype=np.int64)
    for begin in reversed(range(n)):
        most = max(min(batch_tokens // max(int(lengths[begin]), 1), n - begin), 1)
        whole = np.arange(1, most + 1) * lengths[begin] + A_BATCH + cost[begin + 1 : begin + most + 1]
        after[begin] = begin + 1 + int(np.argmin(whole))
        cost[begin] = whole.min()
    cuts = [0]
    while cuts[-1] < n:
        cuts.append(int(after[cuts[-1]]))
    return cuts


@dataclass(frozen=True)
class _Batch:
    ids: Int[torch.Tensor, "row position"]
    rows: Int[torch.Tensor, " prediction"]
    last: Int[torch.Tensor, " prediction"]  # input position that predicts it
    targets: Int[torch.Tensor, " prediction"]
    places: Int[Array, " prediction"]  # its index among the predictions that were asked for


class Contexts:
    """Contexts of predictions at (document, position), in batches; those of one document share a row."""

    def __init__(
        self,
        tokens: Tokens,
        documents: Int[Array, " n"],
        positions: Int[Array, " n"],
        *,
        batch_tokens: int,
        device: torch.device | str = "cpu",
        share: bool = True,
    ) -> None:
        self.number = len(documents)
        self.batches: list[_Batch] = []
        before = len(tokens.beginning)
        key = documents if share else np.arange(len(documents))
        names, row = np.unique(key, return_inverse=True)
        lengths = np.zeros(len(names), dtype=np.int64)
        np.maximum.at(lengths, row, positions)
        of = documents[np.unique(key, return_index=True)[1]]
        order = np.argsort(-lengths, kind="stable")
        cuts = cheapest(lengths[order] + before, batch_tokens)
        for begin, end in pairwise(cuts):
            now = order[begin:end]
            inside = np.flatnonzero(np.isin(row, now))
            ids = batching.pad([tokens.document(int(of[i]))[: lengths[i]] for i in now])
            targets = [int(tokens.document(int(documents[i]))[positions[i]]) for i in inside]
            place = {int(name): i for i, name in enumerate(now)}
            self.batches.append(
                _Batch(
                    batching.read(ids, tokens.beginning).to(device),
                    torch.tensor([place[int(row[i])] for i in inside], device=device),
                    torch.as_tensor(positions[inside] - 1 + before, device=device),
                    torch.tensor(targets, device=device),
                    inside,
                )
            )

    @property
    def tokens(self) -> int:
        """Input tokens with padding: what an evaluation costs."""
        return sum(batch.ids.numel() for batch in self.batches)

    @torch.no_grad()
    def losses(self, model: PreTrainedModel) -> Float[Array, " n"]:
        """Losses in nats under the model's present weights, in the order that was asked for; float64 of float32 numbers."""
        head, found = head_of(model), np.empty(self.number)
        twin = neox.Neox(model, torch.float32) if neox.supports(model) else None
        for batch in self.batches:
            if twin is not None:
                state = twin.states(batch.ids, batch.rows, batch.last)
            else:
                state = head.hidden(batch.ids)[batch.rows, batch.last]
            for begin in range(0, len(state), AT_ONCE):
                cut = slice(begin, begin + AT_ONCE)
                logits = head.logits(state[cut]).float()
                nats = nn.functional.cross_entropy(logits, batch.targets[cut], reduction="none")
                found[batch.places[cut]] = nats.cpu().numpy()
        return found
