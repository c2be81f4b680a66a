"""Why parity without the code stays below 1: the scores where tasks share no bit, and where nets are wider.

    OMP_NUM_THREADS=1 PYTHONPATH=workflow python docs/results/known-skills/sharing.py > docs/results/known-skills/sharing.csv

Prints a row per problem, width, seed and method: the adjusted Rand index at the true number of tasks, without the weights that read
the code, and how far the tasks share units. `overlap` is the mean cosine of two tasks' mean |gradient| over the hidden units:
1 if all tasks use the same units equally, 0 if each has units of its own. About nine CPU minutes. Kinds of problems can be given.
"""

import sys
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from quanta.known_skills import affinities, benchmark, parity_set
from quanta.parity.sparse_parity import ParityProblem

RECIPE = {"nets": 3, "steps": 5000, "batch_size": 1000, "learning_rate": 0.005}
TASKS, BITS, K, ALPHA, EACH = 8, 24, 3, 0.4, 30
WIDTHS, SEEDS = (100, 300), (0, 1, 2)
METHODS = {
    "affinities": ["cosine", "√|g|, blocks alike, all nets", "baseline: last hidden state, standardised, all nets"],
    "assignments": ["neighbours, spectral", "average linkage"],
}


@dataclass(frozen=True)
class Disjoint(ParityProblem):
    """The same tasks, each with bits of its own."""

    @cached_property
    def subsets(self):
        return np.arange(self.n_tasks * self.k).reshape(self.n_tasks, self.k)


def overlap(found):
    """Mean cosine, over pairs of tasks, of the mean |gradient| of the hidden units' biases: which units a task uses."""
    view = found.views[0]
    used = np.abs(view.gradients[:, view.blocks["bias"]])
    used /= np.linalg.norm(used, axis=1, keepdims=True)
    means = np.stack([used[found.skills == task].mean(axis=0) for task in np.unique(found.skills)])
    cosines = affinities.cosines_of(means)
    return float(cosines[np.triu_indices(len(cosines), 1)].mean())


def rows(name, problem, width):
    """Scores of the methods on one problem."""
    trained = parity_set.train(problem, width=width, **RECIPE)
    found = parity_set.without_code(parity_set.evidence(trained, EACH))
    scores = benchmark.table(found, **METHODS)
    scores = scores[(scores["truth"] == "skill") & (scores["assignment"] != benchmark.SURFACE)]
    shared = parity_set.skills_that_share_bits(problem, np.flatnonzero(trained.learned))
    about = {"problem": name, "width": width, "seed": problem.seed, "learned": int(trained.learned.sum()),
             "bits_shared": round(shared, 3), "overlap": round(overlap(found), 3)}  # fmt: skip
    return [about | {key: row[key] for key in ("affinity", "assignment")} | {"adjusted_rand": round(row["adjusted_rand"], 4)}
            for row in scores.to_dict("records")]  # fmt: skip


def problem(kind, seed):
    """The problem of a kind: that of the page's table, with tasks that are never learned, or few tasks that are all learned."""
    if kind == "as in the table":
        return ParityProblem(30, 20, K, ALPHA, seed)
    return (Disjoint if kind == "own bits" else ParityProblem)(TASKS, BITS, K, ALPHA, seed)


if __name__ == "__main__":
    kinds = sys.argv[1:] or ["shared bits", "own bits", "as in the table"]
    cases = [(kind, width, seed) for seed in SEEDS for kind in kinds for width in WIDTHS]
    for n, (kind, width, seed) in enumerate(cases):
        found = pd.DataFrame(rows(kind, problem(kind, seed), width))
        print(
            found.to_csv(index=False, header=n == 0), end="", flush=True
        )  # a run that is stopped leaves its finished cases
        print(f"{kind}, width {width}, seed {seed}", file=sys.stderr)
