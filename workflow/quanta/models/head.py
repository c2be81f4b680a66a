"""A model's own way from ids to hidden states to logits, found by running it on a few tokens, never by its name.

`Head.trunk` is the outermost module within the model that a forward pass calls and that holds its blocks. What the
model does after it (one Linear; or caps, scales, norms, several layers) is run as the model runs it: its own forward,
in which the trunk returns given hidden states. So logits can be had in pieces.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils.generic import ModelOutput

from quanta.arrays import Float, Int
from quanta.errors import QuantaError
from quanta.models.pretrained import unembedding
from quanta.streams import Purpose, generator

PROBE_TOKENS = 9
EXACT = 1e-6  # of the largest logit: the same product of the same numbers, whatever the shape of the batch
TROUBLE = (RuntimeError, TypeError, ValueError, LookupError, AttributeError, NotImplementedError, AssertionError)


def name_of(model: PreTrainedModel) -> str:
    """What an error calls a model: its class and the model type of its configuration."""
    return f"{type(model).__name__} ({model.config.model_type})"


def stops(model: PreTrainedModel, error: Exception) -> QuantaError:
    """The error for a model that does not run on the tokens of a probe."""
    return QuantaError(
        name_of(model),
        f"it stops on {PROBE_TOKENS} tokens of text: {type(error).__name__}, {error}",
        "a causal language model that takes token ids alone",
        "take another architecture, or look at its config.json",
    )


def longest(model: PreTrainedModel) -> int | None:
    """The longest input that the model takes, in tokens, where its configuration says so."""
    found = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return found if found and found > 0 else None


def own_output(model: PreTrainedModel, ids: Int[torch.Tensor, "document position"]) -> Any:
    """What the model itself returns, with logits first, computed without a cache."""
    known = inspect.signature(model.forward).parameters
    settings = {"use_cache": False} if "use_cache" in known else {}
    return model(input_ids=ids, **settings)


def own_logits(model: PreTrainedModel, ids: Int[torch.Tensor, "document position"]) -> torch.Tensor:
    """The model's own logits (document, position, vocabulary)."""
    output = own_output(model, ids)
    logits = getattr(output, "logits", None)
    return output[0] if logits is None else logits  # type: ignore[no-any-return]


def state_of(output: Any) -> torch.Tensor:
    """Hidden states (document, position, width) in what a trunk returned."""
    return output if isinstance(output, torch.Tensor) else output[0]


def with_state(output: Any, state: torch.Tensor) -> Any:
    """What a trunk returned, with other hidden states in it."""
    if isinstance(output, torch.Tensor):
        return state
    if isinstance(output, ModelOutput):
        first, *_ = output.keys()
        return type(output)(**(dict(output.items()) | {first: state}))
    return (state, *output[1:])


def probe_ids(model: PreTrainedModel, *, seed: int = 0) -> Int[torch.Tensor, " position"]:
    """A few random tokens that stand for nothing special, on the model's device."""
    config: Any = model.config.get_text_config()
    named = {v for c in (config, model.config) for k, v in vars(c).items() if k.endswith(("_token_id", "_index"))
             and isinstance(v, int)}  # fmt: skip
    layer = unembedding(model)
    rows = [m.weight.shape[0] for m in (model.get_input_embeddings(), layer) if isinstance(m, nn.Linear | nn.Embedding)]
    largest = min([*rows, config.vocab_size])  # some have rows for images that no text names
    usual = np.setdiff1d(np.arange(largest), list(named))
    length = min(PROBE_TOKENS, longest(model) or PROBE_TOKENS)
    chosen = generator(seed, Purpose.PROBE_TOKENS).choice(usual if len(usual) else np.arange(largest), size=length)
    return torch.from_numpy(chosen.astype(np.int64)).to(next(model.parameters()).device)


@torch.no_grad()
def reached(model: PreTrainedModel) -> set[nn.Module]:
    """The modules that the model calls for a few tokens of text; all of them if it stops on these."""
    called: set[nn.Module] = set()
    handles = [m.register_forward_pre_hook(lambda module, _: called.add(module)) for m in model.modules()]
    try:
        own_output(model, probe_ids(model)[None])
    except TROUBLE:
        return set(model.modules())
    finally:
        for handle in handles:
            handle.remove()
    return called


@contextmanager
def _trunk_returns(trunk: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let the trunk do something else meanwhile."""
    trunk.forward = forward
    try:
        yield
    finally:
        del trunk.forward  # the class's own shows again


def _find_trunk(model: PreTrainedModel, ids: torch.Tensor) -> nn.Module:
    """The outermost called module with most of the parameters that no embedding holds."""
    sizes = {m: sum(p.numel() for p in m.parameters()) for m in model.modules() if m is not model}
    embedded = {p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    embedded |= set() if unembedding(model) is None else set(unembedding(model).parameters())  # type: ignore[union-attr]
    kept = {m: n - sum(p.numel() for p in set(m.parameters()) & embedded) for m, n in sizes.items()}
    total = sum(p.numel() for p in set(model.parameters()) - embedded)
    called: list[nn.Module] = []
    large = [m for m, n in kept.items() if 2 * n > total and not isinstance(m, nn.ModuleList)]
    handles = [m.register_forward_pre_hook(lambda module, _: called.append(module)) for m in large]
    try:
        own_output(model, ids)
    finally:
        for handle in handles:
            handle.remove()
    if not called:
        raise QuantaError(
            name_of(model),
            "no module within the model gives the hidden states that its head takes",
            "a causal language model of transformers: a base model and a head",
            "take another architecture",
        )
    return called[0]


class Head:
    """From hidden states to logits as the model does it. `plain` says that this is one Linear layer and nothing else."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        ids = probe_ids(model)[None]
        self.trunk, self.plain = _find_trunk(model, ids), False  # until shown
        self._kept: Any = None
        state = self.hidden(ids)
        found = self.logits(state[0])
        self.vocabulary = found.shape[-1]
        self.plain = self._is_plain(ids, state, found)

    def hidden(self, ids: Int[torch.Tensor, "document position"]) -> Float[torch.Tensor, "document position width"]:
        """The hidden states that the model hands to its head; only those of one position are unembedded."""
        if self.plain:
            return self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state  # type: ignore[no-any-return]
        inner = self.trunk.forward

        def forward(*args: Any, **settings: Any) -> Any:
            self._kept = inner(*args, **settings)
            return with_state(self._kept, state_of(self._kept)[:, :1])

        with _trunk_returns(self.trunk, forward):
            own_output(self.model, ids)
        state = state_of(self._kept)
        self._kept = with_state(self._kept, state[:1, :1])
        return state

    def logits(self, state: Float[torch.Tensor, "n width"]) -> Float[torch.Tensor, "n vocabulary"]:
        """The model's own logits of hidden states; `hidden` must have been called before."""
        if self.plain:
            return unembedding(self.model)(state)  # type: ignore[misc, no-any-return]
        with _trunk_returns(self.trunk, lambda *_, **__: with_state(self._kept, state[None])):
            return own_logits(self.model, torch.ones(1, len(state), dtype=torch.int64, device=state.device))[0]

    def _is_plain(self, ids: torch.Tensor, state: torch.Tensor, found: torch.Tensor) -> bool:
        """Whether the unembedding alone gives these logits, and logits so large that no cap leaves them as they are."""
        layer = unembedding(self.model)
        if type(layer) is not nn.Linear:
            return False
        try:
            base = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        except TROUBLE:
            return False
        large = state[0] * (1000 / found.abs().max().clamp_min(1e-6))
        pairs = [(base, state)] + [(layer(s), self.logits(s)) for s in (state[0], large)]
        return all(a.shape == b.shape and float((a - b).abs().max()) <= EXACT * float(b.abs().max()) for a, b in pairs)


_HEADS: "WeakKeyDictionary[PreTrainedModel, _Facts]" = WeakKeyDictionary()


class _Facts:
    """What stays known of a model's head without keeping the model alive."""

    def __init__(self, head: Head) -> None:
        names = {id(m): name for name, m in head.model.named_modules()}
        self.trunk, self.plain, self.vocabulary = names[id(head.trunk)], head.plain, head.vocabulary


@torch.no_grad()
def head_of(model: PreTrainedModel) -> Head:
    """The model's head, found by a few tokens the first time.

    Raises:
        QuantaError: the model cannot run on a few tokens of text, or has no hidden states that a head takes.
    """
    facts = _HEADS.get(model)
    if facts is None:
        try:
            head = Head(model)
        except TROUBLE as error:
            raise stops(model, error) from error
        _HEADS[model] = _Facts(head)
        return head
    known = Head.__new__(Head)
    known.model, known.trunk = model, model.get_submodule(facts.trunk)
    known.plain, known.vocabulary, known._kept = facts.plain, facts.vocabulary, None
    return known
