"""The made language as a set of known skills: small GPT-NeoX nets, trained here or read, and their view of its tokens."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPTNeoXForCausalLM

from quanta.arrays import Array, Bool, Float32, Int
from quanta.errors import QuantaError
from quanta.gradients.parameter_sets import parameter_set
from quanta.gradients.token_gradients import token_gradients
from quanta.known_skills.evidence import Evidence, View, equally
from quanta.known_skills.language import NONE, VOCABULARY, Language, Texts
from quanta.models import training
from quanta.storage import writing

CONTEXT = 64
SIZE = training.LadderSize("known skills", width=64, layers=2, heads=4)
RECIPE = training.Recipe(steps=2000, batch=32, context=CONTEXT, learning_rate=4e-3, warmup_steps=100, weight_decay=0.01)
NETS = 3  # of a language
EARLIER = (200, 400, 800)  # steps of the first net that are kept for its loss curves
LEARNED_NATS, BELOW_NATS, WINDOW = 0.3, 0.1, 10
TRAINING, SAMPLES, BY_FREQUENCY = 0, 2, 3  # parts of the texts
Weights = dict[str, torch.Tensor]


def net(weights: Mapping[str, Any] | None, seed: int, size: training.LadderSize = SIZE) -> GPTNeoXForCausalLM:
    """A net with the weights given, or as it starts."""
    found = training.new_model(size, vocabulary=VOCABULARY, context=CONTEXT, seed=seed)
    if weights is not None:
        found.load_state_dict({name: torch.as_tensor(np.asarray(value)).float() for name, value in weights.items()})
    found.train(False)
    return found


def train(
    language: Language,
    seed: int,
    recipe: training.Recipe = RECIPE,
    size: training.LadderSize = SIZE,
    steps: Sequence[int] = (),
) -> dict[int, Weights]:
    """Train a net on the language's texts; its weights at `steps` and at the end. `seed` draws weights and order of texts."""
    texts = language.texts(recipe.steps * recipe.batch, recipe.context, part=TRAINING)
    model = net(None, seed, size)
    kept: dict[int, Weights] = {}
    training.train(
        model, texts.ids.reshape(-1), recipe, seed=seed, label=f"made language {language.seed}, net {seed}",
        save_at=[*steps, recipe.steps],
        save=lambda step: kept.update({step: {name: value.clone() for name, value in model.state_dict().items()}}),
    )  # fmt: skip
    return kept


def train_several(language: Language, number: int = NETS) -> dict[int, dict[int, Weights]]:
    """`number` nets of a language by seed and step, the first with its earlier steps: about a minute and a half of CPU per net."""
    return {n: train(language, n, steps=EARLIER if n == 0 else ()) for n in range(number)}


def write(path: str | Path, nets: Mapping[int, Mapping[int, Weights]]) -> None:
    """Write the weights of nets by seed and step in float16, as `{seed}/{step}/{name}` of an npz."""
    arrays = {
        f"{seed}/{step}/{name}": value.numpy().astype(np.float16)
        for seed, steps in nets.items()
        for step, weights in steps.items()
        for name, value in weights.items()
    }
    with writing.atomic(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def read(path: str | Path) -> dict[int, dict[int, dict[str, Array]]]:
    """What `write` has written, by seed, step and name.

    Raises:
        QuantaError: the file is missing, damaged, or no file of nets.
    """
    found: dict[int, dict[int, dict[str, Array]]] = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                seed, step, name = key.split("/")
                found.setdefault(int(seed), {}).setdefault(int(step), {})[name] = arrays[key]
    except Exception as error:  # zip, npy and names each fail in ways of their own
        raise QuantaError(str(path), f"{type(error).__name__}: {error}", "nets of the made language",
                          "make them: resources/known_skills/make.py") from error  # fmt: skip
    return found


@torch.no_grad()
def losses(
    model: GPTNeoXForCausalLM, ids: Int[Array, "document position"]
) -> tuple[Float32[Array, "document target"], Array]:
    """Losses in nats of the tokens from the second on, and the last hidden states that predict them."""
    nats, states = [], []
    for begin in range(0, len(ids), 64):
        rows = torch.from_numpy(ids[begin : begin + 64])
        state = model.gpt_neox(input_ids=rows[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(state).flatten(0, 1).float()
        found = torch.nn.functional.cross_entropy(logits, rows[:, 1:].flatten(), reduction="none")
        nats.append(found.view(len(rows), -1).numpy())
        states.append(state.numpy())
    return np.concatenate(nats), np.concatenate(states)


@dataclass(frozen=True)
class Sampled:
    """Tokens of known skills that all nets predict, by place; `learned` are the skills that all nets have learned."""

    texts: Texts
    documents: Int[Array, " sample"]
    positions: Int[Array, " sample"]
    learned: Bool[Array, " skill"]


def sample(
    language: Language, nets: Sequence[GPTNeoXForCausalLM], per_skill: int, *, sampling: str = "equal",
    documents: int = 1500,
) -> Sampled:  # fmt: skip
    """Tokens with a loss below 0.1 nats under all nets, of skills whose mean loss is below 0.3 nats under all nets.

    `sampling` is "equal" (`per_skill` tokens of each skill) or "frequency" (as many in all, as they occur).

    Raises:
        QuantaError: fewer than two skills have as many tokens.
    """
    texts = language.texts(documents, CONTEXT, part=SAMPLES, equal=True)
    found = [losses(model, texts.ids)[0] for model in nets]
    marks = texts.skills[:, 1:]
    learned = np.zeros(len(language.skills), dtype=bool)
    for skill in np.unique(marks[marks != NONE]):
        learned[skill] = all(nats[marks == skill].mean() < LEARNED_NATS for nats in found)
    if sampling != "equal":
        texts = language.texts(documents, CONTEXT, part=BY_FREQUENCY)
        found = [losses(model, texts.ids)[0] for model in nets]
        marks = texts.skills[:, 1:]
    good = (marks != NONE) & learned[marks] & np.all([nats < BELOW_NATS for nats in found], axis=0)
    rows, columns = np.nonzero(good)
    own = marks[rows, columns]
    if sampling == "equal":
        kept = equally(own, per_skill, language.seed)
    else:
        kept = np.sort(_some(len(own), per_skill * int(learned.sum()), language.seed))
    return Sampled(texts, rows[kept], columns[kept] + 1, learned)


def _some(of: int, number: int, seed: int) -> Int[Array, " kept"]:
    from quanta.streams import Purpose, generator

    return generator(seed, Purpose.SKILL_SAMPLES, 2).permutation(of)[:number]


def _at(model: GPTNeoXForCausalLM, chosen: Sampled) -> tuple[Float32[Array, " sample"], Float32[Array, "sample unit"]]:
    """Losses and last hidden states of the samples; texts without a sample are not read."""
    texts, own = np.unique(chosen.documents, return_inverse=True)
    nats, states = losses(model, chosen.texts.ids[texts])
    return nats[own, chosen.positions - 1], states[own, chosen.positions - 1]


def _view(model: GPTNeoXForCausalLM, chosen: Sampled) -> View:
    texts, documents, positions = chosen.texts.ids, chosen.documents, chosen.positions
    rows, _ = token_gradients(model, texts.tolist(), documents, positions, features=None, label="known skills")
    hidden = _at(model, chosen)[1]
    matrices = parameter_set(model).matrices
    blocks = {m.name: slice(m.begin, m.begin + m.size) for m in matrices}
    weights = {m.name: model.get_parameter(m.name).detach().numpy() for m in matrices}
    return View(rows, hidden, blocks, weights)


def evidence(
    language: Language, nets: Mapping[int, Mapping[int, Mapping[str, Any]]], per_skill: int, *, sampling: str = "equal",
    checkpoints: bool = False,
) -> Evidence:  # fmt: skip
    """The evidence of nets by seed and step: the first net has its earlier steps, of the others the last step is used.

    With `checkpoints` the evidence has the first net's gradients at its earlier steps.
    """
    last = [net(steps[max(steps)], seed) for seed, steps in nets.items()]
    chosen = sample(language, last, per_skill, sampling=sampling)
    ids, documents, positions = chosen.texts.ids, chosen.documents, chosen.positions
    seed, steps = next(iter(nets.items()))
    before_last = [net(steps[step], seed) for step in sorted(steps)[:-1]]
    curves = [_at(model, chosen)[0] for model in (*before_last, last[0])]
    before = np.arange(-WINDOW, 0)[None, :] + positions[:, None]
    window = np.where(before >= 0, ids[documents[:, None], np.maximum(before, 0)], VOCABULARY)
    counts = np.zeros((len(documents), VOCABULARY + 1))
    np.add.at(counts, (np.arange(len(documents))[:, None], window), 1)
    target = ids[documents, positions]
    kinds = sorted({skill.kind for skill in language.skills})
    own = chosen.texts.skills[documents, positions]
    return Evidence(
        name=f"language {language.seed}",
        skills=own,
        views=tuple(_view(model, chosen) for model in last),
        untrained=_view(net(None, seed), chosen),
        curves=np.stack(curves, axis=1),
        surface={"target": target, "bigram": ids[documents, positions - 1] * VOCABULARY + target},
        context=counts[:, :VOCABULARY],
        skill_names=tuple(skill.name for skill in language.skills),
        frequencies=language.frequencies,
        further={"kind": np.array([kinds.index(language.skills[skill].kind) for skill in own])},
        earlier=tuple(_view(model, chosen) for model in before_last) if checkpoints else (),
    )
