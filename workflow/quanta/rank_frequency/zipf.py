"""Rank-frequency law of clusters: sizes by rank for every number of clusters, their envelope, its slope."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.special import zeta

from quanta.arrays import Array, Float, Int
from quanta.corpus import resampling
from quanta.errors import QuantaError

ENVELOPE = 0  # n_clusters of the envelope in the table
IDENTITY = "tokens grouped by their identity"  # the null model that needs no clustering


def sizes(labels: Array) -> Int[Array, " rank"]:
    """Cluster sizes, largest first."""
    return np.sort(np.unique(labels, return_counts=True)[1])[::-1]


def envelope(curves: Sequence[Array]) -> Int[Array, " rank"]:
    """The largest size at each rank over all curves, each of which may end at another rank."""
    top = np.zeros(max(len(curve) for curve in curves), dtype=np.int64)
    for curve in curves:
        np.maximum(top[: len(curve)], curve, out=top[: len(curve)])
    return top


def rank_frequency(labels: pd.DataFrame) -> pd.DataFrame:
    """Columns n_clusters, rank (from 1), size; the envelope's rows have n_clusters = 0."""
    curves = {int(k): sizes(part["label"].to_numpy()) for k, part in labels.groupby("n_clusters", sort=True)}
    curves[ENVELOPE] = envelope(list(curves.values()))
    tables = [
        pd.DataFrame({"n_clusters": k, "rank": np.arange(1, len(curve) + 1), "size": curve})
        for k, curve in sorted(curves.items())
    ]
    return pd.concat(tables, ignore_index=True)


def rank_range(n_tokens: int, shares: tuple[float, float]) -> tuple[int, int]:
    """First and last rank of the fit, as shares of N: 0.01 and 0.1 give the paper's 100 and 1000 at N = 10⁴."""
    return max(round(shares[0] * n_tokens), 1), max(round(shares[1] * n_tokens), 1)


def slope(curve: Array, first: int, last: int) -> float:
    """Least-squares slope of log size against log rank, between two ranks (inclusive).

    Raises:
        QuantaError: fewer than two ranks in the range have a cluster.
    """
    last = min(last, int((np.asarray(curve) > 0).sum()))
    if last - first < 1:
        raise QuantaError(
            "qdg.rank_shares",
            f"ranks {first} to {last} of a curve with {len(curve)} ranks",
            "at least two ranks with a cluster",
            "widen qdg.rank_shares, or add larger numbers to qdg.n_clusters",
        )
    ranks = np.arange(first, last + 1)
    return float(np.polyfit(np.log(ranks), np.log(curve[first - 1 : last]), 1)[0])


EXPONENTS = np.arange(1.01, 6.0, 0.01)  # γ of p(s) ∝ s^-γ
FEWEST = 10  # clusters that a tail must hold


def power_law(cluster_sizes: Array, *, draws: int = 200, seed: int = 0) -> dict[str, Any]:
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
    rng = np.random.default_rng([seed, 6])
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


def over_seeds(labels: Sequence[Array], *, seed: int) -> dict[str, Any]:
    """What `power_law` says of clusterings that differ in the seed of k-means alone: each one's γ, α and p-value.

    One clustering's p-value is no verdict: it hangs on the seed more than on anything else.

    Returns:
        n_seeds, and for gamma, alpha and p_value the values, a seed each (None where there is no fit).
    """
    fits = [power_law(sizes(own), seed=seed) for own in labels]
    return {"n_seeds": len(fits)} | {name: [fit[name] for fit in fits] for name in ("gamma", "alpha", "p_value")}


def _beyond(gamma: float, first: int) -> float:
    return float(zeta(gamma, first))


def _fit_tail(values: Array) -> tuple[float, int, float] | None:
    """(γ, s_min, Kolmogorov-Smirnov distance) of the best tail."""
    best: tuple[float, int, float] | None = None
    candidates = np.unique(values)
    # a long list of candidates is thinned evenly in rank: neighbours give nearly the same fit
    if len(candidates) > 24:
        candidates = candidates[np.unique(np.linspace(0, len(candidates) - 1, 24).round().astype(int))]
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


def bootstrap_slopes(
    labels: pd.DataFrame, first: int, last: int, *, draws: int, seed: int, groups: Int[Array, " token"] | None = None
) -> Float[Array, " draw"]:
    """Slopes of the envelope when tokens are drawn again with replacement, their clusters held fixed.

    Tokens are drawn by whole `groups`, the texts that they are of (`resampling`); one by one where none are given. This is the
    sampling of tokens alone: the clustering's own error is larger and not in it. Clusters must be held fixed: a token
    drawn twice has itself as a neighbour of cosine 1, and clustering such a sample finds its pairs of copies.
    `quanta.validation.stability` clusters anew instead, on halves drawn without replacement.
    """
    wide = labels.pivot(index="token", columns="n_clusters", values="label").to_numpy()
    own = resampling.numbered(groups, len(wide))
    number = int(own.max()) + 1
    weights = resampling.weights(number, draws, np.random.default_rng([seed, 4]))
    top = np.zeros((draws, int(wide.max()) + 1), dtype=np.int64)
    for column in wide.T:
        tokens = csr_matrix((np.ones(len(own), dtype=np.int64), (own, column)), shape=(number, int(column.max()) + 1))
        found = np.sort(np.asarray(weights @ tokens), axis=1)[:, ::-1]
        np.maximum(top[:, : found.shape[1]], found, out=top[:, : found.shape[1]])
    return np.array([slope(curve, first, last) for curve in top if (curve > 0).sum() > first])


def fit_envelope(
    labels: pd.DataFrame,
    identity: Array,
    shares: tuple[float, float],
    *,
    draws: int,
    seed: int,
    show: int | None = None,
    groups: Int[Array, " token"] | None = None,
    again: Sequence[Array] = (),
) -> dict[str, Any]:
    """The paper's fit (section 5.1) with its interval, and the same fit to the target tokens' own frequencies.

    `identity` (token,) is what each token is: grouping by it alone is the null model that a slope must be held against.
    `show` is the number of clusters whose sizes get a power law by maximum likelihood, `groups` the texts that tokens are of,
    and `again` labels at `show` by k-means with other seeds, over which the power law's numbers are given too.

    Raises:
        QuantaError: all tokens lie in one cluster, or the ranks of the fit hold fewer than two clusters.
    """
    if labels["label"].max() == 0:
        raise QuantaError(
            "qdg/labels.parquet",
            "all tokens in one cluster at every n_clusters",
            "clusters",
            "look at qdg/affinity.npy",
        )
    n = len(identity)
    first, last = rank_range(n, shares)
    curve = envelope([sizes(part["label"].to_numpy()) for _, part in labels.groupby("n_clusters")])
    drawn = bootstrap_slopes(labels, first, last, draws=draws, seed=seed, groups=groups)
    value = slope(curve, first, last)
    # the draws' quantiles would be off centre: a maximum over resampled sizes is larger than the maximum itself
    reach_out = 1.645 * float(np.std(drawn, ddof=1)) if len(drawn) > 1 else None
    unit = "tokens" if groups is None else resampling.UNIT
    null = sizes(identity)
    reach = int(min(last, len(null)))
    chosen = labels[labels["n_clusters"] == show]["label"].to_numpy()
    return {
        "envelope_slope": {
            "value": value,
            "interval": [value - reach_out, value + reach_out] if reach_out is not None else None,
            "interval_method": f"90 %, 1.645 standard deviations over {len(drawn)} bootstrap draws of {unit}, clusters "
            "held fixed: sampling alone, neither the clustering's error nor the envelope's bias",
            "method": "least squares of log size on log rank of the envelope over all n_clusters",
            "ranks": [first, int(min(last, len(curve)))],
            "n_tokens": n,
        },
        "identity_slope": {
            "value": slope(null, first, reach) if reach > first else None,
            "method": "the same fit to the frequencies of the target tokens",
            "ranks": [first, reach],
            "n_identities": len(null),
        },
        "power_law": power_law(sizes(chosen), seed=seed)
        | {"of_n_clusters": show, "method": "maximum likelihood of a discrete power law on cluster sizes"}
        | {"over_seeds": over_seeds([chosen, *again], seed=seed)}
        if len(chosen)
        else None,
    }
