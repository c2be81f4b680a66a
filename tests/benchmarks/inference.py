"""Ways to infer α from the same simulations, by coverage and width of their 90 % intervals on held-out ones.

    PYTHONPATH=workflow python tests/benchmarks/inference.py [simulations.parquet]

Without a file, 300 simulations of 300 tokens are made. The last 200, or a third, are held out.
"""

import sys

import numpy as np
import pandas as pd
from quanta import calibration
from quanta.shapes import Array


def rejection(x: Array, alpha: Array, found: Array) -> tuple[float, float, float]:
    """The nearest twentieth of the simulations by standardised summaries, as they are."""
    near = np.argsort(((x - found) ** 2).sum(axis=1), kind="stable")[: max(len(x) // 20, 20)]
    return (float(np.median(alpha[near])), *np.quantile(alpha[near], [0.05, 0.95]))


def synthetic(x: Array, alpha: Array, found: Array) -> tuple[float, float, float]:
    """Synthetic likelihood on ten principal summaries: their mean is quadratic in α, their covariance constant."""
    axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:10]
    z, target = x @ axes.T, found @ axes.T
    powers = np.vander(alpha, 3)
    weights = np.linalg.lstsq(powers, z, rcond=None)[0]
    precision = np.linalg.inv(np.cov((z - powers @ weights).T))
    grid = np.linspace(alpha.min(), alpha.max(), 400)
    gap = target - np.vander(grid, 3) @ weights
    log = -0.5 * np.einsum("gi,ij,gj->g", gap, precision, gap)
    mass = np.cumsum(np.exp(log - log.max()))
    low, middle, high = np.interp([0.05, 0.5, 0.95], mass / mass[-1], grid)
    return float(middle), float(low), float(high)


def main() -> None:
    table = pd.read_parquet(sys.argv[1]) if len(sys.argv) > 1 else calibration.simulate(range(300), 300, seed=0)
    held = 200 if len(table) >= 400 else len(table) // 3
    known, rest = table.iloc[:-held], table.iloc[-held:]
    fitted = calibration.Calibration(known)
    x = known[fitted.names].to_numpy()
    scaled, alpha = (x - fitted.guess.centre) / fitted.guess.scale, known["planted_alpha"].to_numpy()
    targets = (rest[fitted.names].to_numpy() - fitted.guess.centre) / fitted.guess.scale
    truth = rest["planted_alpha"].to_numpy()
    guesses = fitted.guess(rest[fitted.names].to_numpy())
    reach = np.quantile(np.abs(fitted.error), 0.9)
    rows = {
        "rejection, nearest summaries": np.array([rejection(scaled, alpha, t) for t in targets]),
        "synthetic likelihood": np.array([synthetic(scaled, alpha, t) for t in targets]),
        "regression, one width for all": np.stack([guesses, guesses - reach, guesses + reach], axis=1),
        "regression, nearest guesses, errors scaled": fitted.coverage(rest)[["value", "low", "high"]].to_numpy(),
    }
    print(f"{len(known)} simulations, {held} held out\n")
    print("| inference | rmse | coverage | mean width | median width |\n|---|---|---|---|---|")
    for name, values in rows.items():
        value, low, high = values.T
        width = high - low
        print(
            f"| {name} | {np.sqrt(((value - truth) ** 2).mean()):.3f} | {((low <= truth) & (truth <= high)).mean():.3f} "
            f"| {width.mean():.3f} | {np.median(width):.3f} |"
        )


if __name__ == "__main__":
    main()
