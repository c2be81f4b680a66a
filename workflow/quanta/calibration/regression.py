"""A calibrated Zipf exponent: simulations of planted quanta go through the very functions that the data go through.

Simulations are drawn from a prior over α and all that is not known (`quanta.calibration.planted.PRIOR`). Each is boiled down to the
same summaries as the data: how many pairs and triples collide at several resolutions, degrees, nearest neighbours,
spectrum, components. A regression turns summaries into one number, its guess of α (semi-automatic approximate Bayesian
computation, Fearnhead and Prangle 2012); the simulations whose guess is nearest to that of the data are a sample of the
posterior, their errors scaled by how hard the data are. Guesses are out of fold throughout, so that held-out coverage is what it says. docs/calibration.md.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf
from sklearn.model_selection import KFold

from quanta import arrays
from quanta.arrays import Array, Float, Int
from quanta.calibration import planted
from quanta.calibration.simulations import summary_names
from quanta.errors import QuantaError
from quanta.storage import files
from quanta.streams import Purpose, integer

LEVEL = 0.9
TELLS = 0.5  # an interval wider than this share of the prior's range tells too little
FOLDS = 5
RIDGES = np.logspace(-5, 1.5, 14)
DROPPED = 0.01  # share of the spread of simulations in directions where nothing is compared
UNLIKE = 0.01  # a p-value below says that no simulation looks like the data


class Regression:
    """Kernel ridge regression on standardised summaries: Matérn kernel of order 3/2, ridge by leave-one-out errors.

    The kernel's length is twice the median distance of simulations. docs/calibration.md compares it with others.
    """

    def __init__(self, x: Float[Array, "simulation summary"], y: Float[Array, " simulation"]) -> None:
        self.centre, self.scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
        self.points, self.mean = self._standard(x), y.mean()
        squares = self._squares(self.points)
        self.length = max(4 * float(np.median(squares)), 1e-9)
        values, vectors = np.linalg.eigh(self._kernel(squares))
        turned, weights = vectors.T @ (y - self.mean), vectors**2
        best = np.inf
        for ridge in RIDGES:
            shrunk = 1 / (np.maximum(values, 0) + ridge)
            weight = vectors @ (shrunk * turned)
            left_out = float(((weight / (weights @ shrunk)) ** 2).mean())
            if left_out < best:
                best, self.weight = left_out, weight

    def _standard(self, x: Array) -> Array:
        # far outside the simulations a distance would drown all summaries but one
        return np.asarray(np.clip((x - self.centre) / self.scale, -4, 4))

    def _squares(self, z: Array) -> Array:
        own, other = (z**2).sum(axis=1), (self.points**2).sum(axis=1)
        return np.asarray(np.maximum(own[:, None] + other[None, :] - 2 * z @ self.points.T, 0))

    def _kernel(self, squares: Array) -> Array:
        reach = np.sqrt(3 * squares / self.length)
        return np.asarray((1 + reach) * np.exp(-reach))

    def __call__(self, x: Float[Array, "simulation summary"]) -> Float[Array, " simulation"]:
        """Its values at summaries."""
        return np.asarray(self.mean + self._kernel(self._squares(self._standard(x))) @ self.weight)


class Spread:
    """How far a guess is likely off, from the summaries: the regression of the logarithms of the errors of out-of-fold guesses.

    Of the errors themselves it would go below what they are where they are small, and intervals there would be too narrow.
    """

    def __init__(self, x: Float[Array, "simulation summary"], error: Float[Array, " simulation"]) -> None:
        self.least = float(np.abs(error).mean()) / 10  # an error near zero is luck, and its logarithm without bound
        self.regression = Regression(x, np.log(np.abs(error) + self.least))

    def __call__(self, x: Float[Array, "simulation summary"]) -> Float[Array, " simulation"]:
        """Typical absolute errors."""
        return np.asarray(np.exp(self.regression(x)))


class Cloud:
    """Where simulations lie: Mahalanobis distances in the directions that hold nearly all of their spread."""

    def __init__(self, x: Float[Array, "simulation summary"]) -> None:
        self.centre, self.scale = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-9)
        scaled = (x - self.centre) / self.scale
        values, vectors = np.linalg.eigh(np.cov(scaled.T))  # rising
        # the small ones that hold 1 % together are left out: a distance in them would be rounding
        self.axes = vectors[:, np.cumsum(values) > DROPPED * values.sum()]
        self.shape = LedoitWolf().fit(scaled @ self.axes)

    def __call__(self, x: Float[Array, "simulation summary"]) -> Float[Array, " simulation"]:
        """Squared distances from the middle."""
        return np.asarray(self.shape.mahalanobis((x - self.centre) / self.scale @ self.axes))


ALIKE = "like the simulations"
WIDE = "cannot tell: the interval is wide"
UNLIKE_ALL = "cannot tell: no simulation looks like the data"


@dataclass(frozen=True)
class Posterior:
    """Median and interval of α, what the verdict rests on."""

    value: float
    interval: tuple[float, float]
    verdict: str
    guess: float
    p_value: float  # chance of summaries as far out as these, under the simulations
    near: int  # simulations that the interval rests on

    def as_json(self) -> dict[str, Any]:
        """Plain data, the interval as a list."""
        return asdict(self) | {"interval": list(self.interval)}


def split(simulations: pd.DataFrame, held_out: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulations that a calibration knows, and those that it is checked on: the last `held_out` by number."""
    ordered = simulations.sort_values("simulation", kind="stable", ignore_index=True)
    return ordered.iloc[:-held_out], ordered.iloc[-held_out:]


def n_tokens(simulations: pd.DataFrame) -> int:
    """Tokens that each simulation has; data are compared at as many.

    Raises:
        QuantaError: they differ.
    """
    sizes = sorted({int(n) for n in simulations["planted_n_tokens"]})
    if len(sizes) != 1:
        raise QuantaError(
            "calibration/simulations.parquet", f"simulations of {sizes} tokens", "one number", files.RERUN
        )
    return sizes[0]


def thinned(cosines: Float[Array, "token token"], size: int) -> tuple[Array, Int[Array, " chosen"]]:
    """Cosines of `size` of the tokens, evenly spread, each once; and which they are.

    Raises:
        QuantaError: there are fewer tokens.
    """
    if len(cosines) < size:
        raise QuantaError(
            "qdg/affinity.npy",
            f"{len(cosines)} tokens, but simulations of {size}",
            "at least as many tokens as are simulated",
            files.RERUN,
        )
    chosen = arrays.evenly(len(cosines), size)
    return np.asarray(cosines[chosen][:, chosen]), chosen


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
            raise QuantaError("calibration", f"summary {name} is not finite", "finite summaries", "make them again")
        self.alpha = simulations["planted_alpha"].to_numpy(dtype=np.float64)
        self.guess = Regression(x, self.alpha)
        self.out_of_fold = np.empty(len(x))
        folds = list(KFold(FOLDS, shuffle=True, random_state=integer(seed, Purpose.CALIBRATION_FOLDS)).split(x))
        for fit, rest in folds:
            self.out_of_fold[rest] = Regression(x[fit], self.alpha[fit])(x[rest])
        self.error = self.alpha - self.out_of_fold
        self.spread = Spread(x, self.error)
        self.scaled_error = np.empty(len(x))
        self.clouds = []
        for fit, rest in folds:
            self.scaled_error[rest] = self.error[rest] / Spread(x[fit], self.error[fit])(x[rest])
            cloud = Cloud(x[fit])
            self.clouds.append((cloud, np.sort(cloud(x[rest]))))

    def p_values(self, x: Float[Array, "data summary"]) -> Float[Array, " data"]:
        """Chance of summaries as far out, by the rank of their distance among simulations that its cloud was not fitted to.

        Of draws from the prior a share q has a p-value below q (cross-conformal prediction, Vovk 2015).
        """
        further = np.zeros(len(x))
        for cloud, distances in self.clouds:
            further += len(distances) - np.searchsorted(distances, cloud(x))
        return np.asarray((1 + further) / (1 + len(self.alpha)))

    def infer(self, found: Mapping[str, float], *, level: float = LEVEL) -> Posterior:
        """The posterior of α given summaries of data.

        The verdict is `like the simulations`, which is no measurement of α, or says why not: the interval is wide, or no simulation looks like the data.
        """
        return self.infer_all(pd.DataFrame([{name: found[name] for name in self.names}]), level=level)[0]

    def infer_all(self, found: pd.DataFrame, *, level: float = LEVEL) -> list[Posterior]:
        """`infer` for every row of a table of summaries."""
        x = found[self.names].to_numpy(dtype=np.float64)
        width = planted.PRIOR["alpha"][1] - planted.PRIOR["alpha"][0]
        posteriors = []
        for guess, spread, p_value in zip(self.guess(x), self.spread(x), self.p_values(x), strict=True):
            # the guess of the whole fit has no bias against out-of-fold ones that matters beside the interval
            near = np.argsort(np.abs(self.out_of_fold - guess), kind="stable")[: max(len(self.alpha) // 8, 40)]
            # a neighbour's error belongs to its own guess and its own difficulty: both are exchanged for the data's
            drawn = np.clip(guess + spread * self.scaled_error[near], *planted.PRIOR["alpha"])
            # plain quantiles: guesses out of fold err a little more than the whole fit's, which makes up for the finite sample
            low, high = (float(q) for q in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
            if p_value < UNLIKE:
                verdict = UNLIKE_ALL
            elif high - low > TELLS * width:
                verdict = WIDE
            else:
                verdict = ALIKE
            posteriors.append(
                Posterior(float(np.median(drawn)), (low, high), verdict, float(guess), float(p_value), len(near))
            )
        return posteriors

    def coverage(self, held_out: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
        """Infer α for simulations that were not used, a row each: alpha, value, low, high, covered, verdict."""
        rows = []
        inferred = self.infer_all(held_out, level=level)
        for number, alpha, posterior in zip(held_out["simulation"], held_out["planted_alpha"], inferred, strict=True):
            low, high = posterior.interval
            rows.append(
                {
                    "simulation": number,
                    "alpha": alpha,
                    "value": posterior.value,
                    "low": low,
                    "high": high,
                    "covered": low <= alpha <= high,
                    "verdict": posterior.verdict,
                }
            )
        return pd.DataFrame(rows)
