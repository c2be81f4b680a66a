"""A calibrated Zipf exponent: simulations of planted quanta go through the very functions that the data go through.

Simulations are drawn from a prior over α and all that is not known (`quanta.planted.PRIOR`). Each is boiled down to the
same summaries as the data: how many pairs and triples collide at several resolutions, degrees, nearest neighbours,
spectrum, components. A regression turns summaries into one number, its guess of α (semi-automatic approximate Bayesian
computation, Fearnhead and Prangle 2012); the simulations whose guess is nearest to that of the data are a sample of the
posterior, their errors scaled by how hard the data are. Guesses are out of fold throughout, so that held-out coverage is what it says. docs/calibration.md.
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

from quanta import collisions, planted, stability, zipf
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


class Spread:
    """How far a guess is likely off, from the summaries: trees on the absolute errors of out-of-fold guesses."""

    def __init__(self, x: Float[Array, "simulation summary"], error: Float[Array, " simulation"], seed: int) -> None:
        self.floor = float(np.abs(error).mean()) / 5
        self.trees = ExtraTreesRegressor(200, min_samples_leaf=8, max_features=0.4, random_state=seed)
        self.trees.fit(x, np.abs(error))

    def __call__(self, x: Float[Array, "simulation summary"]) -> Float[Array, " simulation"]:
        """Expected absolute errors, none near zero."""
        return np.asarray(np.maximum(self.trees.predict(x), self.floor), dtype=np.float64)


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
        folds = list(KFold(FOLDS, shuffle=True, random_state=seed).split(x))
        for fit, rest in folds:
            self.out_of_fold[rest] = Guess(x[fit], self.alpha[fit], seed)(x[rest])
        self.error = self.alpha - self.out_of_fold
        self.spread = Spread(x, self.error, seed)
        self.scaled_error = np.empty(len(x))
        for fit, rest in folds:
            self.scaled_error[rest] = self.error[rest] / Spread(x[fit], self.error[fit], seed)(x[rest])
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
        # a neighbour's error belongs to its own guess and its own difficulty: both are exchanged for the data's
        drawn = np.clip(guess + float(self.spread(x)[0]) * self.scaled_error[near], *planted.PRIOR["alpha"])
        # plain quantiles: guesses out of fold err a little more than the whole fit's, which makes up for the finite sample
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
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
        return Posterior(float(np.median(drawn)), (float(low), float(high)), verdict, guess, surprise, len(near))

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


QUANTA = 100_000.0  # K of the estimators that need one: more than any clustering tells apart


def simple_estimates(found: Mapping[str, float], n_tokens: int, *, level: float = 1.645) -> dict[str, dict[str, Any]]:
    """α by each estimator that needs no simulation, from one set of summaries; with an interval where it has one of its own.

    The interval of a collision estimate is that of its U-statistic: variance 4 (Σp³ − (Σp²)²) / N.

    Returns:
        by name: value, low, high (the last two None without an interval).
    """

    def collisions_of(log_pairs: float, log_triples: float) -> dict[str, Any]:
        pair = 10**log_pairs
        triple = 10 ** (log_triples + 1.5 * log_pairs)
        error = float(np.sqrt(max(4 * (triple - pair**2), 0) / n_tokens))
        return {
            "value": collisions.invert(pair, QUANTA),
            "low": collisions.invert(max(pair - level * error, 0), QUANTA),
            "high": collisions.invert(pair + level * error, QUANTA),
        }

    def bare(value: float) -> dict[str, Any]:
        return {"value": value, "low": None, "high": None}

    estimates = {"pairs above 6 deviations": bare(collisions.invert(10 ** found["above_6_sd"], QUANTA))}
    estimates["pairs, mixture"] = bare(collisions.invert(10 ** found["excess"], QUANTA))
    for t in THRESHOLDS:
        estimates[f"pairs above {t}"] = collisions_of(found[f"pairs_{t}"], found[f"triples_{t}"])
        triple = 10 ** (found[f"triples_{t}"] + 1.5 * found[f"pairs_{t}"])
        estimates[f"triples above {t}"] = bare(collisions.invert(triple, QUANTA, 3))
    for t in GRAPHS:
        estimates[f"degrees above {t}"] = bare(found[f"degree_law_{t}"])
        growth = found[f"growth_{t}"]
        # Heaps' law: the number of quanta seen grows as N^(1/(1+α))
        estimates[f"growth of components, {t}"] = bare(1 / max(growth, 0.2) - 1)
        estimates[f"pairs after projection, {t}"] = collisions_of(
            found[f"denoised_pairs_{t}"], found[f"denoised_triples_{t}"]
        )
        estimates[f"degrees after projection, {t}"] = bare(found[f"denoised_degree_law_{t}"])
    return estimates


def compare_estimators(simulations: pd.DataFrame, posterior: pd.DataFrame) -> pd.DataFrame:
    """Every estimator on the same held-out simulations; `posterior` is `Calibration.coverage` of them.

    Returns:
        estimator, bias, sd (of the error), rmse, coverage and width of its own 90 % interval (NaN without one), n.
    """
    rows: dict[str, list[tuple[float, float, float, float]]] = {}
    for record in simulations.to_dict(orient="records"):
        n, alpha = int(record["planted_n_tokens"]), record["planted_alpha"]
        for name, e in simple_estimates(record, n).items():
            low, high = (np.nan, np.nan) if e["low"] is None else (e["low"], e["high"])
            rows.setdefault(name, []).append((alpha, e["value"], low, high))
    rows["calibrated"] = list(posterior[["alpha", "value", "low", "high"]].itertuples(index=False, name=None))
    found = []
    for name, values in rows.items():
        alpha, value, low, high = np.array(values, dtype=np.float64).T
        error = value - alpha
        own = np.isfinite(low)
        found.append(
            {
                "estimator": name,
                "bias": error.mean(),
                "sd": error.std(),
                "rmse": np.sqrt((error**2).mean()),
                "coverage": ((low <= alpha) & (alpha <= high))[own].mean() if own.any() else np.nan,
                "width": (high - low)[own].mean() if own.any() else np.nan,
                "n": len(alpha),
            }
        )
    return pd.DataFrame(found).sort_values("rmse", kind="stable", ignore_index=True)


def best_resolution(simulations: pd.DataFrame, value: float, share: float = 0.25) -> float:
    """The cosine threshold whose collisions err least on the simulations with α nearest to `value`."""
    near = simulations.iloc[
        np.argsort(np.abs(simulations["planted_alpha"].to_numpy() - value), kind="stable")[
            : max(int(share * len(simulations)), 20)
        ]
    ]
    errors = {}
    for t in THRESHOLDS:
        found = np.array([collisions.invert(10**p, QUANTA) for p in near[f"pairs_{t}"]])
        errors[t] = float(((found - near["planted_alpha"]) ** 2).mean())
    return min(errors, key=lambda t: errors[t])


def naive_slopes(
    numbers: Sequence[int],
    n_tokens: int,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    *,
    seed: int,
    dimension: int = 512,
) -> pd.DataFrame:
    """The paper's fit on simulations, by number as in `simulate`: what the envelope's slope makes of a known α.

    Returns:
        simulation, alpha, slope (NaN where the ranks hold no clusters), true_slope (the same fit to the true sizes), strength.
    """
    first, last = zipf.rank_range(n_tokens, shares)
    rows = []
    for number in numbers:
        rng = np.random.default_rng([seed, 5, number])
        settings = planted.from_prior(n_tokens, rng, dimension)
        x = planted.draw(settings, rng)
        cosines = np.clip(x.features @ x.features.T, -1, 1)
        found = stability.cluster_like_data((cosines + cosines.T) / 2, n_clusters, seed=seed)
        curves = {
            "slope": zipf.envelope([zipf.sizes(own) for own in found.values()]),
            "true_slope": zipf.sizes(x.quantum),
        }
        row = {"simulation": number, "alpha": settings.alpha, "strength": settings.strength}
        for name, curve in curves.items():
            try:
                row[name] = zipf.slope(curve, first, last)
            except QuantaError:
                row[name] = float("nan")
        rows.append(row)
    return pd.DataFrame(rows)


def toy_row(n_tokens: int, exponent: float, noise: float, *, seed: int) -> dict[str, float]:
    """One toy of the paper's appendix (`planted.toy`): slopes over ranks 0.01 N to 0.1 N, and α by collisions of pairs.

    Clusters are N/5 in 100 dimensions. The threshold is half of the cosine within a cluster, 1 / (1 + noise²).
    """
    rng = np.random.default_rng([seed, 12, round(exponent * 1000), round(noise * 1000)])
    n_clusters = n_tokens // 5
    x = planted.toy(n_tokens, n_clusters, 100, exponent, noise, rng)
    cosines = np.clip(x.features @ x.features.T, -1, 1)
    cosines = (cosines + cosines.T) / 2
    shares = (0.01, 0.1)
    ks = sorted({max(n_tokens * share // 1000, 2) for share in (5, 10, 20, 30, 50, 70, 100, 150, 200)})
    found = stability.cluster_like_data(cosines, ks, seed=seed)
    threshold = 0.5 / (1 + noise**2)
    [at] = collisions.resolution_curve(cosines, np.array([threshold]), float(n_clusters))
    return {
        "exponent": exponent,
        "noise": noise,
        "slope": stability.envelope_slope(found, n_tokens, shares),
        "true_slope": zipf.slope(zipf.sizes(x.quantum), *zipf.rank_range(n_tokens, shares)),
        "alpha_collisions": at["alpha"],
        "alpha_low": at["low"],
        "alpha_high": at["high"],
    }
