"""A calibrated Zipf exponent: simulations of planted quanta go through the very functions that the data go through.

Simulations are drawn from a prior over α and all that is not known (`quanta.planted.PRIOR`). Each is boiled down to the
same summaries as the data: how many pairs and triples collide at several resolutions, degrees, nearest neighbours,
spectrum, components. A regression turns summaries into one number, its guess of α (semi-automatic approximate Bayesian
computation, Fearnhead and Prangle 2012); the simulations whose guess is nearest to that of the data are a sample of the
posterior. Guesses are out of fold throughout, so that held-out coverage is what it says. docs/calibration.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.stats import chi2
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold

from quanta import collisions, planted
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.shapes import Array, Float

THRESHOLDS = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
GRAPHS = (0.3, 0.5, 0.7)  # thresholds whose graph is taken apart into components
FLOOR = 1e-6  # of a share, before its logarithm
EIGENVALUES = (1, 2, 3, 5, 8, 13, 21, 34)
NEIGHBOURS = (1, 5, 20)
LEVEL = 0.9
TELLS = 0.5  # an interval wider than this share of the prior's range tells too little
FOLDS = 5


def summaries(cosines: Float[Array, "token token"]) -> dict[str, float]:
    """What is known of α from cosines (N, N): about 80 numbers, none of which depends on the order of tokens.

    Raises:
        QuantaError: fewer than 40 tokens, or a cosine that is not finite.
    """
    n = len(cosines)
    if n < 40:
        raise QuantaError("qdg/affinity.npy", f"{n} tokens", "at least 40", "raise qdg.tokens or qdg.threshold")
    counts = collisions.count(cosines, np.array(THRESHOLDS))
    null = collisions.empirical_null(counts)
    found = {"mode": null.mode, "sd": null.sd, "excess": _log(null.excess)}
    found["above_4_sd"] = _log(collisions.pair_share(counts, null.mode + 4 * null.sd, null))
    found["above_6_sd"] = _log(collisions.pair_share(counts, null.mode + 6 * null.sd, null))
    for threshold, degrees in zip(THRESHOLDS, counts.degrees, strict=True):
        pair = collisions.pair_share(counts, threshold, null)
        triple = collisions.triple_share(degrees, 0.0)
        found[f"pairs_{threshold}"] = _log(pair)
        found[f"triples_{threshold}"] = _log(triple) - 1.5 * _log(pair)
        if threshold in GRAPHS:
            for q in (0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
                found[f"degree_{threshold}_{q}"] = float(np.log10(1 + np.quantile(degrees, q)))
            law = collisions.alpha_from_degrees(degrees)
            found[f"degree_law_{threshold}"] = float(np.clip(law, -1, 4)) if np.isfinite(law) else -1.0
    found |= _neighbours(cosines) | _components(cosines) | _spectrum(cosines)
    return found


def _log(share: float) -> float:
    return float(np.log10(max(share, FLOOR)))


def _neighbours(cosines: Array) -> dict[str, float]:
    n, most = len(cosines), max(NEIGHBOURS)
    nearest = np.empty((n, most), dtype=np.float32)
    for begin in range(0, n, 512):
        rows = np.array(cosines[begin : begin + 512], dtype=np.float32)
        rows[np.arange(len(rows)), begin + np.arange(len(rows))] = -2
        nearest[begin : begin + len(rows)] = -np.sort(np.partition(-rows, most - 1, axis=1)[:, :most], axis=1)
    return {
        f"neighbour_{m}_{q}": float(np.quantile(nearest[:, m - 1], q))
        for m in NEIGHBOURS
        for q in (0.05, 0.25, 0.5, 0.75, 0.95)
    }


def _components(cosines: Array) -> dict[str, float]:
    """Number and largest share of the components of the threshold graph, and how the number grows with N."""
    n, found = len(cosines), {}
    for threshold in GRAPHS:
        rows, columns = np.nonzero(np.asarray(cosines) > threshold)
        graph = csr_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(n, n))
        number, label = connected_components(graph, directed=False)
        half = graph[::2][:, ::2]
        fewer = connected_components(half, directed=False)[0]
        found[f"components_{threshold}"] = float(np.log10(number / n))
        found[f"largest_component_{threshold}"] = _log(np.bincount(label).max() / n)
        found[f"growth_{threshold}"] = float(np.log2(number / max(fewer, 1)))
    return found


def _spectrum(cosines: Array) -> dict[str, float]:
    """Leading eigenvalues of the cosine matrix over N, by a few steps of block power iteration from fixed vectors."""
    n, wanted = len(cosines), max(EIGENVALUES)
    matrix = np.asarray(cosines, dtype=np.float32)
    basis = np.random.default_rng(0).standard_normal((n, min(wanted + 14, n)), dtype=np.float32)
    for _ in range(3):
        basis = np.linalg.qr(matrix @ basis)[0]
    values = np.sort(np.linalg.eigvalsh(basis.T @ (matrix @ basis)))[::-1] / n
    found = {f"eigenvalue_{j}": _log(float(values[j - 1])) for j in EIGENVALUES if j <= len(values)}
    return found | _denoised(matrix, basis)


def _denoised(matrix: Array, basis: Array) -> dict[str, float]:
    """Collisions among tokens projected on the leading eigenvectors, which keeps frequent quanta and drops most noise."""
    small = basis.T @ (matrix @ basis)
    values, turn = np.linalg.eigh((small + small.T) / 2)
    points = (basis @ turn) * np.sqrt(np.maximum(values, 0))
    found = {"kept_length": float(np.mean(np.einsum("ij,ij->i", points, points)))}
    points -= points.mean(axis=0)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    counts = collisions.count(np.clip(points @ points.T, -1, 1), np.array(GRAPHS))
    for threshold, degrees in zip(GRAPHS, counts.degrees, strict=True):
        pair = _log(float(degrees.mean() / (len(matrix) - 1)))
        found[f"denoised_pairs_{threshold}"] = pair
        found[f"denoised_triples_{threshold}"] = _log(collisions.triple_share(degrees, 0.0)) - 1.5 * pair
        law = collisions.alpha_from_degrees(degrees)
        found[f"denoised_degree_law_{threshold}"] = float(np.clip(law, -1, 4)) if np.isfinite(law) else -1.0
    return found


def simulate(numbers: Sequence[int], n_tokens: int, *, seed: int, dimension: int = 512) -> pd.DataFrame:
    """Draws from the prior by number: the same number is the same draw, whichever job makes it.

    Returns:
        a row each: columns `simulation`, the settings as `planted_…`, and the summaries.
    """
    progress = Progress("simulations", len(numbers), "simulations")
    rows = []
    for number in numbers:
        rng = np.random.default_rng([seed, 5, number])
        settings = planted.from_prior(n_tokens, rng, dimension)
        x = planted.draw(settings, rng).features
        known = {f"planted_{name}": value for name, value in asdict(settings).items()}
        rows.append({"simulation": number} | known | summaries(np.clip(x @ x.T, -1, 1)))
        progress.advance()
    progress.done()
    return pd.DataFrame(rows)


def summary_names(simulations: pd.DataFrame) -> list[str]:
    """Columns that hold summaries."""
    return [c for c in simulations.columns if c != "simulation" and not c.startswith("planted_")]


class Guess:
    """A regression of α on summaries: the mean of a ridge on them and their squares, and of extremely randomised trees."""

    def __init__(self, x: Float[Array, "simulation summary"], alpha: Float[Array, " simulation"], seed: int) -> None:
        self.centre, self.scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
        self.ridge = RidgeCV(alphas=np.logspace(-1, 4, 11)).fit(self._expanded(x), alpha)
        self.trees = ExtraTreesRegressor(200, min_samples_leaf=2, max_features=0.4, random_state=seed).fit(x, alpha)

    def _expanded(self, x: Array) -> Array:
        # far outside the simulations a square would carry the guess anywhere
        z = np.clip((x - self.centre) / self.scale, -4, 4)
        return np.concatenate([z, z**2], axis=1)

    def __call__(self, x: Float[Array, "simulation summary"]) -> Float[Array, " simulation"]:
        """Guesses of α."""
        guess = (self.ridge.predict(self._expanded(x)) + self.trees.predict(x)) / 2
        return np.asarray(guess, dtype=np.float64)


@dataclass(frozen=True)
class Posterior:
    """Median and interval of α, what the verdict rests on."""

    value: float
    interval: tuple[float, float]
    verdict: str
    guess: float
    surprise: float  # chance of summaries as far out as these, under the simulations
    near: int  # simulations that the interval rests on

    def as_json(self) -> dict[str, Any]:
        """Plain data, the interval as a list."""
        return asdict(self) | {"interval": list(self.interval)}


class Calibration:
    """Simulations that answer for α: `infer` for data, `coverage` for a check on simulations it has not seen."""

    def __init__(self, simulations: pd.DataFrame, *, seed: int = 0) -> None:
        """Fit the regression.

        Raises:
            QuantaError: fewer than 100 simulations, or a summary that is not finite.
        """
        if len(simulations) < 100:
            raise QuantaError(
                "calibration.simulations", f"{len(simulations)} simulations", "at least 100", "raise the number"
            )
        self.names = summary_names(simulations)
        x = simulations[self.names].to_numpy(dtype=np.float64)
        if not np.isfinite(x).all():
            name = self.names[int(np.argwhere(~np.isfinite(x))[0][1])]
            raise QuantaError("calibration", f"summary {name} is not finite", "finite summaries", "make them anew")
        self.alpha = simulations["planted_alpha"].to_numpy(dtype=np.float64)
        self.guess = Guess(x, self.alpha, seed)
        self.out_of_fold = np.empty(len(x))
        for fit, rest in KFold(FOLDS, shuffle=True, random_state=seed).split(x):
            self.out_of_fold[rest] = Guess(x[fit], self.alpha[fit], seed)(x[rest])
        scaled = (x - self.guess.centre) / self.guess.scale
        values, vectors = np.linalg.eigh(np.cov(scaled.T))
        # directions that hold nearly all of the simulations' spread; in the others a distance would be rounding
        self.axes = vectors[:, np.cumsum(values[::-1])[::-1] > 0.01 * values.sum()]
        self.cloud = LedoitWolf().fit(scaled @ self.axes)
        self.distances = np.sort(self.cloud.mahalanobis(scaled @ self.axes))

    def infer(self, found: Mapping[str, float], *, level: float = LEVEL) -> Posterior:
        """The posterior of α given summaries of data.

        The verdict is `measured`, or says why not: the interval is wide, or the simulations hold nothing like the data.
        """
        x = np.array([[found[name] for name in self.names]])
        guess = float(self.guess(x)[0])
        # the guess of the whole fit has no bias against out-of-fold ones that matters beside the interval
        near = np.argsort(np.abs(self.out_of_fold - guess), kind="stable")[: max(len(self.alpha) // 8, 40)]
        # local shift: a neighbour's error belongs to its own guess, not to the data's
        drawn = np.clip(guess + self.alpha[near] - self.out_of_fold[near], *planted.PRIOR["alpha"])
        n = len(drawn)
        # one draw more on either side than the plain quantile: the conformal correction for a finite sample
        tail = max((1 - level) / 2 - 1 / (n + 1), 0.0)
        low, high = np.quantile(drawn, [tail, 1 - tail])
        scaled = ((x - self.guess.centre) / self.guess.scale) @ self.axes
        distance = float(self.cloud.mahalanobis(scaled)[0])
        beyond = 1 - np.searchsorted(self.distances, distance) / (len(self.distances) + 1)
        surprise = float(
            max(beyond, chi2.sf(distance / np.median(self.distances) * chi2.median(scaled.shape[1]), scaled.shape[1]))
        )
        width = planted.PRIOR["alpha"][1] - planted.PRIOR["alpha"][0]
        if surprise < 0.01:
            verdict = "cannot tell: no simulation looks like the data"
        elif high - low > TELLS * width:
            verdict = "cannot tell: the interval is wide"
        else:
            verdict = "measured"
        return Posterior(float(np.median(drawn)), (float(low), float(high)), verdict, guess, surprise, n)

    def coverage(self, held_out: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
        """Infer α for simulations that were not used, a row each: alpha, value, low, high, covered, verdict."""
        rows = []
        for record in held_out.to_dict(orient="records"):
            posterior = self.infer({name: record[name] for name in self.names}, level=level)
            alpha, (low, high) = record["planted_alpha"], posterior.interval
            rows.append(
                {
                    "simulation": record["simulation"],
                    "alpha": alpha,
                    "value": posterior.value,
                    "low": low,
                    "high": high,
                    "covered": low <= alpha <= high,
                    "verdict": posterior.verdict,
                }
            )
        return pd.DataFrame(rows)
