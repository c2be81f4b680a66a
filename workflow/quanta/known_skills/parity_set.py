"""Sparse parity as a set of known skills: tasks are the skills, and a task with a pattern of its bits is a case."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from quanta.arrays import Array, Bool, Int
from quanta.errors import QuantaError
from quanta.known_skills.evidence import Evidence, View, equally
from quanta.parity import networks, probing, sparse_parity
from quanta.parity import training as parity_training

LEARNED_BITS = 0.1
CHECKPOINTS = 8  # of the first net, evenly spaced in the logarithm of the step


@dataclass(frozen=True)
class ParityNets:
    """Trained nets of one problem, the tasks that all of them have learned, and the first net at earlier steps."""

    problem: sparse_parity.ParityProblem
    nets: tuple[dict[str, Array], ...]
    earlier: dict[int, dict[str, Array]]
    untrained: dict[str, Array]
    learned: Bool[Array, " task"]


def train(
    problem: sparse_parity.ParityProblem, *, width: int, nets: int, steps: int, batch_size: int, learning_rate: float
) -> ParityNets:
    """Nets of widths `width`, width − 1, … on the same samples. Widths differ because first weights depend on seed and width.

    Raises:
        QuantaError: a net diverged, or fewer than two tasks are learned by all nets.
    """
    widths = [width - n for n in range(nets)]
    several = networks.Nets(problem, widths)
    untrained = several.one(0)
    settings = parity_training.TrainingSettings(
        steps, learning_rate=learning_rate, evaluations=2, held_out_per_task=100
    )
    moments = sorted(set(sparse_parity.log_spaced(max(steps // 100, 1), steps, CHECKPOINTS)))
    curves, earlier = parity_training.train(
        several, sparse_parity.FreshSamples(problem, batch_size, "cpu"), settings,
        label=f"parity, seed {problem.seed}", snapshots=moments,
    )  # fmt: skip
    learned = np.asarray((curves.loss_bits[:, -1] < LEARNED_BITS).all(axis=0))
    if (curves.diverged_step >= 0).any() or learned.sum() < 2:
        raise QuantaError("known_skills.parity", f"{int(learned.sum())} tasks that all {nets} nets have learned",
                          "two or more, and no net that diverged", "train longer, or lower the learning rate")  # fmt: skip
    return ParityNets(problem, tuple(several.one(n) for n in range(nets)), earlier, untrained, learned)


def _view(net: dict[str, Array], probes: probing.Probes) -> View:
    n_tasks, width, n_bits = len(net["code_weight"]), len(net["bias"]), probes.bits.shape[1]
    blocks, begin = {}, 0
    for name, size in (("code", n_tasks * width), ("bits", n_bits * width), ("bias", width), ("output", 2 * width)):
        blocks[name] = slice(begin, begin + size)
        begin += size
    hidden, _ = probing.responses(net, probes)
    last = np.asarray(net["output_weight"])
    matrices = {"code": net["code_weight"], "bits": net["bit_weight"], "output": np.stack([-last, last]) / 2}
    weights = {name: np.asarray(matrix, dtype=np.float32) for name, matrix in matrices.items()}
    return View(probing.gradients(net, probes), hidden.astype(np.float32), blocks, weights)


def evidence(trained: ParityNets, per_task: int, *, sampling: str = "equal", checkpoints: bool = False) -> Evidence:
    """Samples of the learned tasks with a loss below 0.1 bits, drawn equally or, for `sampling` "frequency", as they occur.

    With `checkpoints` the evidence has the first net's gradients at its earlier steps.

    Raises:
        QuantaError: too few samples have such a loss.
    """
    problem, number = trained.problem, per_task * int(trained.learned.sum())
    drawn = probing.draw_probes(
        problem, trained.nets[0], 2 * number, sampling=sampling, below_bits=LEARNED_BITS, tasks=trained.learned
    )
    if sampling == "equal":
        probes = drawn.take(equally(drawn.tasks, per_task, problem.seed))
    else:
        probes = drawn.take(np.arange(number))
    order = sorted(trained.earlier)
    curves = np.stack([probing.responses(trained.earlier[step], probes)[1] for step in order], axis=1)
    cases = probing.cases(probes, problem.subsets)
    code = np.eye(problem.n_tasks)[probes.tasks]
    return Evidence(
        name="parity",
        skills=probes.tasks,
        views=tuple(_view(net, probes) for net in trained.nets),
        untrained=_view(trained.untrained, probes),
        curves=curves,
        # a sample has no token before its target: the label, and the label with the first bit
        surface={"target": probes.labels, "bigram": 2 * probes.bits[:, -1].astype(np.int64) + probes.labels},
        context=np.concatenate([probes.bits, code], axis=1),
        skill_names=tuple(f"task {n}" for n in range(problem.n_tasks)),
        frequencies=problem.frequencies,
        further={"case": cases},
        earlier=tuple(_view(trained.earlier[step], probes) for step in order[:-1]) if checkpoints else (),
    )


def without_code(found: Evidence) -> Evidence:
    """The same set without the weights that read the task's code, and without the code in the context.

    A task's code has weights of its own, so that their gradients name the task. Language models have the like in their
    embedding, which is never among the parameters.
    """

    def part(view: View) -> View:
        begin = view.blocks["code"].stop
        blocks = {
            name: slice(where.start - begin, where.stop - begin)
            for name, where in view.blocks.items()
            if name != "code"
        }
        weights = {name: weight for name, weight in view.weights.items() if name != "code"}
        return replace(view, gradients=view.gradients[:, begin:], blocks=blocks, weights=weights)

    n_bits = found.context.shape[1] - len(found.skill_names)
    return replace(
        found, name="parity, without code", views=tuple(map(part, found.views)), untrained=part(found.untrained),
        earlier=tuple(map(part, found.earlier)), context=found.context[:, :n_bits],
    )  # fmt: skip


def recipe(settings: dict[str, Any]) -> dict[str, Any]:
    """The part of the section `known_skills.parity` that training needs."""
    return {key: settings[key] for key in ("width", "nets", "steps", "batch_size", "learning_rate")}


def skills_that_share_bits(problem: sparse_parity.ParityProblem, tasks: Int[Array, " task"]) -> float:
    """The mean number of bits that two of the tasks share."""
    member = np.zeros((problem.n_tasks, problem.n_bits), dtype=np.int64)
    np.put_along_axis(member, problem.subsets, 1, axis=1)
    shared = (member @ member.T)[np.ix_(tasks, tasks)]
    return float(shared[np.triu_indices(len(tasks), 1)].mean())
