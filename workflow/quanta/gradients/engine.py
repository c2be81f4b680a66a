"""Gradients of single tokens' losses, folded to k features or exact, for any causal language model (section 5).

    features, losses = token_gradients(model, documents_of_ids, documents, positions, features=65_537, seed=0)

Each sample is cut at its target and only the target is unembedded. One backward pass of the summed losses serves a
batch: a sample's own gradient of a Linear layer is LᵀR, with L the gradient of the layer's output (position, out) and
R its input (position, in). GPT-NeoX has a backward of its own (`quanta.gradients.neox`); other architectures go by hooks.
Method and algebra: docs/gradients.md. Speed and fidelity: docs/benchmarks.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from quanta import devices
from quanta.arrays import Array, Float32, Int
from quanta.corpus.encoding import Tokens
from quanta.devices import keep_freed_memory, settle_precision
from quanta.errors import QuantaError
from quanta.gradients import collector, neox
from quanta.gradients.batching import Batch, batches, in_threads
from quanta.gradients.collector import Collector, Now
from quanta.gradients.parameter_sets import ParameterSet, parameter_set
from quanta.gradients.sign_fold import Buffer, Fold
from quanta.losses.batching import check_vocabulary, pad, read, token_bytes
from quanta.progress import log

FEATURES = 65_537  # a prime: prime to the width of every layer
METHOD = 2  # raised whenever the same input no longer gives the same features
# indices of targets, features (sample, k) on the device, losses in nats
Result = tuple[Int[Array, " sample"], Buffer, Float32[Array, " sample"]]
PRECISIONS = {"float32": "float32", "tf32": "float32, matrix products in TF32", "bfloat16": "bfloat16 autocast"}


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """No dropout, and no gradient of any weight: a backward pass then computes those of activations alone."""
    training, wanted = model.training, [p.requires_grad for p in model.parameters()]
    model.train(False).requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for parameter, want in zip(model.parameters(), wanted, strict=True):
            parameter.requires_grad_(want)


@contextmanager
def _matmul(precision: str, device: torch.device) -> Iterator[None]:
    """Precision of float32 matrix products."""
    if precision not in PRECISIONS or (precision == "tf32" and device.type != "cuda"):
        raise QuantaError(
            "precision",
            f"{precision!r} on {device.type}",
            f"one of {list(PRECISIONS)}; tf32 on CUDA only",
            "set float32, which every device has",
        )
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


# -------------------------------------------------------------------------------------------- engine


class Engine:
    """A model, a parameter set, a fold and a precision: `batch` gives features of a `Batch`, (sample, k)."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokens: Tokens,
        *,
        features: int | None,
        seed: int,
        parameters: str | ParameterSet = "paper",
        precision: str = "float32",
        by_hooks: bool = False,
    ) -> None:
        keep_freed_memory()
        self.model, self.tokens = model, tokens
        self.parameters = parameter_set(model, parameters) if isinstance(parameters, str) else parameters
        self.device = next(model.parameters()).device
        self.precision = settle_precision(precision, self.device.type)
        if features is not None and features < 2:
            raise QuantaError("features", f"{features}", "2 or more, or None for exact gradients", "raise it")
        self.fold = Fold(self.parameters, features, seed, self.device)
        self.dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        self._now = Now()
        self.neox = neox.Neox(model, self.dtype) if neox.supports(model) and not by_hooks else None

    def batch(
        self, batch: Batch, documents: Array, positions: Array, batch_tokens: int, into: torch.Tensor | None = None
    ) -> Iterator[tuple[Int[Array, " sample"], Buffer, torch.Tensor]]:
        """Yield (indices of targets, features (sample, k), losses (sample,) in nats) until the batch is done."""
        ids = pad([self.tokens.document(int(d))[:n] for d, n in zip(batch.documents, batch.lengths, strict=True)])
        ids = read(ids.to(self.device), self.tokens)
        if self.neox is None:
            yield self._by_hooks(ids, batch.samples, documents, positions, into)
            return
        forward = self.neox.forward(ids, keep_graph=not batch.shared)
        order = np.argsort(-positions[batch.samples], kind="stable") if batch.shared else np.arange(len(batch.samples))
        while len(order):
            size = max(batch_tokens // int(positions[batch.samples[order[0]]]), 1) if batch.shared else len(order)
            now, order = order[:size], order[size:]
            samples = batch.samples[now]
            last, targets = self._targets(samples, documents, positions)
            collector = self._collector(samples, positions, into)
            rows = torch.from_numpy(batch.rows[now]).to(self.device) if batch.shared else None
            loss = self.neox.backward(forward, rows, last, targets, collector)
            yield samples, collector.features(), loss

    def _collector(self, samples: Array, positions: Array, into: torch.Tensor | None) -> Collector:
        buffer: Buffer
        if into is not None and self.writes_in_place:
            buffer = [into[i] for i in samples]
        else:
            buffer = self.fold.buffer(len(samples))
        return Collector(self.fold, buffer, (positions[samples] + len(self.tokens.beginning)).tolist())

    @property
    def writes_in_place(self) -> bool:
        """Whether exact gradients can be computed where they are to lie."""
        return self.fold.exact and self.device.type == "cpu" and self.dtype == torch.float32

    def _targets(self, samples: Array, documents: Array, positions: Array) -> tuple[torch.Tensor, torch.Tensor]:
        """Last input position and token id of each sample's target."""
        last = torch.as_tensor(positions[samples] - 1 + len(self.tokens.beginning), device=self.device)
        ids = [int(self.tokens.document(int(documents[i]))[positions[i]]) for i in samples]
        return last, torch.tensor(ids, device=self.device)

    def _by_hooks(
        self, ids: torch.Tensor, samples: Array, documents: Array, positions: Array, into: torch.Tensor | None
    ) -> tuple[Array, Buffer, torch.Tensor]:
        last, targets = self._targets(samples, documents, positions)
        collector = self._collector(samples, positions, into)
        self._now.taker, self._now.last = collector, last
        with torch.enable_grad():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                logits = self.model(input_ids=ids, use_cache=False).logits[:, 0]
            loss = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
            loss.sum().backward()  # type: ignore[no-untyped-call]
        return samples, collector.features(), loss.detach()

    def run(
        self,
        documents: Array,
        positions: Array,
        batch_tokens: int,
        *,
        share: bool = True,
        into: torch.Tensor | None = None,
    ) -> Iterator[Result]:
        """Yield (indices of targets, features (sample, k) on the device, losses in nats) until all targets are done.

        `into` (target, k) receives exact gradients where they are to lie, if `writes_in_place`; they are yielded as
        its rows then.

        A batch is no larger than a GPU's free memory holds by estimate; out of memory halves it, says so and goes on.

        Raises:
            QuantaError: a loss or a gradient is not finite, or a single sample does not fit the device's memory.
        """
        share = share and self.neox is not None and (not self.fold.exact or self.writes_in_place)
        limit = [self._fitting(batch_tokens)]
        planned = batches(documents, positions, limit[0], share=share)
        hooks = nullcontext() if self.neox else collector.hooks(self.model, self.parameters, self._now)

        def compute(batch: Batch) -> Iterator[Result]:
            return self._in_memory(batch, documents, positions, limit, into)

        with _frozen(self.model), _matmul(self.precision, self.device), hooks:
            if self.device.type == "cpu":
                yield from in_threads(compute, planned)
            else:
                for batch in planned:
                    yield from compute(batch)

    def _fitting(self, batch_tokens: int) -> int:
        """On a GPU, what its free memory holds of a batch, whose activations and their gradients stay for all layers."""
        if self.device.type != "cuda":
            return batch_tokens
        layers = int(self.model.config.num_hidden_layers)
        return devices.fitting(batch_tokens, 2 * layers * token_bytes(self.model), devices.free_bytes(self.device))

    def _in_memory(
        self, planned: Batch, documents: Array, positions: Array, limit: list[int], into: torch.Tensor | None
    ) -> Iterator[Result]:
        """One planned batch, in parts if the device's memory does not hold it."""
        waiting = [planned]
        while waiting:
            batch, done = waiting.pop(0), [-1]
            try:
                for samples, features, losses in self.batch(batch, documents, positions, limit[0], into):
                    found = losses.float().cpu().numpy()
                    _check_finite(features, found, documents[samples], positions[samples])
                    yield samples, features, found
                    done += samples.tolist()
                    del features, losses
            except torch.OutOfMemoryError:
                left = batch.samples[~np.isin(batch.samples, done)]
                if len(left) == 1:
                    raise QuantaError(
                        f"document {documents[left[0]]}, position {positions[left[0]]}",
                        f"one sample of {positions[left[0]]} tokens does not fit the memory of {self.device}",
                        "room for one sample",
                        "take bfloat16, shorter documents or a device with more memory",
                    ) from None
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                size = max(len(left) // 2, 1)
                log.warning("gradients: out of memory on %s; batch of %d halved", self.device, len(left))
                limit[0] = max(min(limit[0], size * int(positions[left].max())), 1)
                parts = [left[i : i + size] for i in range(0, len(left), size)]
                waiting = [Batch(p, np.arange(len(p)), documents[p], positions[p]) for p in parts] + waiting


def _check_finite(features: Buffer, losses: Array, documents: Array, positions: Array) -> None:
    # a sum is not finite as soon as one of its terms is not
    sums = features.sum(1) if isinstance(features, torch.Tensor) else torch.stack([row.sum() for row in features])
    wrong = np.flatnonzero(~(torch.isfinite(sums).cpu().numpy() & np.isfinite(losses)))
    if len(wrong):
        i = wrong[0]
        raise QuantaError(
            f"gradient of document {documents[i]}, position {positions[i]}",
            f"not finite (loss {losses[i]} nats; {len(wrong)} of {len(losses)} tokens in its batch)",
            "finite gradients",
            "look at the model's weights, or take the gradients in float32",
        )


def check_targets(model: PreTrainedModel, tokens: Tokens, documents: Array, positions: Array) -> None:
    """Refuse targets that the model cannot predict.

    Raises:
        QuantaError: a first token, a place outside of the corpus, a context longer than the model's, a token id past
            its vocabulary.
    """
    if not len(documents):
        return
    check_vocabulary(model, tokens)
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or np.inf
    limit -= len(tokens.beginning)  # read before each document, they take positions of the model
    inside = (documents >= 0) & (documents < tokens.n_documents)
    lengths = np.zeros(len(documents), dtype=np.int64)
    lengths[inside] = tokens.lengths[documents[inside]]
    wrong = np.flatnonzero(~inside | (positions < 1) | (positions >= lengths) | (positions > limit))
    if len(wrong):
        i = wrong[0]
        raise QuantaError(
            "targets",
            f"document {documents[i]}, position {positions[i]} ({len(wrong)} such targets); "
            f"it has {lengths[i]} tokens of {tokens.n_documents} documents",
            f"positions from 1 (nothing predicts a first token) within a document, at most {limit}",
            "select anew, or cut the documents at the model's context",
        )
