"""Ground truth for QDG: gradients of single samples of a parity net, whose skills are known by name.

The gradients go through the affinity, the spectral sweep and the envelope that language models go through. What comes out
is held against the true tasks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int
from sklearn.metrics import adjusted_rand_score

from quanta.affinity import cosine
from quanta.arrays import Array, Bool
from quanta.clustering import assignment as clustering_assignment
from quanta.clustering import spectral
from quanta.errors import QuantaError
from quanta.parity import probing
from quanta.parity.probing import PARTS, Probes
from quanta.parity.sparse_parity import ParityProblem
from quanta.rank_frequency import zipf
from quanta.streams import Purpose, generator


def cluster(
    features: Array,
    n_clusters: Sequence[int],
    *,
    seed: int,
    assignment: Mapping[str, Any] | None = None,
    unsigned: bool = False,
) -> tuple[pd.DataFrame, Float32[Array, "sample sample"]]:
    """QDG's affinity and spectral sweep; labels (n_clusters, token, label) and the cosines.

    `assignment` holds how `spectral.cluster` makes clusters for the language model: method, rows, restarts. `unsigned` clusters
    |cosine|, for which a gradient and its opposite are one direction.
    """
    cosines = np.empty((len(features), len(features)), dtype=np.float32)
    cosine.cosine([features], cosines)
    similarity = cosine.angular(np.abs(cosines) if unsigned else cosines)
    wanted = [k for k in n_clusters if k < len(features)]
    vectors, _ = spectral.embedding(similarity, max(wanted))
    return clustering_assignment.cluster(vectors, wanted, seed=seed, **(assignment or {})), cosines


def judged(
    tasks: Int[Array, " sample"], task_loss_bits: Float[Array, " task"], *, learned_bits: float, least: int
) -> Bool[Array, " sample"]:
    """Samples whose task the net has learned (mean loss below `learned_bits`) and that has at least `least` samples."""
    counts = np.bincount(tasks, minlength=len(task_loss_bits))
    good = (task_loss_bits < learned_bits) & (counts >= least)
    return np.asarray(good[tasks])


def recovery(
    labels: pd.DataFrame, tasks: Int[Array, " sample"], keep: Bool[Array, " sample"]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How well clusters are the true tasks, for each n_clusters.

    All samples were clustered; those in `keep` are judged.

    Returns:
        One row an n_clusters: n_clusters, adjusted_rand, samples, tasks. And one row an n_clusters and task: task, samples,
        recall (largest share of the task in one cluster), precision (share of the task in that cluster), main_cluster.
    """
    scores, rows = [], []
    for k, part in labels.groupby("n_clusters", sort=True):
        found = part.sort_values("token")["label"].to_numpy()
        score = adjusted_rand_score(tasks[keep], found[keep]) if keep.any() else float("nan")
        scores.append(
            {
                "n_clusters": int(k),
                "adjusted_rand": float(score),
                "samples": int(keep.sum()),
                "tasks": len(np.unique(tasks[keep])),
            }
        )
        table = np.zeros((tasks.max() + 1, found.max() + 1), dtype=np.int64)
        np.add.at(table, (tasks, found), 1)
        for task in np.unique(tasks):
            main = int(table[task].argmax())
            rows.append(
                {
                    "n_clusters": int(k),
                    "task": int(task),
                    "samples": int(table[task].sum()),
                    "recall": float(table[task, main] / table[task].sum()),
                    "precision": float(table[task, main] / table[:, main].sum()),
                    "main_cluster": main,
                }
            )
    return pd.DataFrame(scores), pd.DataFrame(rows)


def pair_statistics(
    cosines: Float32[Array, "sample sample"], probes: Probes, subsets: Int[Array, "task k"]
) -> pd.DataFrame:
    """Quantiles of the cosine for kinds of pairs: by task, pattern of its bits, label, and bits shared with another task.

    These tell why a task splits (pairs within it are no nearer than pairs across) or merges.
    """
    upper = np.triu(np.ones(cosines.shape, dtype=bool), 1)
    same = probes.tasks[:, None] == probes.tasks[None, :]
    equal = probes.labels[:, None] == probes.labels[None, :]
    found = probing.cases(probes, subsets)
    alike = found[:, None] == found[None, :]
    n_bits = probes.bits.shape[1]
    member = np.zeros((len(subsets), n_bits), dtype=np.int64)
    np.put_along_axis(member, subsets, 1, axis=1)
    shared = (member @ member.T)[probes.tasks[:, None], probes.tasks[None, :]]
    kinds: dict[str, Array] = {
        "same task, same pattern": same & alike,
        "same task, other pattern, same label": same & ~alike & equal,
        "same task, other label": same & ~equal,
    }
    for number in range(subsets.shape[1]):
        for name, label in (("same label", equal), ("other label", ~equal)):
            kinds[f"other task, {number} shared bits, {name}"] = ~same & (shared == number) & label
    rows = []
    for kind, mask in kinds.items():
        values = cosines[mask & upper]
        if len(values):
            low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
            rows.append({"pair": kind, "pairs": len(values), "q05": low, "median": middle, "q95": high})
    return pd.DataFrame(rows)


def envelope_fit(
    labels: pd.DataFrame, tasks: Int[Array, " sample"], alpha: float, ranks: tuple[int, int]
) -> dict[str, Any]:
    """Slope of the envelope over `ranks` (the paper's fit), of the true task sizes over the same ranks, and −(α+1).

    A slope is None where the range has fewer than two ranks.
    """
    curves = [zipf.sizes(part["label"].to_numpy()) for _, part in labels.groupby("n_clusters")]
    truth = zipf.sizes(tasks)

    def slope(curve: Array) -> float | None:
        last = min(ranks[1], len(curve))
        return zipf.slope(curve, ranks[0], last) if last > ranks[0] else None

    return {
        "alpha": alpha,
        "true_slope": -(alpha + 1),
        "envelope_slope": slope(zipf.envelope(curves)),
        "true_sizes_slope": slope(truth),
        "ranks": [ranks[0], ranks[1]],
    }


# ------------------------------------------------------------------------------------------------- the whole sweep


@dataclass(frozen=True)
class Condition:
    """One way of asking: which net (by its step), which samples, which gradient, what noise, which affinity."""

    name: str
    step: int
    samples: int
    sampling: str = "frequency"
    parts: str = "all"
    noise: float = 0.0
    unsigned: bool = False


def conditions(
    steps: Sequence[int], samples: int, *, noises: Sequence[float], sample_numbers: Sequence[int], parts: str = "all"
) -> list[Condition]:
    """The base (last step, as language models are done) and what differs from it in one respect, or in two for causes."""
    last = max(steps)
    base = Condition("base", last, samples, parts=parts)
    other = next(name for name in PARTS if name != parts)
    changes: list[dict[str, Any]] = [
        {"name": "unsigned", "unsigned": True},
        {"name": f"gradient {other}", "parts": other},
        {"name": "equal", "sampling": "equal"},
        {"name": "one pattern", "sampling": "one pattern"},
        {"name": "equal, one pattern", "sampling": "equal, one pattern"},
        {"name": "equal, unsigned", "sampling": "equal", "unsigned": True},
    ]
    changes += [{"name": f"noise {noise:g}", "noise": noise} for noise in noises if noise > 0]
    changes += [
        {"name": f"noise {noise:g}, easy", "noise": noise, "sampling": "equal, one pattern"}
        for noise in noises
        if noise > 0
    ]
    changes += [{"name": f"{number} samples", "samples": number} for number in sample_numbers if number != samples]
    changes += [{"name": f"step {step}", "step": step} for step in steps if step != last]
    return [base, *(dataclasses.replace(base, **change) for change in changes)]


@dataclass
class GroundTruth:
    """Tables of `ground_truth`; every row names its condition."""

    scores: pd.DataFrame
    tasks: pd.DataFrame
    pairs: pd.DataFrame
    envelopes: list[dict[str, Any]]


def ground_truth(
    problem: ParityProblem,
    nets: Mapping[int, dict[str, Array]],
    loss_bits: Mapping[int, Float[Array, " task"]],
    asked: Sequence[Condition],
    *,
    n_clusters: Sequence[int],
    assignment: Mapping[str, Any] | None = None,
    below_bits: float,
    learned_bits: float,
    least: int,
    ranks: tuple[int, int],
) -> GroundTruth:
    """Run QDG under each condition and hold it against the true tasks, and against their cases.

    `nets` and `loss_bits` (held-out, a task) are by step. A case is a task with one pattern of its k bits: 2^k a task.
    `scores` has adjusted_rand (tasks) and adjusted_rand_cases. The number of learned tasks is asked for beside `n_clusters`,
    but the envelope is over those alone. A condition without a learned task is left out.
    """
    scores, tasks, pairs, envelopes = [], [], [], []
    for condition in asked:
        net, losses = nets[condition.step], loss_bits[condition.step]
        learned = losses < learned_bits
        if not learned.any():
            continue
        probes = probing.draw_probes(
            problem,
            net,
            condition.samples,
            sampling=condition.sampling,
            below_bits=below_bits,
            tasks=learned if condition.sampling.startswith("equal") else None,
        )
        features = probing.gradients(net, probes, condition.parts)
        noise_seed = generator(problem.seed, Purpose.PARITY_NOISE)
        features = probing.with_noise(features, condition.noise, noise_seed)
        n_learned = int(learned.sum())
        asked_for = sorted({*n_clusters, max(n_learned, 2)})
        labels, cosines = cluster(
            features, asked_for, seed=problem.seed, assignment=assignment, unsigned=condition.unsigned
        )
        keep = judged(probes.tasks, losses, learned_bits=learned_bits, least=least)
        score, by_task = recovery(labels, probes.tasks, keep)
        found_cases, _ = recovery(labels, probing.cases(probes, problem.subsets), keep)
        named = dataclasses.asdict(condition)
        scores.append(score.assign(adjusted_rand_cases=found_cases["adjusted_rand"], learned_tasks=n_learned, **named))
        extra = pd.DataFrame(
            {"task": np.arange(problem.n_tasks), "frequency": problem.frequencies, "loss_bits": losses}
        )
        tasks.append(by_task.merge(extra, on="task").assign(condition=condition.name))
        pairs.append(pair_statistics(cosines, probes, problem.subsets).assign(condition=condition.name))
        envelopes.append(
            {"condition": condition.name, "seed": problem.seed}
            | envelope_fit(labels[labels["n_clusters"].isin(n_clusters)], probes.tasks, problem.alpha, ranks)
        )
    if not scores:
        raise QuantaError(
            "parity.qdg", f"no task with a loss below {learned_bits} bits at any step", "a learned task", "train longer"
        )
    return GroundTruth(
        pd.concat(scores, ignore_index=True),
        pd.concat(tasks, ignore_index=True),
        pd.concat(pairs, ignore_index=True),
        envelopes,
    )
