"""Training of many one-hidden-layer nets on sparse parity as one batch.

The nets of a sweep see the same samples, so their hidden units stand side by side in one matrix and one product serves
all of them. What the straightforward way computes is kept to the letter; three identities make it cheap:

- The product with the one-hot code is a gathered row, and its gradient a sum over a task's samples. Samples come in
  order of their task, so both run over neighbours.
- Cross-entropy of two logits depends on their difference alone. The two rows of the last layer get opposite gradients,
  hence opposite Adam updates: one row, their difference, with twice the learning rate is the same net.
- Samples are worked off in chunks that fit the cache, and all products of a chunk in bfloat16 where that pays; weights,
  gradients and Adam's moments are float32 throughout.

A net never sees another one: the products that bring them together only add exact zeros.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from quanta.arrays import Array
from quanta.errors import QuantaError
from quanta.parity.sparse_parity import (
    WEIGHTS,
    Batch,
    ParityProblem,
    Samples,
    check_widths,
    held_out,
    log_spaced,
    stream,
    torch_generator,
    unpack,
)
from quanta.progress import Progress
from quanta.storage import training_state

log = logging.getLogger("quanta")

BITS_PER_NAT = 1 / float(np.log(2))
DIVERGED_BITS = 4.0  # four times the loss of a coin toss; a net that learns stays near or below 1
BETTER_THAN_CHANCE_BITS = 0.95  # below it something is learned; a coin toss is 1
OVERFITTED_BITS = 1.5  # nets that did learn later stayed below 1.05 before (docs/parity.md)
LARGEST_WEIGHT = 1e6  # far beyond any weight that learns, far below where a product overflows
CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 1 << 30}  # hidden activations of one chunk; measured best on the CPU
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class TrainingSettings:
    """How nets are trained; the defaults are the paper's, except for the held-out samples and the checkpoints."""

    steps: int
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    precision: str = "float32"
    evaluations: int = 60
    held_out_per_task: int = 100
    patience: float | None = None
    checkpoint_every: int = 1000

    def evaluation_steps(self) -> list[int]:
        """Steps after which the loss is measured: 0, then evenly spaced in the logarithm up to the last."""
        return [0, *log_spaced(1, self.steps, self.evaluations)]


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of a training is kept, also when it has ended: whoever has written its results removes it.

    `key` names all that the state depends on (`states.key`); a state kept under another one is thrown away.
    """

    path: Path
    key: str

    def remove(self) -> None:
        """Remove the state, if there is one."""
        self.path.unlink(missing_ok=True)


@dataclass
class Curves:
    """What training leaves: mean held-out loss in bits of each task, at each evaluation, for each net.

    NaN after the step at which a net diverged or was stopped by patience. `diverged_step` is −1 for a sound net.
    """

    steps: Int[Array, " evaluation"]
    loss_bits: Float32[Array, "net evaluation task"]
    diverged_step: Int[Array, " net"]


class Nets:
    """One-hidden-layer ReLU nets of several widths, side by side. Weights start as `torch.nn.Linear` would draw them.

    A net's first weights depend on the seed and its width alone, not on the nets beside it.
    """

    def __init__(self, problem: ParityProblem, widths: Sequence[int], device: torch.device | str = "cpu") -> None:
        check_widths(widths)
        self.problem, self.widths, self.device = problem, tuple(widths), torch.device(device)
        self.owner = torch.repeat_interleave(torch.tensor(self.widths)).to(self.device)
        rows, codes, biases, lasts, last_biases = [], [], [], [], []
        for width in self.widths:
            generator = torch_generator(stream(problem.seed, WEIGHTS, width), "cpu")

            def uniform(*shape: int, fan_in: int, generator: torch.Generator = generator) -> Tensor:
                return torch.rand(*shape, generator=generator).mul_(2).sub_(1).div_(fan_in**0.5)

            entries = problem.n_tasks + problem.n_bits
            codes.append(uniform(width, problem.n_tasks, fan_in=entries).T)
            rows.append(uniform(width, problem.n_bits, fan_in=entries))
            biases.append(uniform(width, fan_in=entries))
            two = uniform(2, width, fan_in=width)
            lasts.append(two[1] - two[0])
            two_biases = uniform(2, fan_in=width)
            last_biases.append(two_biases[1:] - two_biases[:1])
        self.bit_weight: Float[Tensor, "unit bit"] = torch.cat(rows).to(self.device)
        self.code_weight: Float[Tensor, "task unit"] = torch.cat(codes, dim=1).contiguous().to(self.device)
        self.bias: Float[Tensor, " unit"] = torch.cat(biases).to(self.device)
        self.output_weight: Float[Tensor, " unit"] = torch.cat(lasts).to(self.device)
        self.output_bias: Float[Tensor, " net"] = torch.cat(last_biases).to(self.device)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameters by name. The last layer is held as logit 1 minus logit 0."""
        names = ("bit_weight", "code_weight", "bias", "output_weight", "output_bias")
        return {name: getattr(self, name) for name in names}

    def parameters_of(self, width: int) -> int:
        """Parameters of one net, its two logits counted."""
        return (self.problem.n_tasks + self.problem.n_bits + 1) * width + 2 * width + 2

    def one(self, net: int, weights: Mapping[str, Tensor] | None = None) -> dict[str, Array]:
        """A copy of one net's weights, of those that all nets have now or had at another time."""
        units, every = self.owner == net, weights or self.weights
        own = {
            "bit_weight": every["bit_weight"][units],
            "code_weight": every["code_weight"][:, units],
            "bias": every["bias"][units],
            "output_weight": every["output_weight"][units],
            "output_bias": every["output_bias"][net : net + 1],
        }
        return {name: weight.cpu().numpy().copy() for name, weight in own.items()}

    def stop(self, net: int) -> None:
        """Set a net's weights to zero, so that nothing of it can reach the others."""
        units = self.owner == net
        self.bit_weight[units] = 0
        self.code_weight[:, units] = 0
        self.bias[units] = 0
        self.output_weight[units] = 0
        self.output_bias[net] = 0

    def unsound(self) -> list[int]:
        """Nets with a weight that is not finite or beyond `LARGEST_WEIGHT`."""
        # one pass over everything first: the answer is nearly always "none"
        ends = torch.stack([end for weight in self.weights.values() for end in torch.aminmax(weight)])
        if bool(ends.abs().amax() <= LARGEST_WEIGHT):
            return []
        largest = torch.stack([self.bit_weight.abs().amax(1), self.code_weight.abs().amax(0), self.bias.abs()])
        worst = torch.maximum(largest.amax(0), self.output_weight.abs())
        wrong = ~(worst <= LARGEST_WEIGHT)
        found = {int(self.owner[unit]) for unit in torch.nonzero(wrong).flatten()}
        found |= {int(net) for net in torch.nonzero(~(self.output_bias.abs() <= LARGEST_WEIGHT)).flatten()}
        return sorted(found)


class Engine:
    """Forward and backward passes of all nets over a batch, chunk by chunk."""

    def __init__(self, nets: Nets, precision: str = "float32") -> None:
        if precision not in DTYPES:
            raise QuantaError("parity.precision", repr(precision), f"one of {sorted(DTYPES)}", "change the value")
        self.nets, self.dtype = nets, DTYPES[precision]
        self.units = len(nets.owner)
        self.rows = max(CHUNK_BYTES[nets.device.type] // (self.units * self.dtype.itemsize), 64)
        self.subsets = torch.from_numpy(nets.problem.subsets).to(nets.device)
        self.gradients = {name: torch.zeros_like(weight) for name, weight in nets.weights.items()}
        self._spread = torch.zeros(self.units, len(nets.widths), dtype=self.dtype, device=nets.device)
        # the eight bits of each byte in the type of the products: looking them up is twice as fast as shifts and a cast
        self._bytes = unpack(torch.arange(256).to(torch.uint8)[:, None], 8).to(nets.device, self.dtype)
        self._places = torch.arange(self.units, device=nets.device)
        self._numbers = torch.arange(self.rows, device=nets.device)
        self.refresh()

    def refresh(self) -> None:
        """Take over the nets' weights in the precision of the products."""
        nets = self.nets
        self._bit_weight = nets.bit_weight.to(self.dtype).T
        self._code_weight = (nets.code_weight + nets.bias).to(self.dtype)
        self._spread[self._places, nets.owner] = nets.output_weight.to(self.dtype)

    def _forward(self, packed: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bits, labels, hidden activations (sample, unit), logit differences (sample, net) of a chunk."""
        entries = self._bytes.index_select(0, packed.flatten().int()).view(len(packed), -1)
        entries = entries[:, : self.nets.problem.n_bits]
        own = torch.gather(entries, 1, self.subsets.index_select(0, tasks))
        labels = own.sum(1, dtype=torch.float32) % 2
        hidden = self._code_weight.index_select(0, tasks)
        torch.addmm(hidden, entries, self._bit_weight, out=hidden)
        _relu(hidden)
        # few nets make a thin product, which float32 libraries do four times as fast from the other side
        thin = (self._spread.T @ hidden.T).T if self.dtype == torch.float32 else hidden @ self._spread
        return entries, labels, hidden, thin.float() + self.nets.output_bias

    @torch.no_grad()
    def backward(self, batch: Batch) -> None:
        """Leave the gradients of every net's mean loss (nats) over the batch in `gradients`.

        The last layer's are those of one of its two rows, as `TrainingSettings.learning_rate` belongs to them.
        """
        nets, sums = self.nets, self.gradients
        for gradient in sums.values():
            gradient.zero_()
        for low in range(0, len(batch), self.rows):
            tasks = batch.tasks[low : low + self.rows]
            entries, labels, hidden, logits = self._forward(batch.packed[low : low + self.rows], tasks)
            slope = (torch.sigmoid(logits) - labels[:, None]) / len(batch)
            sums["output_bias"] += slope.sum(0)
            slope = slope.to(self.dtype)
            pairs = slope.T @ hidden
            sums["output_weight"] += pairs[nets.owner, self._places]
            into = slope @ self._spread.T
            _mask(into, hidden)
            sums["bit_weight"] += (entries.T @ into).T
            # sums over each task's samples: neighbours, because the batch is in order of tasks
            first = int(np.searchsorted(batch.ends, low, side="right"))
            last = int(np.searchsorted(batch.ends, low + len(tasks) - 1, side="right"))
            begins = batch.ends[first : last + 1] - low
            begins = np.concatenate([[0], begins[:-1]])
            offsets = torch.from_numpy(begins).to(nets.device)
            by_task = torch.nn.functional.embedding_bag(self._numbers[: len(tasks)], into, offsets, mode="sum")
            sums["code_weight"][first : last + 1] += by_task
        torch.sum(sums["code_weight"], 0, out=sums["bias"])

    @torch.no_grad()
    def losses(self, batch: Batch) -> Float32[Array, "net task"]:
        """Mean loss in bits of every task of the batch, for every net; NaN for a task without samples."""
        n_tasks = self.nets.problem.n_tasks
        # on the CPU, where the order of a sum is always the same
        sums = torch.zeros(n_tasks, len(self.nets.widths), dtype=torch.float64)
        for low in range(0, len(batch), self.rows):
            tasks = batch.tasks[low : low + self.rows]
            _, labels, _, logits = self._forward(batch.packed[low : low + self.rows], tasks)
            wrong_way = torch.where(labels[:, None] == 1, -logits, logits)
            nats = torch.nn.functional.softplus(wrong_way.double())
            sums.index_add_(0, tasks.cpu(), nats.cpu())
        counts = np.diff(batch.ends, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums.numpy() / counts[:, None] * BITS_PER_NAT
        return np.asarray(means.T, dtype=np.float32)


def _relu(hidden: Tensor) -> None:
    """ReLU in place."""
    if hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu":
        # the sign bit is the same in both, and whole numbers need no conversion: three times as fast
        hidden.view(torch.int16).clamp_(min=0)
    else:
        hidden.relu_()


def _mask(into: Tensor, hidden: Tensor) -> None:
    """Set a gradient to zero where the unit was off, in place."""
    if hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu":
        into.view(torch.int16).mul_(hidden.view(torch.int16).clamp(max=1))
    else:
        torch.ops.aten.threshold_backward.grad_input(into, hidden, 0, grad_input=into)


def adam(nets: Nets, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all nets. The last layer's difference of two rows moves twice as fast as either of them."""
    weights = nets.weights
    groups = [
        {"params": [weights["bit_weight"], weights["code_weight"], weights["bias"]], "lr": learning_rate},
        {
            "params": [weights["output_weight"], weights["output_bias"]],
            "lr": 2 * learning_rate,
            # decay acts on the weights themselves: not twice on their difference
            "weight_decay": weight_decay / 2,
        },
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)


def estimated_bytes(problem: ParityProblem, widths: Sequence[int], batch_size: int, settings: TrainingSettings,
                    *, training_set: int = 0, device: str = "cpu") -> int:  # fmt: skip
    """Bytes that training will need at most: weights with gradients, moments and three snapshots, one chunk, batch, samples, curves."""
    units, nets = sum(widths), len(widths)
    byte = -(-problem.n_bits // 8)
    size = DTYPES.get(settings.precision, torch.float32).itemsize
    weights = units * (problem.n_tasks + problem.n_bits + 2) * (7 * 4 + size)
    rows = max(CHUNK_BYTES[device] // (units * size), 64)
    chunk = rows * (3 * units * size + problem.n_bits * (size + 10) + nets * 24)
    samples = (batch_size + problem.n_tasks * settings.held_out_per_task) * (byte + 8) + training_set * (byte + 24)
    curves = nets * (settings.evaluations + 1) * problem.n_tasks * 4
    return weights + chunk + samples + curves


def check_memory(need: int, available: int) -> None:
    """Raise QuantaError if training needs more bytes than there are; said before it starts."""
    if need > available:
        raise QuantaError(
            "parity",
            f"nets, batch and samples of about {need / 2**30:.1f} GiB",
            f"at most {available / 2**30:.1f} GiB, what is free on the device",
            "lower parity.batch_size, or take fewer or smaller parity.widths or parity.data_sizes",
        )


def train(
    nets: Nets,
    samples: Samples,
    settings: TrainingSettings,
    *,
    label: str = "parity",
    checkpoint: Checkpoint | None = None,
    snapshots: Sequence[int] = (),
) -> tuple[Curves, dict[int, dict[str, Array]]]:
    """Train the nets in place. Return their curves, and the weights of the widest net that did not diverge at each of `snapshots`.

    With a `checkpoint`, the state is written there every `checkpoint_every` steps and at the end, and taken up again if
    the file exists: the result is the same to the last bit, because a batch depends on its step alone. A net that diverges
    is set to zero and named in the curves and the log; the others go on. If all diverge, no weights are returned.
    """
    problem, device = nets.problem, nets.device
    engine = Engine(nets, settings.precision)
    optimizer = adam(nets, settings.learning_rate, settings.weight_decay)
    for name, weight in nets.weights.items():
        weight.grad = engine.gradients[name]
    exam = held_out(problem, settings.held_out_per_task, device)
    evaluations = settings.evaluation_steps()
    losses = np.full((len(nets.widths), len(evaluations), problem.n_tasks), np.nan, dtype=np.float32)
    state = _State(0, losses, np.full(len(nets.widths), -1, dtype=np.int64), {})
    if checkpoint is not None and checkpoint.path.exists() and _resume(checkpoint, state, nets, optimizer):
        for name, weight in nets.weights.items():
            weight.grad = engine.gradients[name]
        engine.refresh()
        log.info("%s: %s step %d", label, "had ended at" if state.ended else "goes on from", state.step)

    progress = Progress(label, settings.steps - state.step, "steps")
    frequencies = problem.frequencies
    while not state.ended:
        step = state.step
        if step in evaluations:
            place = evaluations.index(step)
            found = engine.losses(exam)
            found[state.diverged >= 0] = np.nan
            means = found @ frequencies
            for net in np.flatnonzero((state.diverged < 0) & ~(means <= DIVERGED_BITS)).tolist():
                _drop(nets, net, step, state, label)
                engine.refresh()
                found[net] = np.nan
            state.losses[:, place] = found
            if settings.patience is not None and _may_end(state, evaluations, frequencies, settings.patience):
                break
        if step in snapshots:
            state.snapshots[step] = {name: weight.clone() for name, weight in nets.weights.items()}
        if step == settings.steps:
            break
        if checkpoint is not None and step and step % settings.checkpoint_every == 0:
            _save(checkpoint, state, nets, optimizer)
        engine.backward(samples.batch(step))
        optimizer.step()
        state.step += 1
        for net in nets.unsound():
            _drop(nets, net, state.step, state, label)
            for weight in nets.weights.values():
                moments: dict[str, Any] = optimizer.state[weight]
                for name in ("exp_avg", "exp_avg_sq"):
                    moments[name].nan_to_num_(0, 0, 0)
        engine.refresh()
        progress.advance()
    progress.done()
    if checkpoint is not None and not state.ended:
        state.ended = True
        _save(checkpoint, state, nets, optimizer)
    sound = np.flatnonzero(state.diverged < 0).tolist()
    widest = max(sound, key=lambda net: nets.widths[net]) if sound else None
    saved = {step: nets.one(widest, own) for step, own in state.snapshots.items() if widest is not None}
    return Curves(np.array(evaluations), state.losses, state.diverged), saved


@dataclass
class _State:
    step: int
    losses: Float32[Array, "net evaluation task"]
    diverged: Int[Array, " net"]
    snapshots: dict[int, dict[str, Tensor]]
    ended: bool = False


def _drop(nets: Nets, net: int, step: int, state: _State, label: str) -> None:
    if state.diverged[net] < 0:
        state.diverged[net] = step
        log.warning(
            "%s: the net of width %d (seed %d) diverged at step %d; the others go on without it",
            *(label, nets.widths[net], nets.problem.seed, step),
        )
    nets.stop(net)


def _may_end(state: _State, evaluations: list[int], frequencies: Array, patience: float) -> bool:
    """True once every net's least loss lies so far back that the run may end (early stopping, sweep in data).

    A net that has learned nothing yet is waited for, until it is plainly overfitted: with many bits held-out losses rise a
    little for hundreds of steps before the first task is learned.
    """
    sound, place = state.diverged < 0, evaluations.index(state.step)
    if not sound.any():
        return True
    means = (state.losses[:, : place + 1] @ frequencies)[sound]
    best = np.array(evaluations)[np.nanargmin(means, axis=1)]
    late = state.step >= patience * np.maximum(best, 100)
    decided = (np.nanmin(means, axis=1) < BETTER_THAN_CHANCE_BITS) | (means[:, -1] > OVERFITTED_BITS)
    return bool((late & decided).all())


def _save(checkpoint: Checkpoint, state: _State, nets: Nets, optimizer: torch.optim.AdamW) -> None:
    content = {
        "key": checkpoint.key,
        "step": state.step,
        "ended": state.ended,
        "losses": torch.from_numpy(state.losses),
        "diverged": torch.from_numpy(state.diverged),
        "snapshots": state.snapshots,
        "weights": nets.weights,
        "optimizer": optimizer.state_dict(),
    }
    training_state.write(checkpoint.path, content)


def _resume(checkpoint: Checkpoint, state: _State, nets: Nets, optimizer: torch.optim.AdamW) -> bool:
    """Take up what was kept; False where it is damaged or another run's, which removes it."""
    content = training_state.read(checkpoint.path, nets.device)
    if content is None:
        return False
    if content.get("key") != checkpoint.key:
        log.warning(
            "%s is of a training with other settings, code, PyTorch, device or precision and was removed: "
            "the training starts from its beginning",
            checkpoint.path,
        )
        checkpoint.remove()
        return False
    state.step, state.ended = content["step"], content["ended"]
    state.losses[:] = content["losses"].cpu().numpy()
    state.diverged[:] = content["diverged"].cpu().numpy()
    state.snapshots.update(content["snapshots"])
    for name, weight in nets.weights.items():
        weight.copy_(content["weights"][name])
    optimizer.load_state_dict(content["optimizer"])
    return True
