"""A discrete power law of cluster sizes, fitted by maximum likelihood."""

from typing import Any

import numpy as np
from scipy.special import zeta

from quanta.arrays import Array, evenly
from quanta.streams import Purpose, generator

EXPONENTS = np.arange(1.01, 6.0, 0.01)  # γ of p(s) ∝ s^-γ
FEWEST = 10  # clusters that a tail must hold


def fit_sizes(cluster_sizes: Array, *, draws: int = 200, seed: int = 0) -> dict[str, Any]:
    """Discrete power law p(s) ∝ s^-γ for sizes s ≥ s_min by maximum likelihood (Clauset, Shalizi and Newman 2009).

    s_min minimises the Kolmogorov-Smirnov distance. A Zipf law p_k ∝ k^-(α+1) of quanta makes γ = 1 + 1/(α+1).

    Returns:
        gamma, its standard_error, alpha, smallest (s_min), n_clusters (in the tail), distance and p_value: the share of samples of
        the fitted law that lie further from their own fit. Below 0.1 the power law is refused. All None and `why` where
        no tail holds ten clusters of two sizes.
    """
    values = np.asarray(cluster_sizes, dtype=np.int64)
    best = _fit_tail(values)
    if best is None:
        names = ("gamma", "standard_error", "alpha", "smallest", "n_clusters", "distance", "p_value")
        return dict.fromkeys(names) | {"why": f"no tail of {FEWEST} clusters of two sizes or more"}
    gamma, smallest, distance = best
    tail, body = values[values >= smallest], values[values < smallest]
    rng = generator(seed, Purpose.SIZE_LAW_BOOTSTRAP)
    support = np.arange(smallest, max(int(values.max()) * 100, 1000))
    chance = support**-gamma
    cumulated = np.cumsum(chance / (chance.sum() + _beyond(gamma, int(support[-1]) + 1)))
    further, done = 0, 0
    for _ in range(draws):
        from_tail = int(rng.binomial(len(values), len(tail) / len(values)))
        fresh = support[np.searchsorted(cumulated, rng.random(from_tail)).clip(max=len(support) - 1)]
        other = rng.choice(body, len(values) - from_tail) if len(body) else np.empty(0, dtype=np.int64)
        again = _fit_tail(np.concatenate([fresh, other]))
        if again is not None:
            done += 1
            further += again[2] >= distance
    grid = np.abs(EXPONENTS - gamma).argmin()
    around = EXPONENTS[max(grid - 1, 0) : grid + 2]
    logs = np.log(zeta(around, smallest))
    curvature = (logs[-1] - 2 * logs[len(logs) // 2] + logs[0]) / 0.01**2 if len(logs) == 3 else np.nan
    return {
        "gamma": gamma,
        "standard_error": float(1 / np.sqrt(len(tail) * curvature)) if curvature > 0 else None,
        "alpha": 1 / (gamma - 1) - 1,
        "smallest": smallest,
        "n_clusters": len(tail),
        "distance": distance,
        "p_value": further / done if done else None,
    }


def _beyond(gamma: float, first: int) -> float:
    return float(zeta(gamma, first))


def _fit_tail(values: Array) -> tuple[float, int, float] | None:
    """(γ, s_min, Kolmogorov-Smirnov distance) of the best tail."""
    best: tuple[float, int, float] | None = None
    candidates = np.unique(values)
    # a long list of candidates is thinned evenly in rank: neighbours give nearly the same fit
    if len(candidates) > 24:
        candidates = candidates[evenly(len(candidates), 24)]
    for smallest in candidates:
        tail = values[values >= smallest]
        if len(tail) < FEWEST or tail.min() == tail.max():
            continue
        likelihood = -EXPONENTS * np.log(tail).mean() - np.log(zeta(EXPONENTS, smallest))
        gamma = float(EXPONENTS[likelihood.argmax()])
        seen = np.unique(tail)
        law = 1 - zeta(gamma, seen + 1) / zeta(gamma, smallest)
        found = np.searchsorted(np.sort(tail), seen, side="right") / len(tail)
        distance = float(np.abs(law - found).max())
        if best is None or distance < best[2]:
            best = gamma, int(smallest), distance
    return best
