"""The Zipf exponent from pairs of tokens that share a quantum, without any clustering.

Two random tokens share a quantum with the probability Σ p_k² = H(2(α+1), K) / H(α+1, K)², H(s, K) = Σ_{k≤K} k^-s; three with
Σ p_k³. These are counted from cosines and inverted. Which pairs share one is seen against an empirical null (Efron 2004):
cosines of pairs that share nothing are taken as symmetric about their mode, so the left half tells the right one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import zeta

from quanta.arrays import ERRORS_90, Array, Float, Int, log_log_fit
from quanta.corpus import resampling
from quanta.errors import QuantaError

BINS = 4000  # of cosines over [−1, 1]
ALPHAS = (-0.9, 8.0)
EXPLICIT = 128  # terms of a harmonic sum that are added one by one
RESOLUTIONS = tuple(round(0.05 * i, 2) for i in range(2, 20))  # cosine thresholds of the curve


def harmonic(s: float, n: float) -> float:
    """Σ_{k=1}^{n} k^-s; `n` may be infinite where s > 1."""
    if np.isinf(n):
        return float(zeta(s, 1)) if s > 1 else np.inf
    if s > 1.001:
        return float(zeta(s, 1) - zeta(s, n + 1))
    n, head = int(n), min(int(n), EXPLICIT)
    total = float((np.arange(1, head + 1) ** -float(s)).sum())
    if n == head:
        return total
    # the rest by Euler and Maclaurin: integral, ends, first two derivatives that count
    log = np.log(n / head)
    gap = (1 - s) * log
    integral = head ** (1 - s) * (log if abs(gap) < 1e-300 else float(np.expm1(gap)) / (1 - s))
    ends = (n**-s - head**-s) / 2
    slopes = s * (head ** (-s - 1) - n ** (-s - 1)) / 12
    third = s * (s + 1) * (s + 2) * (head ** (-s - 3) - n ** (-s - 3)) / 720
    return float(total + integral + ends + slopes - third)


def collision_probability(alpha: float, n_quanta: float, tuple_size: int = 2) -> float:
    """Σ_k p_k^m over K quanta with p_k ∝ k^-(α+1): the chance that m random tokens share one quantum."""
    return harmonic(tuple_size * (alpha + 1), n_quanta) / harmonic(alpha + 1, n_quanta) ** tuple_size


def invert(probability: float, n_quanta: float, tuple_size: int = 2) -> float:
    """α at which m tokens share a quantum with this probability.

    A probability out of reach gives the end of the range: no α below −0.9 or above 8 (or 0, where K is infinite).
    """
    low, high = (1e-4 if np.isinf(n_quanta) else ALPHAS[0]), ALPHAS[1]

    def gap(alpha: float) -> float:
        return float(np.log(collision_probability(alpha, n_quanta, tuple_size)) - np.log(max(probability, 1e-300)))

    if gap(low) >= 0:
        return low
    if gap(high) <= 0:
        return high
    return float(brentq(gap, low, high, xtol=1e-6))


@dataclass(frozen=True)
class Cosines:
    """Counts that the estimators need, from one pass over the matrix.

    `histogram` (bin,) counts unordered pairs; `degrees` (threshold, token) counts the other tokens above each threshold.
    """

    n: int
    histogram: Int[Array, " bin"]
    thresholds: Float[Array, " threshold"]
    degrees: Int[Array, "threshold token"]

    @property
    def centres(self) -> Float[Array, " bin"]:
        """Middle of each bin."""
        return (np.arange(BINS) + 0.5) * 2 / BINS - 1


def _bins(cosines: Array) -> Array:
    return np.clip((np.asarray(cosines) + 1) * (BINS / 2), 0, BINS - 1).astype(np.int16)


def count(cosines: Array, thresholds: Array, block: int = 512) -> Cosines:
    """Histogram and degrees of a cosine matrix (N, N), by blocks of rows.

    Raises:
        QuantaError: fewer than ten tokens, or a cosine that is not finite.
    """
    n = len(cosines)
    if n < 10:
        raise QuantaError("qdg/affinity.npy", f"{n} tokens", "at least 10", "raise qdg.tokens or qdg.threshold")
    histogram = np.zeros(BINS, dtype=np.int64)
    degrees = np.zeros((len(thresholds), n), dtype=np.int64)
    for begin in range(0, n, block):
        rows = np.array(cosines[begin : begin + block], dtype=np.float32)
        if not np.isfinite(rows).all():
            i, j = np.argwhere(~np.isfinite(rows))[0]
            raise QuantaError(
                "qdg/affinity.npy", f"{rows[i, j]} at ({begin + i}, {j})", "finite cosines", "make it again"
            )
        rows[np.arange(len(rows)), begin + np.arange(len(rows))] = -2
        bins = _bins(rows)
        histogram += np.bincount(bins.ravel(), minlength=BINS)
        histogram[0] -= len(rows)  # the diagonal
        for index, threshold in enumerate(thresholds):
            degrees[index, begin : begin + len(rows)] = np.count_nonzero(rows > threshold, axis=1)
    return Cosines(n, histogram // 2, np.asarray(thresholds, dtype=np.float64), degrees)


@dataclass(frozen=True)
class Null:
    """The cosines of pairs that share nothing: mode and standard deviation of the bulk, and the share of other pairs."""

    mode: float
    sd: float
    excess: float  # pairs right of the mode less those left of it, over all pairs: the share that collides


def quantile(counts: Cosines, q: float) -> float:
    """Quantile of the cosines of all pairs, to the width of a bin."""
    mass = np.cumsum(counts.histogram)
    return float(counts.centres[np.searchsorted(mass, q * mass[-1])])


def empirical_null(counts: Cosines) -> Null:
    """Mode from a parabola through the logarithm of the histogram about its peak; width and excess from reflection."""
    centre = quantile(counts, 0.5)
    sd = max((centre - quantile(counts, 0.16)), 4 / BINS)
    x = counts.centres
    for _ in range(5):
        near = (np.abs(x - centre) < 0.75 * sd) & (counts.histogram > 0)
        if near.sum() < 4:
            break
        weight = np.sqrt(counts.histogram[near].astype(np.float64))
        square, slope, _ = np.polyfit(x[near] - centre, np.log(counts.histogram[near]), 2, w=weight)
        if square >= 0:
            break
        step = float(np.clip(-slope / (2 * square), -0.3 * sd, 0.3 * sd))
        centre += step
        left = x < centre
        sd = float(
            np.sqrt((counts.histogram[left] * (x[left] - centre) ** 2).sum() / max(counts.histogram[left].sum(), 1))
        )
        if abs(step) < 1e-6:
            break
    total = counts.histogram.sum()
    below = _share_below(counts, centre) * total
    return Null(centre, sd, float(max((total - 2 * below) / total, 0.0)))


def _share_below(counts: Cosines, value: float) -> float:
    """Share of pairs below a cosine, linear within a bin."""
    edges = np.linspace(-1, 1, BINS + 1)
    mass = np.concatenate([[0], np.cumsum(counts.histogram)])
    return float(np.interp(value, edges, mass) / mass[-1])


def pair_share(counts: Cosines, threshold: float, null: Null) -> float:
    """Share of pairs that collide at a resolution: those above the threshold, less as many as the null has there."""
    above = 1 - _share_below(counts, threshold)
    return max(above - _share_below(counts, 2 * null.mode - threshold), 0.0)


def triple_share(degrees: Array, false_share: float) -> float:
    """Σ p_k³ from degrees: the share of pairs of neighbours of a token, without those that the null expects."""
    n = degrees.shape[-1]
    d = np.maximum(degrees - false_share * (n - 1), 0)
    return float(np.maximum(d * (d - 1), 0).mean() / ((n - 1) * (n - 2)))


def standard_error(degrees: Array, groups: Int[Array, " token"] | None = None) -> float:
    """Standard error of the share of colliding pairs, a U-statistic: twice that of the mean of the tokens' own shares.

    With `groups`, the texts that tokens are of, these are independent and their tokens need not be (`resampling`). Drawing
    tokens again with replacement would meet each token's own copies, whose cosine is 1, and count them as
    collisions; the projection has no such pairs, nor has subsampling (Hoeffding 1948; Politis, Romano and Wolf 1999).
    """
    return 2 * resampling.deviation_of_mean(np.asarray(degrees) / (len(degrees) - 1), groups)


def resolution_curve(
    cosines: Array,
    thresholds: Array,
    n_quanta: float,
    *,
    level: float = ERRORS_90,
    groups: Int[Array, " token"] | None = None,
) -> list[dict[str, Any]]:
    """α against the cosine above which two tokens are said to share a quantum, with its sampling interval.

    `groups` are the texts that the tokens are of; without them tokens are taken as independent.

    Returns:
        for each threshold: threshold, pair_share, alpha, low, high, alpha_triples, false_share (of pairs, by the null).
    """
    counts = count(cosines, np.asarray(thresholds))
    null = empirical_null(counts)
    curve = []
    for threshold, degrees in zip(counts.thresholds, counts.degrees, strict=True):
        share, error = pair_share(counts, threshold, null), standard_error(degrees, groups)
        false = _share_below(counts, 2 * null.mode - threshold)
        curve.append(
            {
                "threshold": float(threshold),
                "pair_share": share,
                "false_share": false,
                "alpha": invert(share, n_quanta),
                "low": invert(max(share - level * error, 0), n_quanta),
                "high": invert(share + level * error, n_quanta),
                "alpha_triples": invert(triple_share(degrees, false), n_quanta, 3),
            }
        )
    return curve


def degree_law(degrees: Int[Array, " token"]) -> tuple[Float[Array, " token"], Float[Array, " token"]]:
    """Rank and size of each token's quantum, from degrees alone, most frequent first.

    A token's degree + 1 is its quantum's size s, and s tokens say so: each adds 1/s to the rank.
    """
    sizes = np.sort(degrees + 1.0)[::-1]
    return np.cumsum(1 / sizes) + 0.5, sizes


def alpha_from_degrees(degrees: Int[Array, " token"], smallest: float = 8.0) -> float:
    """−slope − 1 of log size on log rank of `degree_law`, each quantum weighing the same, for sizes of 8 or more.

    NaN where fewer than three ranks are that large.
    """
    rank, size = degree_law(degrees)
    kept = size >= smallest
    if kept.sum() < 3 or rank[kept][-1] < 3:
        return float("nan")
    # least squares with the weight 1/size: as if each quantum were one point
    return float(-log_log_fit(rank[kept], size[kept], 1 / size[kept])[0] - 1)
