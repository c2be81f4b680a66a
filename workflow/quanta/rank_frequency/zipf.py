"""Rank-frequency law of clusters: sizes by rank for every number of clusters, their envelope, its slope."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from quanta.arrays import ERRORS_90, Array, Float, Int, log_log_fit
from quanta.corpus import resampling
from quanta.errors import QuantaError
from quanta.rank_frequency import size_law
from quanta.streams import Purpose, generator

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
    return float(log_log_fit(ranks, curve[first - 1 : last])[0])


def over_seeds(labels: Sequence[Array], *, seed: int) -> dict[str, Any]:
    """What `size_law.fit_sizes` says of clusterings that differ in the seed of k-means alone: each one's γ, α and p-value.

    One clustering's p-value is no verdict: it hangs on the seed more than on anything else.

    Returns:
        n_seeds, and for gamma, alpha and p_value the values, a seed each (None where there is no fit).
    """
    fits = [size_law.fit_sizes(sizes(own), seed=seed) for own in labels]
    return {"n_seeds": len(fits)} | {name: [fit[name] for fit in fits] for name in ("gamma", "alpha", "p_value")}


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
    weights = resampling.weights(number, draws, generator(seed, Purpose.CLUSTER_LAW_TEXTS))
    top = np.zeros((draws, int(wide.max()) + 1), dtype=np.int64)
    for column in wide.T:
        tokens = csr_matrix((np.ones(len(own), dtype=np.int64), (own, column)), shape=(number, int(column.max()) + 1))
        found = np.sort(np.asarray(weights @ tokens), axis=1)[:, ::-1]
        np.maximum(top[:, : found.shape[1]], found, out=top[:, : found.shape[1]])
    return np.array([slope(curve, first, last) for curve in top if (curve > 0).sum() > first])


def fit_sizes_by_rank(
    labels: Int[Array, " token"], *, draws: int, seed: int, groups: Int[Array, " token"]
) -> dict[str, Any]:
    """Slope of one clustering's sizes over all its ranks, with a 90 % interval by texts (`groups`), clusters held fixed.

    Tokens of label −1 are in no cluster. With fewer than three clusters there is no slope.

    Returns:
        clusters, tokens, value and interval (None where there is none).
    """
    kept = labels >= 0
    own = np.unique(labels[kept], return_inverse=True)[1]
    curve = sizes(own) if len(own) else np.empty(0, dtype=np.int64)
    found: dict[str, Any] = {"clusters": len(curve), "tokens": int(kept.sum()), "value": None, "interval": None}
    if len(curve) < 3:
        return found
    table = pd.DataFrame({"n_clusters": len(curve), "token": np.arange(len(own)), "label": own})
    drawn = bootstrap_slopes(table, 1, len(curve), draws=draws, seed=seed, groups=groups[kept])
    value = slope(curve, 1, len(curve))
    reach = ERRORS_90 * float(np.std(drawn, ddof=1)) if len(drawn) > 1 else None
    return found | {"value": value, "interval": None if reach is None else [value - reach, value + reach]}


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
    reach_out = ERRORS_90 * float(np.std(drawn, ddof=1)) if len(drawn) > 1 else None
    unit = "tokens" if groups is None else resampling.UNIT
    null = sizes(identity)
    reach = int(min(last, len(null)))
    chosen = labels[labels["n_clusters"] == show]["label"].to_numpy()
    return {
        "envelope_slope": {
            "value": value,
            "interval": [value - reach_out, value + reach_out] if reach_out is not None else None,
            "interval_method": f"90 %, 1.645 standard deviations over {len(drawn)} bootstrap draws of {unit}, with "
            "clusters held fixed; it covers sampling only, without the errors of clustering and envelope",
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
        "power_law": size_law.fit_sizes(sizes(chosen), seed=seed)
        | {"of_n_clusters": show, "method": "maximum likelihood of a discrete power law on cluster sizes"}
        | {"over_seeds": over_seeds([chosen, *again], seed=seed)}
        if len(chosen)
        else None,
    }


def sampled_zipf(alpha: float, n_tokens: int, *, draws: int, seed: int) -> Float[Array, "quantile rank"]:
    """Sizes by rank that `n_tokens` tokens have if each draws its quantum from p_k ∝ k^−(α+1), without any clustering.

    What the theory predicts at a finite number of tokens: ranks where a quantum has a token or two lie flatter than the
    law itself. Rows are the 5 %, 50 % and 95 % quantiles over draws; α must be above zero.
    """
    rng = generator(seed, Purpose.SLOPE_BOOTSTRAP)
    curves = np.zeros((draws, n_tokens))
    for curve in curves:
        _, counts = np.unique(rng.zipf(alpha + 1, n_tokens), return_counts=True)
        curve[: len(counts)] = np.sort(counts)[::-1]
    return np.asarray(np.quantile(curves, [0.05, 0.5, 0.95], axis=0))


def envelope_slope(labels: Mapping[int, Array], n_tokens: int, shares: tuple[float, float]) -> float:
    """The paper's fit to labels for every k; NaN where the ranks hold fewer than two clusters."""
    curve = envelope([sizes(own) for own in labels.values()])
    try:
        return slope(curve, *rank_range(n_tokens, shares))
    except QuantaError:
        return float("nan")
