"""Samples of single tasks, their gradients and losses in the widest net."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Float32, Int

from quanta.affinity import cosine
from quanta.arrays import BITS_PER_NAT, Array
from quanta.errors import QuantaError
from quanta.parity.sparse_parity import ParityProblem, parity, random_batch, unpack
from quanta.streams import Purpose, stream, torch_generator

SAMPLINGS = ("frequency", "equal", "one pattern", "equal, one pattern")
# which weights a gradient is taken of; "code" is to this net what the embedding is to a language model
PARTS = {"all": ("code", "bits", "output"), "without code": ("bits", "output")}


@dataclass(frozen=True)
class Probes:
    """Samples drawn as the problem draws them: true task, bits, label, loss of each under one net."""

    tasks: Int[Array, " sample"]
    bits: Int[Array, "sample bit"]
    labels: Int[Array, " sample"]
    loss_bits: Float[Array, " sample"]

    def __len__(self) -> int:
        return len(self.tasks)

    def take(self, keep: Array) -> "Probes":
        """The samples of a mask or of places."""
        return Probes(self.tasks[keep], self.bits[keep], self.labels[keep], self.loss_bits[keep])


def _forward(net: dict[str, Array], tasks: Array, bits: Array) -> tuple[Array, Array]:
    """Hidden activations (sample, unit) and logit differences (sample,) in float64."""
    weights = {name: np.asarray(weight, dtype=np.float64) for name, weight in net.items()}
    hidden = np.maximum(weights["code_weight"][tasks] + bits @ weights["bit_weight"].T + weights["bias"], 0)
    return hidden, hidden @ weights["output_weight"] + weights["output_bias"][0]


def responses(net: dict[str, Array], probes: "Probes") -> tuple[Float[Array, "sample unit"], Float[Array, " sample"]]:
    """Hidden activations, and each sample's loss in nats, in float64."""
    hidden, logits = _forward(net, probes.tasks, probes.bits)
    return hidden, np.logaddexp(0, np.where(probes.labels == 1, -logits, logits))


def read_snapshots(path: str | Path) -> dict[int, dict[str, Array]]:
    """Weights by step and name from `widest.npz`, whose arrays are called step{step}.{name}."""
    found: dict[int, dict[str, Array]] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            step, name = key.removeprefix("step").split(".")
            found.setdefault(int(step), {})[name] = arrays[key]
    return found


def losses_at(curves: pd.DataFrame, size: int, steps: Sequence[int]) -> dict[int, Float[Array, " task"]]:
    """Held-out losses (bits) of the net of a size at the first measured step from each of `steps` on."""
    own = curves[curves["size"] == size]
    # a snapshot need not be a step that was measured: the next one after it is near enough to name the learned tasks
    measured = np.sort(own["step"].unique())
    places = np.minimum(np.searchsorted(measured, steps), len(measured) - 1)
    return {
        step: own[own["step"] == measured[place]].sort_values("task")["loss_bits"].to_numpy()
        for step, place in zip(steps, places, strict=True)
    }


def draw_probes(
    problem: ParityProblem,
    net: dict[str, Array],
    number: int,
    *,
    sampling: str = "frequency",
    below_bits: float | None = None,
    tasks: Array | None = None,
) -> Probes:
    """About `number` samples whose loss is below `below_bits`, if that is given: the selection of language models.

    `sampling` is one of `SAMPLINGS`: tasks by the problem's frequencies or equally often; the bits of the task's subset at
    random, or all zero, so that a task is always the same case of its parity table. `tasks` (a mask) restricts the tasks.

    Raises:
        QuantaError: an unknown sampling, or too few of the samples drawn are below the threshold.
    """
    if sampling not in SAMPLINGS:
        raise QuantaError("parity.qdg", f"the sampling {sampling!r}", f"one of {SAMPLINGS}", "name one of these")
    weights = np.ones(problem.n_tasks) if sampling.startswith("equal") else problem.frequencies.copy()
    if tasks is not None:
        weights[~tasks] = 0
    if not weights.any():
        raise QuantaError("parity.qdg", "no task to draw samples of", "at least one learned task", "train longer")
    weights /= weights.sum()
    subsets = torch.from_numpy(problem.subsets)
    parts: list[Probes] = []
    found, draws = 0, 0
    while found < number and draws < 20:
        seeds = stream(problem.seed, Purpose.PARITY_PROBES, SAMPLINGS.index(sampling), draws)
        rng = np.random.default_rng(seeds)
        counts = rng.multinomial(number, weights)
        if sampling.startswith("equal"):
            counts = np.where(weights > 0, -(-number // np.count_nonzero(weights)), 0)
        batch = random_batch(counts, problem.n_bits, torch_generator(seeds, "cpu"))
        bits = unpack(batch.packed, problem.n_bits)
        if sampling.endswith("one pattern"):
            bits = bits.scatter(1, subsets[batch.tasks], 0)
        labels = parity(bits, subsets[batch.tasks]).numpy().astype(np.int64)
        logits = _forward(net, batch.tasks.numpy(), bits.numpy())[1]
        loss = np.logaddexp(0, np.where(labels == 1, -logits, logits)) * BITS_PER_NAT
        part = Probes(batch.tasks.numpy(), bits.numpy(), labels, loss).take(rng.permutation(len(batch)))
        parts.append(part if below_bits is None else part.take(part.loss_bits < below_bits))
        found, draws = found + len(parts[-1]), draws + 1
    if found < number:
        raise QuantaError(
            "parity.qdg.below_bits",
            f"{found} of {draws * number} samples have a loss below {below_bits} bits",
            f"{number} of them",
            "train longer, raise parity.qdg.below_bits, or lower parity.qdg.samples",
        )
    tasks_, bits_, labels_, losses_ = (
        np.concatenate([getattr(part, name) for part in parts])[:number]
        for name in ("tasks", "bits", "labels", "loss_bits")
    )
    return Probes(tasks_, bits_, labels_, losses_)


def gradients(net: dict[str, Array], probes: Probes, parts: str = "all") -> Float32[Array, "sample parameter"]:
    """The gradient of each sample's own loss (nats) for the net with two logits, flat, not normalised.

    Closed form: with e = σ(z) − y and u the last layer's difference, the hidden layer gets d = e·u·[h > 0], its weights
    d ⊗ (code, bits) and bias d, the two rows of the last layer ∓e·h. `parts` is a key of `PARTS`.

    Raises:
        QuantaError: an unknown key of `PARTS`.
    """
    if parts not in PARTS:
        raise QuantaError("parity.qdg.parts", repr(parts), f"one of {list(PARTS)}", "change the value")
    hidden, logits = _forward(net, probes.tasks, probes.bits)
    error = _error(logits, probes.labels)
    into = error[:, None] * np.asarray(net["output_weight"], dtype=np.float64) * (hidden > 0)
    n, n_tasks = len(probes), len(net["code_weight"])
    pieces = []
    if "code" in PARTS[parts]:
        code = np.zeros((n, n_tasks, hidden.shape[1]), dtype=np.float32)
        code[np.arange(n), probes.tasks] = into
        pieces.append(code.reshape(n, -1))
    pieces.append((into[:, :, None] * probes.bits[:, None, :]).reshape(n, -1).astype(np.float32))
    pieces.append(into.astype(np.float32))
    pieces += [(sign * error[:, None] * hidden).astype(np.float32) for sign in (-1, 1)]
    pieces.append(np.stack([-error, error], axis=1).astype(np.float32))
    return np.concatenate(pieces, axis=1)


def _error(logits: Array, labels: Array) -> Float[Array, " sample"]:
    """σ(z) − y without cancellation: the smallest errors are the ones of the best learned samples."""
    away = np.where(labels == 1, -logits, logits)
    size = np.exp(-np.logaddexp(0, -away))
    return np.asarray(np.where(labels == 1, -size, size))


def with_noise(features: Array, noise: float, rng: np.random.Generator) -> Float32[Array, "sample parameter"]:
    """Unit gradients plus an isotropic random vector of expected length `noise`: cosines shrink by about 1 + noise²."""
    unit = cosine.unit_rows(features)
    if noise == 0:
        return unit
    added = rng.standard_normal(unit.shape, dtype=np.float32) * np.float32(noise / unit.shape[1] ** 0.5)
    return np.asarray(unit + added, dtype=np.float32)


def cases(probes: Probes, subsets: Int[Array, "task k"]) -> Int[Array, " sample"]:
    """A number for each task and pattern of the bits in its subset."""
    k = subsets.shape[1]
    pattern = np.take_along_axis(probes.bits, subsets[probes.tasks], axis=1).astype(np.int64) @ (1 << np.arange(k))
    return np.asarray(probes.tasks * (1 << k) + pattern)
