"""Ways to infer α from the same simulations, by coverage and width of their 90 % intervals on held-out ones.

    PYTHONPATH=workflow python tests/benchmarks/inference.py [simulations.parquet]

Without a file, 300 simulations of 300 tokens are made. The last 200, or a third, are held out, then as many at random, six splits in all.
"""

import sys

import numpy as np
import pandas as pd
from quanta.arrays import Array
from quanta.calibration import planted, regression, simulations
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

SPLITS = 6


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


class Forests:
    """Guesses by a ridge on summaries and their squares, averaged with randomised trees; spreads by trees on absolute errors."""

    def __init__(self, x: Array, alpha: Array) -> None:
        self.centre, self.scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
        self.ridge = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(self._squares(x), alpha)
        self.trees = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.4, random_state=0).fit(x, alpha)

    def _squares(self, x: Array) -> Array:
        z = np.clip((x - self.centre) / self.scale, -4, 4)
        return np.concatenate([z, z**2], axis=1)

    def __call__(self, x: Array) -> Array:
        return (self.ridge.predict(self._squares(x)) + self.trees.predict(x)) / 2

    @staticmethod
    def spread(x: Array, error: Array, at: Array) -> Array:
        trees = ExtraTreesRegressor(200, min_samples_leaf=8, max_features=0.4, random_state=0).fit(x, np.abs(error))
        return np.maximum(trees.predict(at), np.abs(error).mean() / 5)


def by_forests(x: Array, alpha: Array, targets: Array) -> Array:
    """What `Calibration` does with other regressions."""
    folds = list(KFold(regression.FOLDS, shuffle=True, random_state=0).split(x))
    guess = np.empty(len(x))
    for fit, rest in folds:
        guess[rest] = Forests(x[fit], alpha[fit])(x[rest])
    error, scaled = alpha - guess, np.empty(len(x))
    for fit, rest in folds:
        scaled[rest] = error[rest] / Forests.spread(x[fit], error[fit], x[rest])
    rows = []
    for own, spread in zip(Forests(x, alpha)(targets), Forests.spread(x, error, targets), strict=True):
        near = np.argsort(np.abs(guess - own), kind="stable")[: max(len(x) // 8, 40)]
        rows.append(np.quantile(np.clip(own + spread * scaled[near], *planted.PRIOR["alpha"]), [0.5, 0.05, 0.95]))
    return np.array(rows)


def main() -> None:
    table = pd.read_parquet(sys.argv[1]) if len(sys.argv) > 1 else simulations.simulate(range(300), 300, seed=0)
    held = 200 if len(table) >= 400 else len(table) // 3
    sets = [table] + [table.sample(frac=1, random_state=seed) for seed in range(1, SPLITS)]
    parts = {name: pd.concat(tables) for name, tables in _by_way([_one(own, held) for own in sets]).items()}
    print(f"{len(table) - held} simulations, {held} held out, {SPLITS} times\n")
    print(
        "| inference | bias | rmse | coverage | of the narrow | of the wide | mean width |\n|---|---|---|---|---|---|---|"
    )
    for name, part in parts.items():
        error, width = part["value"] - part["alpha"], part["high"] - part["low"]
        covered = (part["low"] <= part["alpha"]) & (part["alpha"] <= part["high"])
        order = width.rank(method="first", pct=True)
        print(
            f"| {name} | {error.mean():.3f} | {np.sqrt((error**2).mean()):.3f} | {covered.mean():.3f} "
            f"| {covered[order <= 0.2].mean():.3f} | {covered[order > 0.8].mean():.3f} | {width.mean():.3f} |"
        )


def _by_way(found: list[dict[str, pd.DataFrame]]) -> dict[str, list[pd.DataFrame]]:
    return {name: [one[name] for one in found] for name in found[0]}


def _one(table: pd.DataFrame, held: int) -> dict[str, pd.DataFrame]:
    """Every way on one split: alpha, value, low, high of each held-out simulation."""
    known, rest = table.iloc[:-held], table.iloc[-held:]
    fitted = regression.Calibration(known)
    x, targets = known[fitted.names].to_numpy(), rest[fitted.names].to_numpy()
    scaled, alpha = (x - fitted.guess.centre) / fitted.guess.scale, known["planted_alpha"].to_numpy()
    standard = (targets - fitted.guess.centre) / fitted.guess.scale
    guesses, reach = fitted.guess(targets), np.quantile(np.abs(fitted.error), 0.9)
    rows = {
        "rejection, nearest summaries": np.array([rejection(scaled, alpha, t) for t in standard]),
        "synthetic likelihood": np.array([synthetic(scaled, alpha, t) for t in standard]),
        "kernel regression, one width for all": np.stack([guesses, guesses - reach, guesses + reach], axis=1),
        "ridge and trees, nearest guesses, errors scaled": by_forests(x, alpha, targets),
        "kernel regression, nearest guesses, errors scaled": fitted.coverage(rest)[["value", "low", "high"]].to_numpy(),
    }
    truth = rest["planted_alpha"].to_numpy()
    return {
        name: pd.DataFrame(values, columns=["value", "low", "high"]).assign(alpha=truth)
        for name, values in rows.items()
    }


if __name__ == "__main__":
    main()
