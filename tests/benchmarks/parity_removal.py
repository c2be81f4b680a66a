"""What removal takes on sparse parity, where tasks and cases are known: of the same case, of the task's other cases, of other tasks.

    PYTHONPATH=workflow OMP_NUM_THREADS=1 python tests/benchmarks/parity_removal.py [--seeds 3] [--nats 2]

Trains one net per seed as the known skills do (30 tasks of 3 of 20 bits, width 100, α = 0.4), draws samples of every learned task,
and removes each case (a task with a pattern of its bits) as the stage `interventions` removes a cluster: weights move up the mean
unit gradient of half of its samples until that half has lost so many nats. The second way is noise on the weights that this half uses
more than other samples do, as the stage draws it. Prints a row per seed, set of weights and way, and writes all of them to
`docs/results/parity-removal/shares.csv`. About a minute.
"""

import argparse
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from quanta.affinity import cosine
from quanta.interventions import moving
from quanta.interventions.removal import NOISE_STEP
from quanta.known_skills import parity_set
from quanta.parity import probing, sparse_parity
from quanta.streams import Purpose, generator

OUT = Path(__file__).parents[2] / "docs/results/parity-removal/shares.csv"
RECIPE = {"width": 100, "nets": 1, "steps": 5000, "batch_size": 1000, "learning_rate": 0.005}
HALF, PER_TASK, LEAST = 8, 200, 6
TOLERANCE, DRAWS = 0.05, 4
SHARES = ("same_case", "same_answer", "other_answer", "other_tasks")


def moved(net, way, step):
    """The net whose two-logit form has moved by `step` along a flat direction, which `probing.gradients` lays out."""
    tasks, width = net["code_weight"].shape
    bits = net["bit_weight"].shape[1]
    code, bit, bias, low, high, last = np.split(way, np.cumsum([tasks * width, bits * width, width, width, width]))
    return {
        "code_weight": net["code_weight"] + step * code.reshape(tasks, width),
        "bit_weight": net["bit_weight"] + step * bit.reshape(width, bits),
        "bias": net["bias"] + step * bias,
        "output_weight": net["output_weight"] + step * (high - low),
        "output_bias": net["output_bias"] + step * (last[1:] - last[:1]),
    }


def sizes(net):
    """The absolute weights in the layout of `probing.gradients`; each logit has half of the output."""
    half = np.abs(net["output_weight"]) / 2
    parts = (
        net["code_weight"],
        net["bit_weight"],
        net["bias"],
        half,
        half,
        np.repeat(np.abs(net["output_bias"]) / 2, 2),
    )
    return np.concatenate([np.abs(part).ravel() for part in parts])


def by_gradient(net, probes, gradients, first, nats):
    """What every sample loses where the first half loses its nats by its mean unit gradient; None where no step does it."""
    norms = np.linalg.norm(gradients[first], axis=1)
    way = (gradients[first] / norms[:, None]).mean(axis=0, dtype=np.float64)
    losses = probing.responses(net, probes)[1]
    forecast = moving.expected_rise(losses[first], norms * float(way @ way))
    return lost(net, probes, losses, first, way, nats, forecast)


def by_noise(net, probes, gradients, first, nats, use, rng):
    """The same by noise: means over the noises, and their opposites, that take the nats."""
    more = np.maximum((use[first].mean(axis=0) - use.mean(axis=0)) / np.maximum(use.std(axis=0), 1e-12), 0) ** 2
    way = sizes(net) * more / max(np.sqrt(np.mean(more**2)), 1e-12)
    losses, found = probing.responses(net, probes)[1], []
    for _ in range(DRAWS):
        noise = way * rng.choice([-1, 1], size=len(way))
        found += [
            lost(net, probes, losses, first, both, nats, lambda step: nats * (step / NOISE_STEP) ** 2)
            for both in (noise, -noise)
        ]
    found = [one for one in found if one is not None]
    return np.mean(found, axis=0) if found else None


def lost(net, probes, losses, first, way, nats, forecast):
    """What every sample loses at the step at which the first half loses its nats; None where no step does it."""
    seen = {}

    def rise(step):
        seen[step] = probing.responses(moved(net, way, step), probes)[1] - losses
        return float(seen[step][first].mean())

    found = moving.find_step(rise, nats, expected=forecast, tolerance=TOLERANCE, evaluations=12)
    return seen[found.step] if found.reached else None


def of_net(problem, net, learned, nats, seed, weights, way):
    """A row per case, removed by `gradient` or `noise`: shares of what its first half lost. `weights` False leaves out those that read the task's code."""
    probes = probing.draw_probes(
        problem, net, PER_TASK * int(learned.sum()), sampling="equal", below_bits=0.1, tasks=learned
    )
    gradients = probing.gradients(net, probes)
    if not weights:
        gradients[:, : net["code_weight"].size] = 0
    use = np.sqrt(np.abs(cosine.unit_rows(gradients)))
    case = probing.cases(probes, problem.subsets)
    rng, rows = generator(seed, Purpose.INTERVENTION_HALVES, 0, 0), []
    for name in np.unique(case):
        own = rng.permutation(np.flatnonzero(case == name))
        task, answer = probes.tasks[own[0]], probes.labels[own[0]]
        first, other = own[:HALF], own[HALF:]
        if len(other) < LEAST:
            continue
        if way == "noise":
            found = by_noise(net, probes, gradients, first, nats, use, rng)
        else:
            found = by_gradient(net, probes, gradients, first, nats)
        row = {"task": int(task), "case": int(name), "reached": found is not None}
        if found is not None:
            same = (probes.tasks == task) & (case != name)
            kinds = (other, same & (probes.labels == answer), same & (probes.labels != answer), probes.tasks != task)
            row |= {share: found[kind].mean() / found[first].mean() for share, kind in zip(SHARES, kinds, strict=True)}
            row["cosine"] = float(np.mean(cosine.unit_rows(gradients[first]) @ cosine.unit_rows(gradients[other]).T))
        rows.append(row)
    return pd.DataFrame(rows)


def main():
    """Print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nats", type=float, default=2.0)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    found = []
    for seed in range(arguments.seeds):
        problem = sparse_parity.ParityProblem(30, 20, 3, 0.4, seed)
        trained = parity_set.train(problem, **RECIPE)
        for weights, way in itertools.product((True, False), ("gradient", "noise")):
            table = of_net(problem, trained.nets[0], trained.learned, arguments.nats, seed, weights, way)
            done = table[table["reached"]]
            found.append(
                {"seed": seed, "weights": "all" if weights else "without code", "way": way, "learned_tasks": int(trained.learned.sum()),
                 "cases": len(table), "reached": len(done), "nats": arguments.nats}
                | {f"{share}_{end}": value for share in SHARES
                   for end, value in zip(("low", "median", "high"), done[share].quantile([0.05, 0.5, 0.95]), strict=True)}
                | {"cosine_median": done["cosine"].median()}
            )  # fmt: skip
            print(found[-1], flush=True)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(found).round(4).to_csv(arguments.out, index=False)
    print(pd.DataFrame(found).round(3).T.to_string())


if __name__ == "__main__":
    main()
