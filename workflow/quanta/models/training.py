"""Training of a ladder of small models: same tokens, same order, deterministic for a number of threads."""

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from quanta.arrays import Array, Int
from quanta.errors import QuantaError
from quanta.models import neox_loss
from quanta.progress import Progress
from quanta.storage import training_state
from quanta.streams import Purpose, generator

COLUMNS = ("step", "tokens", "loss_nats", "learning_rate", "gradient_norm")  # of the curve of a training
EVERY = 10  # steps between two rows of it


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Learning rates are a peak: linear warm-up, then a cosine down to a tenth of it."""

    steps: int
    batch: int
    context: int
    learning_rate: float
    warmup_steps: int
    weight_decay: float
    precision: str = "float32"
    clip: float = 1.0

    def rate_at(self, step: int) -> float:
        """Learning rate of a step (0 is the first)."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(self.steps - self.warmup_steps, 1)
        return self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def batch_of(tokens: Array, recipe: Recipe, step: int, order: Int[Array, " window"]) -> torch.Tensor:
    """Token ids (batch, context) of one step: windows of the stream in `order`, again from its start when used up."""
    chosen = order[np.arange(step * recipe.batch, (step + 1) * recipe.batch) % len(order)]
    return torch.from_numpy(
        np.stack([tokens[w * recipe.context : (w + 1) * recipe.context] for w in chosen]).astype(np.int64)
    )


def window_order(n_tokens: int, recipe: Recipe, seed: int) -> Int[Array, " window"]:
    """The order of the stream's windows, the same for every size.

    Raises:
        QuantaError: the stream is shorter than one batch.
    """
    windows = n_tokens // recipe.context
    if windows < recipe.batch:
        raise QuantaError(
            "corpus.training_tokens",
            f"{n_tokens} tokens for training",
            f"at least one batch, {recipe.batch * recipe.context} tokens",
            "give more text, or lower models.train.batch",
        )
    return generator(seed, Purpose.TRAINING_WINDOWS).permutation(windows)


def loss_of(model: GPTNeoXForCausalLM, ids: torch.Tensor, precision: str) -> torch.Tensor:
    """Mean cross-entropy (nats) of ids (batch, context): written by hand on a CPU, where it is faster; else the library's."""
    if ids.device.type == "cpu":
        return neox_loss.loss(model, ids, torch.bfloat16 if precision == "bfloat16" else torch.float32)
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())


@dataclass(frozen=True)
class Unfinished:
    """Where a training is kept while it runs, so that a killed one goes on from there, to the same bytes.

    `key` names all that the weights depend on: a training kept under another one is thrown away.
    """

    folder: Path
    key: str
    every_seconds: float = 60.0

    def folder_of(self, step: int) -> Path:
        """Where the model of a saved step waits for the end."""
        return self.folder / f"step{step}"

    def read(self, device: torch.device) -> dict[str, Any] | None:
        """The last state that was written; None where there is none of this key, or it or a saved model is damaged."""
        path = self.folder / "state.pt"
        if path.is_file():
            state = training_state.read(path, device)
            now = training_state.digests(self.folder)
            # models of later steps are made again; those of before must be what they were
            if state and state["key"] == self.key and state["saved"].items() <= now.items():
                return state
        shutil.rmtree(self.folder, ignore_errors=True)
        return None

    def write(self, state: dict[str, Any]) -> None:
        """Write a state, whole or not at all."""
        saved = {name: value for name, value in training_state.digests(self.folder).items() if name != "state.pt"}
        training_state.write(self.folder / "state.pt", state | {"key": self.key, "saved": saved})


class Training:
    """A model in training: what one step does, what is recorded, and the state that a killed training goes on from."""

    def __init__(
        self, model: GPTNeoXForCausalLM, tokens: Array, recipe: Recipe, *, seed: int, label: str,
        unfinished: Unfinished | None = None,
    ) -> None:  # fmt: skip
        self.model, self.tokens, self.recipe, self.label, self.unfinished = model, tokens, recipe, label, unfinished
        self.order = window_order(len(tokens), recipe, seed)
        self.device = next(model.parameters()).device
        decay = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), eps=1e-8, fused=True)
        self.done = 0  # steps
        self.rows: list[tuple[int, int, float, float, float]] = []  # of `COLUMNS`
        self.since: list[float] = []  # losses since the last row
        self.kept = time.monotonic()

    def resume(self) -> bool:
        """Go on from the state that was kept; False if there is none."""
        state = self.unfinished.read(self.device) if self.unfinished else None
        if not state:
            return False
        self.done, self.rows, self.since = state["step"], state["rows"], state["since"]
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        return True

    def step(self) -> None:
        """Train on one batch, and record its loss.

        Raises:
            QuantaError: the loss is no longer finite.
        """
        recipe = self.recipe
        ids = batch_of(self.tokens, recipe, self.done, self.order).to(self.device)
        rate = recipe.rate_at(self.done)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        loss = loss_of(self.model, ids, recipe.precision)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.done += 1
        self.since.append(float(loss.detach()))
        self._check(self.since[-1])
        if self.done % EVERY == 0 or self.done == recipe.steps:
            seen = self.done * recipe.batch * recipe.context
            self.rows.append((self.done, seen, float(np.mean(self.since)), rate, float(norm)))
            self.since = []

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise QuantaError(
                f"models.train, size {self.label}",
                f"loss {loss} at step {self.done}",
                "a finite loss",
                "lower the size's learning_rate or lengthen models.train.warmup_steps",
            )

    def keep(self) -> None:
        """Write the state if it is time to."""
        if self.unfinished and time.monotonic() - self.kept > self.unfinished.every_seconds:
            self.kept = time.monotonic()
            tensors = {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}
            self.unfinished.write({"step": self.done, "rows": self.rows, "since": self.since, **tensors})


def train(
    model: GPTNeoXForCausalLM,
    tokens: Array,
    recipe: Recipe,
    *,
    seed: int,
    label: str,
    save_at: Sequence[int],
    save: Callable[[int], None],
    unfinished: Unfinished | None = None,
) -> pd.DataFrame:
    """Train in place; call `save(step)` after so many steps (0 is before the first).

    With `unfinished`, the state is kept there now and then, and a training that was killed goes on from it; `save` is not
    called again for steps before that.

    Returns:
        a table with one row each ten steps: step, tokens, loss_nats (mean of the batches since the row before),
        learning_rate, gradient_norm (before clipping).

    Raises:
        QuantaError: the loss is no longer finite.
    """
    training = Training(model, tokens, recipe, seed=seed, label=label, unfinished=unfinished)
    batch = recipe.batch * recipe.context
    progress = Progress(f"training {label}", recipe.steps * batch, "tokens")
    model.train()
    if training.resume():
        progress.skip(training.done * batch)
    elif 0 in save_at:
        save(0)
    while training.done < recipe.steps:
        training.step()
        progress.advance(batch, f"loss {training.rows[-1][2]:.2f} nats" if training.rows else "")
        if training.done in save_at:
            save(training.done)
        training.keep()
    progress.done(f"loss {training.rows[-1][2]:.3f} nats")
    return pd.DataFrame(training.rows, columns=pd.Index(COLUMNS))


@dataclass(frozen=True)
class LadderSize:
    """One size of a GPT-NeoX ladder."""

    name: str
    width: int
    layers: int
    heads: int


def new_model(size: LadderSize, *, vocabulary: int, context: int, seed: int) -> GPTNeoXForCausalLM:
    """A GPT-NeoX model with fresh weights, shaped as Pythia is: parallel residual, rotary on a quarter of each head.

    Weights depend on `seed` alone; the global random state is left as it was.
    """
    config = GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=4 * size.width,
        max_position_embeddings=context,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        use_parallel_residual=True,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        build: Any = GPTNeoXForCausalLM._from_config
        return cast(GPTNeoXForCausalLM, build(config, attn_implementation="sdpa"))
