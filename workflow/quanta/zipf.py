"""Rank-frequency law of clusters: sizes by rank for every number of clusters, their envelope, its slope."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from quanta.errors import QuantaError
from quanta.shapes import Array, Float, Int

ENVELOPE = 0  # n_clusters of the envelope in the table


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


def bootstrap_slopes(labels: pd.DataFrame, first: int, last: int, *, draws: int, seed: int) -> Float[Array, " draw"]:
    """Slopes of the envelope when tokens are drawn again with replacement, their clusters held fixed.

    This is the sampling of tokens alone: the clustering's own error is larger and not in it.
    """
    wide = labels.pivot(index="token", columns="n_clusters", values="label").to_numpy()
    rng = np.random.default_rng([seed, 4])
    slopes = []
    for _ in range(draws):
        drawn = wide[rng.integers(0, len(wide), len(wide))]
        curve = envelope([sizes(column) for column in drawn.T])
        if (curve > 0).sum() > first:
            slopes.append(slope(curve, first, last))
    return np.array(slopes)


def fit_envelope(
    labels: pd.DataFrame, identity: Array, shares: tuple[float, float], *, draws: int, seed: int
) -> dict[str, Any]:
    """The paper's fit (section 5.2) with its interval, and the same fit to the target tokens' own frequencies.

    `identity` (token,) is what each token is: grouping by it alone is the null model that a slope must be held against.
    """
    n = len(identity)
    first, last = rank_range(n, shares)
    curve = envelope([sizes(part["label"].to_numpy()) for _, part in labels.groupby("n_clusters")])
    drawn = bootstrap_slopes(labels, first, last, draws=draws, seed=seed)
    value = slope(curve, first, last)
    # the draws' quantiles would be off centre: a maximum over resampled sizes is larger than the maximum itself
    reach_out = 1.645 * float(np.std(drawn, ddof=1)) if len(drawn) > 1 else None
    null = sizes(identity)
    reach = int(min(last, len(null)))
    return {
        "envelope_slope": {
            "value": value,
            "interval": [value - reach_out, value + reach_out] if reach_out is not None else None,
            "interval_method": f"90 %, 1.645 standard deviations over {len(drawn)} bootstrap draws of tokens, clusters "
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
    }
