"""Gradients of single tokens' losses, folded to k features or exact, for any causal language model (section 5).

    features, losses = token_gradients(model, documents_of_ids, documents, positions, features=65_537, seed=0)

Each sample is cut at its target and only the target is unembedded. One backward pass of the summed losses serves a
batch: a sample's own gradient of a Linear layer is LᵀR, with L the gradient of the layer's output (position, out) and
R its input (position, in). GPT-NeoX has a backward of its own (`quanta.gradients.neox`); other architectures go by hooks.
Method and algebra: docs/gradients.md. Speed and fidelity: docs/benchmarks.md.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from quanta import devices
from quanta.arrays import Array, Float32, Int
from quanta.corpus.encoding import Tokens, as_tokens
from quanta.devices import keep_freed_memory, settle_precision
from quanta.errors import QuantaError
from quanta.gradients import collector, neox
from quanta.gradients.batching import Batch, batches, in_threads
from quanta.gradients.collector import Collector, Now
from quanta.gradients.parameter_sets import ParameterSet, blocks, by_module, parameter_set
from quanta.gradients.sign_fold import Buffer, Fold
from quanta.losses.batching import check_vocabulary, pad, read, token_bytes
from quanta.losses.forward import batch_losses
from quanta.losses.probe import check_model
from quanta.models.head import TROUBLE, longest, name_of, own_logits, probe_ids
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
    """A model, a parameter set, a fold and a precision: `batch` gives features of a `Batch`, (sample, k).

    With `once`, the fold is given each matrix once a sample: what a model uses several times is taken whole.
    """

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
        once: bool = False,
    ) -> None:
        keep_freed_memory()
        self.model, self.tokens = model, tokens
        self.parameters = parameter_set(model, parameters) if isinstance(parameters, str) else parameters
        self.device = next(model.parameters()).device
        self.precision = settle_precision(precision, self.device.type)
        by_hooks = by_hooks or not neox.supports(model)
        if once and by_hooks:
            self.parameters = _taken_whole(self.parameters, _called_again(model, self.parameters))
        if features is not None and features < 2:
            raise QuantaError("features", f"{features}", "2 or more, or None for exact gradients", "raise it")
        self.fold = Fold(self.parameters, features, seed, self.device)
        self.dtype = torch.bfloat16 if self.precision == "bfloat16" else torch.float32
        self._now = Now()
        self.neox = None if by_hooks else neox.Neox(model, self.dtype)
        self.alone = bool(self.parameters.whole)  # one sample a batch
        self.called: set[nn.Module] = set()  # layers of the set that a forward pass has called

    def batch(
        self, batch: Batch, documents: Array, positions: Array, batch_tokens: int, into: torch.Tensor | None = None
    ) -> Iterator[tuple[Int[Array, " sample"], Buffer, torch.Tensor]]:
        """Yield (indices of targets, features (sample, k), losses (sample,) in nats) until the batch is done."""
        ids = pad([self.tokens.document(int(d))[:n] for d, n in zip(batch.documents, batch.lengths, strict=True)])
        ids = read(ids.to(self.device), self.tokens.beginning)
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
                logits = own_logits(self.model, ids)[:, 0]
            loss = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
            loss.sum().backward()  # type: ignore[no-untyped-call]
        for member in self.parameters.whole:
            assert member.own is not None
            collector.whole(member, member.own.grad)
            member.own.grad = None
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
            QuantaError: a loss or a gradient is not finite, a single sample does not fit the device's memory, or the
                model fails a probe: of its losses (`quanta.losses.probe`), or of its gradients (`check_gradients`).
        """
        if len(documents):
            with _frozen(self.model):
                check_gradients(self)
        yield from self._run(documents, positions, batch_tokens, share=share, into=into)

    def _run(
        self, documents: Array, positions: Array, batch_tokens: int, *, share: bool, into: torch.Tensor | None
    ) -> Iterator[Result]:
        share = share and self.neox is not None and (not self.fold.exact or self.writes_in_place)
        limit = [1 if self.alone else self._fitting(batch_tokens)]
        planned = batches(documents, positions, limit[0], share=share)
        hooks = (
            nullcontext()
            if self.neox
            else collector.hooks(self.model, self.parameters, self._now, self.called, alone=self.alone)
        )

        def compute(batch: Batch) -> Iterator[Result]:
            return self._in_memory(batch, documents, positions, limit, into)

        with _frozen(self.model), _matmul(self.precision, self.device), hooks:
            if self.device.type == "cpu" and not self.parameters.whole:  # a parameter has one place for its gradient
                yield from in_threads(compute, planned)
            else:
                for batch in planned:
                    yield from compute(batch)

    def _fitting(self, batch_tokens: int) -> int:
        """On a GPU, what its free memory holds of a batch, whose activations and their gradients stay for all layers."""
        if self.device.type != "cuda":
            return batch_tokens
        layers = len(blocks(self.model))
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
                        "memory for one sample",
                        "take bfloat16, shorter documents or a device with more memory",
                    ) from None
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                size = max(len(left) // 2, 1)
                log.warning("gradients: out of memory on %s; batch of %d halved", self.device, len(left))
                limit[0] = max(min(limit[0], size * int(positions[left].max())), 1)
                parts = [left[i : i + size] for i in range(0, len(left), size)]
                waiting = [Batch(p, np.arange(len(p)), documents[p], positions[p]) for p in parts] + waiting


# ------------------------------------------------------------------------------------------------- probe

PROBED_PARAMETERS = 2**25  # at most about so many, or one member: 128 MiB for each of two gradients
TOLERANCE = 1e-3  # of a member's gradient: float32 in another order of sums
SLACK = 1e-4  # of the whole gradient: what a member whose gradient nearly vanishes may be off

# by model and parameter set: whether batches hold one sample, and which members are taken whole
_PASSED: "WeakKeyDictionary[PreTrainedModel, dict[str, tuple[bool, frozenset[str]]]]" = WeakKeyDictionary()


def check_gradients(engine: Engine) -> None:
    """Hold the engine's gradients of two tokens against autograd's, once for a model and parameter set.

    Where several samples' outputs make one list, the engine is set to one sample a batch; where a layer's weight is
    used without a call of the layer, to taking its gradient whole. GPT-NeoX's own backward pass is not looked at, since
    its forward is known.

    Raises:
        QuantaError: the model fails the probe of its losses, or its gradients differ from autograd's; it names the
            model and the parameter.
    """
    model, kind = engine.model, engine.parameters.kind
    check_model(model, batch_losses)
    if engine.neox is not None:
        return
    known = _PASSED.setdefault(model, {})
    if kind not in known:
        texts = [probe_ids(model).tolist(), probe_ids(model, seed=1).tolist()]
        positions = np.array([len(texts[0]) - 1, max(len(texts[0]) // 2, 1)])
        some = _some(engine.parameters)
        try:
            pairs = [_by_autograd(model, some, text[: n + 1]) for text, n in zip(texts, positions, strict=True)]
        except TROUBLE as error:
            raise _refused(engine, f"{type(error).__name__}, {error}".splitlines()[0]) from error
        expected, used = [gradient for gradient, _ in pairs], set().union(*(names for _, names in pairs))
        if not all(bool(e.isfinite().all()) for e in expected):
            return  # broken weights: each gradient is checked, too
        if not any(bool(e[: some.vectors_begin].any()) for e in expected):
            raise _refused(engine, "no gradient reaches the blocks in evaluation mode")
        whole, wrong = frozenset[str](), {"": ""}
        for alone, retry in ((bool(some.whole), False), (True, False), (True, True)):
            if retry:
                whole = frozenset(_pattern(name.rpartition(".")[0]) for name in wrong)
            wrong = _apart(model, _taken_whole(some, whole), texts, positions, expected, used, alone=alone)
            if not wrong:
                known[kind] = alone, whole
                break
        else:
            raise _refused(engine, next(iter(wrong.values())))
        if alone:
            log.info("gradients of %s are computed one sample at a time", name_of(model))
    alone, whole = known[kind]
    engine.parameters = engine.fold.parameters = _taken_whole(engine.parameters, whole)
    engine.alone = alone or bool(engine.parameters.whole)


def _refused(engine: Engine, found: str) -> QuantaError:
    return QuantaError(
        name_of(engine.model),
        f"gradients of the set {engine.parameters.kind!r}: {found}",
        "those that autograd gives for the model's own loss",
        "take another parameter set (qdg.parameters) or architecture",
    )


def _pattern(name: str) -> str:
    """A module's name with its numbers left out: that of its like in every block."""
    return re.sub(r"\d+", "#", name)


def _taken_whole(parameters: ParameterSet, patterns: frozenset[str]) -> ParameterSet:
    """The set, with the members of some modules taken whole."""

    def own(member: Any) -> Any:
        module, _, name = member.name.rpartition(".")
        return replace(member, own=getattr(member.module, name)) if _pattern(module) in patterns else member

    if not patterns:
        return parameters
    matrices, vectors = (tuple(own(p) for p in part) for part in (parameters.matrices, parameters.vectors))
    return replace(parameters, matrices=matrices, vectors=vectors)


def _called_again(model: PreTrainedModel, parameters: ParameterSet) -> frozenset[str]:
    """Patterns of the names of layers that one forward pass calls several times: a matrix's gradient is a sum of products."""
    calls: Counter[nn.Module] = Counter()
    names = {module: name for name, module in model.named_modules()}
    modules = [module for module, matrix, _ in by_module(parameters) if matrix is not None]
    handles = [m.register_forward_hook(lambda module, *_: calls.update([module])) for m in modules]
    try:
        with torch.no_grad(), _frozen(model):
            own_logits(model, probe_ids(model)[None].to(next(model.parameters()).device))
    finally:
        for handle in handles:
            handle.remove()
    return frozenset(_pattern(names[module]) for module, number in calls.items() if number > 1)


def _apart(
    model: PreTrainedModel,
    some: ParameterSet,
    texts: list[list[int]],
    positions: Array,
    expected: list[torch.Tensor],
    used: set[str],
    *,
    alone: bool,
) -> dict[str, str]:
    """What differs between the engine's gradients and those expected, by parameter; "" where the engine stops."""
    engine = Engine(model, as_tokens(texts), features=None, seed=0, parameters=some, by_hooks=True)
    engine.alone = alone
    try:
        found = {int(i): row.cpu() for samples, rows, _ in
                 engine._run(np.arange(2), positions, 2**20, share=False, into=None)
                 for i, row in zip(samples, rows, strict=True)}  # fmt: skip
    except (*TROUBLE, QuantaError) as error:
        return {"": f"{type(error).__name__}, {error}".splitlines()[0]}
    silent = [m.name for m in some.members if m.own is None and m.name in used and m.module not in engine.called]
    wrong = {name: f"{name} is used without a call of its layer" for name in silent}
    for i, gradient in enumerate(expected):
        length = float(gradient.norm())
        for member in some.members:
            place = slice(member.begin, member.begin + member.size)
            off, own = float((found[i][place] - gradient[place]).norm()), float(gradient[place].norm())
            if not off <= TOLERANCE * own + SLACK * length:
                wrong[member.name] = f"that of {member.name} is off by {off:.2g}, autograd's has length {own:.2g}"
    return wrong


def _some(parameters: ParameterSet) -> ParameterSet:
    """Modules spread over the model, few enough for the probe, as a set of their own.

    A module comes with all its members: the gradient of a bias is taken together with its weight's.
    """
    modules = list(dict.fromkeys(member.name.rpartition(".")[0] for member in parameters.members))
    step = max(-(-parameters.count // PROBED_PARAMETERS), 1)
    first = {_pattern(name): name for name in reversed(modules)}  # one of each kind, and some more
    chosen = {*first.values(), *modules[::step]}
    return parameters.part(lambda member: member.name.rpartition(".")[0] in chosen)


def _by_autograd(model: PreTrainedModel, some: ParameterSet, ids: list[int]) -> tuple[torch.Tensor, set[str]]:
    """The flat gradient (on the CPU) of the last token's loss under the model's own logits, and what it reaches."""
    named = dict(model.named_parameters(remove_duplicate=False))
    wanted = [named[member.name] for member in some.members]
    for parameter in wanted:
        parameter.requires_grad_(True)
    row = torch.tensor([ids], device=wanted[0].device)
    try:
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(own_logits(model, row[:, :-1])[:, -1].float(), row[:, -1])
            found = torch.autograd.grad(loss, wanted, allow_unused=True)
    finally:
        for parameter in wanted:
            parameter.requires_grad_(False)
    parts = [torch.zeros_like(p) if g is None else g for p, g in zip(wanted, found, strict=True)]
    used = {member.name for member, g in zip(some.members, found, strict=True) if g is not None}
    return torch.cat([part.flatten().float().cpu() for part in parts]), used


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
    # what is read before each document takes positions of the model
    limit = (longest(model) or np.inf) - len(tokens.beginning)
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
            "select again, or cut the documents at the model's context",
        )
