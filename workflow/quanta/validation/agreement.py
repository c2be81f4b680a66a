"""How far two groupings of the same tokens agree, beyond what chance gives."""

from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float
from quanta.clustering import assignment, main_line, membership
from quanta.streams import Purpose, generator


def agreement(
    left: Float[Array, "token token"],
    right: Float[Array, "token token"],
    n_clusters: int,
    how: assignment.Assignment = assignment.MAIN,
    *,
    seed: int,
) -> dict[str, Any]:
    """How far two affinities agree: rank correlation over pairs, adjusted Rand index of their clusters, neighbours shared.

    `neighbours_by_chance` is what `neighbours_shared`, of ten, would be for unrelated affinities.
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import adjusted_rand_score

    n = len(left)
    upper = np.triu_indices(n, 1)
    chosen = generator(seed, Purpose.AGREEMENT_PAIRS).integers(0, len(upper[0]), min(len(upper[0]), 200_000))
    pairs = upper[0][chosen], upper[1][chosen]
    labels = [main_line.cluster_like_data(matrix, [n_clusters], how, seed=seed)[n_clusters] for matrix in (left, right)]
    near = [np.argpartition(-(np.asarray(m) - 3 * np.eye(n)), 10, axis=1)[:, :10] for m in (left, right)]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]
    return {
        "rank_correlation": float(spearmanr(np.asarray(left)[pairs], np.asarray(right)[pairs]).statistic),
        "adjusted_rand": float(adjusted_rand_score(*labels)),
        "n_clusters": n_clusters,
        "neighbours_shared": float(np.mean(shared)),
        "neighbours_by_chance": 100 / (n - 1),
    }


def of_labels(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Adjusted Rand index of two clusterings (n_clusters, token, label) of the same tokens, at each number that both have.

    Returns:
        n_clusters, adjusted_rand: 1 where they are the same, 0 on average by chance.
    """
    from sklearn.metrics import adjusted_rand_score

    both = sorted({int(k) for k in left["n_clusters"].unique()} & {int(k) for k in right["n_clusters"].unique()})
    found = [float(adjusted_rand_score(membership.at(left, k), membership.at(right, k))) for k in both]
    return pd.DataFrame({"n_clusters": both, "adjusted_rand": found})
