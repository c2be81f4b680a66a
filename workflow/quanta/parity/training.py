"""Training of all nets of a sweep on sparse parity, with states to go on from after a kill.

The nets of a sweep see the same samples, so one product serves all of them (`quanta.parity.networks`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor

from quanta.arrays import Array
from quanta.errors import QuantaError
from quanta.parity import networks
from quanta.parity.networks import CHUNK_BYTES, DTYPES, NetPasses, Nets
from quanta.parity.sparse_parity import Batch, ParityProblem, Samples, held_out, log_spaced
from quanta.progress import Progress
from quanta.storage import training_state

log = logging.getLogger("quanta")


DIVERGED_BITS = 4.0  # four times the loss of a coin toss; a net that learns stays near or below 1
BETTER_THAN_CHANCE_BITS = 0.95  # below it something is learned; a coin toss is 1
OVERFITTED_BITS = 1.5  # nets that did learn later stayed below 1.05 before (docs/parity.md)


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
    training = _Training(nets, settings, label, checkpoint, frozenset(snapshots))
    if training.resume():
        log.info("%s: %s step %d", label, "had ended at" if training.ended else "continues from", training.step)
    progress = Progress(label, settings.steps - training.step, "steps")
    while training.goes_on():
        training.keep()
        training.advance(samples.batch(training.step))
        progress.advance()
    progress.done()
    training.end()
    return Curves(np.array(training.evaluations), training.losses, training.diverged), training.widest_snapshots()


class _Training:
    """Nets in training: what is measured and stepped, and the state that a killed training goes on from."""

    def __init__(
        self, nets: Nets, settings: TrainingSettings, label: str, checkpoint: Checkpoint | None, wanted: frozenset[int]
    ) -> None:
        self.nets, self.settings, self.label, self.checkpoint, self.wanted = nets, settings, label, checkpoint, wanted
        self.engine = NetPasses(nets, settings.precision)
        self.optimizer = networks.adam(nets, settings.learning_rate, settings.weight_decay)
        self._attach()
        self.exam = held_out(nets.problem, settings.held_out_per_task, nets.device)
        self.evaluations = settings.evaluation_steps()
        shape = (len(nets.widths), len(self.evaluations), nets.problem.n_tasks)
        self.step, self.ended = 0, False
        self.losses: Float32[Array, "net evaluation task"] = np.full(shape, np.nan, dtype=np.float32)
        self.diverged: Int[Array, " net"] = np.full(len(nets.widths), -1, dtype=np.int64)
        self.snapshots: dict[int, dict[str, Tensor]] = {}

    def _attach(self) -> None:
        """Let the optimizer read the engine's gradients."""
        for name, weight in self.nets.weights.items():
            weight.grad = self.engine.gradients[name]

    def goes_on(self) -> bool:
        """Measure what this step asks for; False if it is the last."""
        if self.ended:
            return False
        if self.step in self.evaluations:
            self._evaluate()
            patience = self.settings.patience
            if patience is not None and _may_end(self, self.evaluations, self.nets.problem.frequencies, patience):
                return False
        if self.step in self.wanted:
            self.snapshots[self.step] = {name: weight.clone() for name, weight in self.nets.weights.items()}
        return self.step != self.settings.steps

    def _evaluate(self) -> None:
        found = self.engine.losses(self.exam)
        found[self.diverged >= 0] = np.nan
        means = found @ self.nets.problem.frequencies
        for net in np.flatnonzero((self.diverged < 0) & ~(means <= DIVERGED_BITS)).tolist():
            self._drop(net)
            self.engine.refresh()
            found[net] = np.nan
        self.losses[:, self.evaluations.index(self.step)] = found

    def advance(self, batch: Batch) -> None:
        """One step of all nets; those that it makes unsound are dropped."""
        self.engine.backward(batch)
        self.optimizer.step()
        self.step += 1
        for net in self.nets.unsound():
            self._drop(net)
            for weight in self.nets.weights.values():
                moments: dict[str, Any] = self.optimizer.state[weight]
                for name in ("exp_avg", "exp_avg_sq"):
                    moments[name].nan_to_num_(0, 0, 0)
        self.engine.refresh()

    def _drop(self, net: int) -> None:
        if self.diverged[net] < 0:
            self.diverged[net] = self.step
            log.warning(
                "%s: the net of width %d (seed %d) diverged at step %d; the others go on without it",
                *(self.label, self.nets.widths[net], self.nets.problem.seed, self.step),
            )
        self.nets.stop(net)

    def keep(self) -> None:
        """Write the state if this step is one of those to go on from."""
        if self.checkpoint is not None and self.step and self.step % self.settings.checkpoint_every == 0:
            self._save(self.checkpoint)

    def end(self) -> None:
        """Write the state as that of a training that has ended."""
        if self.checkpoint is not None and not self.ended:
            self.ended = True
            self._save(self.checkpoint)

    def widest_snapshots(self) -> dict[int, dict[str, Array]]:
        """The weights of the widest net that did not diverge, by step; none if all did."""
        sound = np.flatnonzero(self.diverged < 0).tolist()
        if not sound:
            return {}
        widest = max(sound, key=lambda net: self.nets.widths[net])
        return {step: self.nets.one(widest, own) for step, own in self.snapshots.items()}

    def _save(self, checkpoint: Checkpoint) -> None:
        content = {
            "key": checkpoint.key,
            "step": self.step,
            "ended": self.ended,
            "losses": torch.from_numpy(self.losses),
            "diverged": torch.from_numpy(self.diverged),
            "snapshots": self.snapshots,
            "weights": self.nets.weights,
            "optimizer": self.optimizer.state_dict(),
        }
        training_state.write(checkpoint.path, content)

    def resume(self) -> bool:
        """Take up what was kept; False if there is nothing, or it is damaged or another run's, which removes it."""
        checkpoint = self.checkpoint
        content = None
        if checkpoint is not None and checkpoint.path.exists():
            content = training_state.read(checkpoint.path, self.nets.device)
        if checkpoint is None or content is None:
            return False
        if content.get("key") != checkpoint.key:
            log.warning(
                "%s is of a training with other settings, code, PyTorch, device or precision and was removed: "
                "the training starts from its beginning",
                checkpoint.path,
            )
            checkpoint.remove()
            return False
        self.step, self.ended = content["step"], content["ended"]
        self.losses[:] = content["losses"].cpu().numpy()
        self.diverged[:] = content["diverged"].cpu().numpy()
        self.snapshots.update(content["snapshots"])
        for name, weight in self.nets.weights.items():
            weight.copy_(content["weights"][name])
        self.optimizer.load_state_dict(content["optimizer"])
        self._attach()
        self.engine.refresh()
        return True


def _may_end(state: _Training, evaluations: list[int], frequencies: Array, patience: float) -> bool:
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
