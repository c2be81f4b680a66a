"""The exponent of parity nets by the prior of few quanta of several cases alone: how often its 90 % intervals hold the truth.

`PYTHONPATH=workflow OMP_NUM_THREADS=1 python tests/benchmarks/cases.py results/parity-thirty --simulations 180 --held-out 40`

Reads the nets that a run has trained (rule `parity_fresh`), whichever are there. Prints a row per net and the coverage, by α and on
simulations held out. About 0.1 seconds per simulation and 1 second per net.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from quanta.calibration import cases, regression
from quanta.parity import estimates, learning_curves, probing, sparse_parity


def nets(folder, samples, problem):
    """Summaries of each net that is there, with its α and seed."""
    rows = []
    for weights in sorted(Path(folder).glob("parity/fresh/alpha*/*/widest.npz")):
        alpha, seed = float(weights.parent.parent.name.removeprefix("alpha")), int(weights.parent.name)
        own = sparse_parity.ParityProblem(**problem, alpha=alpha, seed=seed)
        snapshots = probing.read_snapshots(weights)
        net, last = snapshots[max(snapshots)], max(snapshots)
        curves = pd.read_parquet(weights.with_name("curves.parquet"))
        losses = probing.losses_at(curves, int(curves["size"].max()), [last])[last]
        probes = probing.draw_probes(own, net, samples, below_bits=0.1)
        cosines = estimates.cosines_of(probing.gradients(net, probes))
        learned = int((losses < learning_curves.LEARNED_BITS).sum())
        rows.append({"alpha": alpha, "seed": seed, "learned_tasks": learned} | cases.summaries(cosines))
    return pd.DataFrame(rows)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--simulations", type=int, default=240)
    parser.add_argument("--held-out", type=int, default=60)
    parser.add_argument("--samples", type=int, default=600)
    asked = parser.parse_args()
    problem = {"n_tasks": 30, "n_bits": 20, "k": 3}
    data = nets(asked.folder, asked.samples, problem)
    simulated = cases.simulate(range(asked.simulations), asked.samples, problem["n_tasks"], seed=0)
    known, rest = simulated.iloc[: -asked.held_out], simulated.iloc[-asked.held_out :]
    fitted = regression.Calibration(known, seed=0)
    found = data[["alpha", "seed", "learned_tasks"]].copy()
    inferred = fitted.infer_all(data)
    found["value"] = [one.value for one in inferred]
    found["low"], found["high"] = ([one.interval[i] for one in inferred] for i in (0, 1))
    found["p_value"], found["verdict"] = [one.p_value for one in inferred], [one.verdict for one in inferred]
    found["covered"] = (found["low"] <= found["alpha"]) & (found["alpha"] <= found["high"])
    print(found.round(3).to_csv(index=False))
    by_alpha = found.assign(width=found["high"] - found["low"], error=found["value"] - found["alpha"]).groupby("alpha")
    print(by_alpha[["covered", "width", "error"]].mean().assign(nets=by_alpha.size()).round(3).to_string())
    checked = fitted.coverage(rest)
    widths = (checked["high"] - checked["low"]).median()
    rmse = np.sqrt(((checked["value"] - checked["alpha"]) ** 2).mean())
    print(f"held out: {checked['covered'].sum()} of {len(checked)} covered, median width {widths:.2f}, rmse {rmse:.2f}")


if __name__ == "__main__":
    main()
