"""A soft alternative to clusters: non-negative factors of the affinity, so that a token may use several quanta.

The cosines, negative ones as zero, are written as W H with W, H ≥ 0 (Lee and Seung 1999); a token's row of W, divided by its sum, is
how much it belongs to each factor. A factor's size is the sum of these shares, in tokens, beside a hard cluster's count.
"""

import warnings

import numpy as np
import pandas as pd
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from quanta.arrays import Array, Float, Int
from quanta.errors import QuantaError
from quanta.rank_frequency import zipf
from quanta.streams import Purpose, integer

MOST_STEPS = 60  # after that, sizes change in the third digit at most


def memberships(cosines: Float[Array, "token token"], n_factors: int) -> Float[Array, "token factor"]:
    """Share of each token in each factor; rows sum to 1. Without randomness: factors start from singular vectors.

    Raises:
        QuantaError: `n_factors` is not between 1 and N − 1, or a token has no positive cosine but its own.
    """
    n = len(cosines)
    if not 1 <= n_factors < n:
        raise QuantaError("soft clusters", f"{n_factors} factors of {n} tokens", "1 to N − 1", "lower qdg.show")
    positive = np.maximum(np.asarray(cosines, dtype=np.float64), 0)
    model = NMF(n_factors, init="nndsvda", max_iter=MOST_STEPS, tol=1e-3, random_state=integer(0, Purpose.SOFT_FACTORS))
    with warnings.catch_warnings():
        # the number of steps is bounded on purpose
        warnings.simplefilter("ignore", ConvergenceWarning)
        weight = model.fit_transform(positive) * np.linalg.norm(model.components_, axis=1)
    total = weight.sum(axis=1, keepdims=True)
    if not (total > 0).all():
        token = int(np.flatnonzero(total[:, 0] <= 0)[0])
        raise QuantaError("soft clusters", f"token {token} belongs to no factor", "positive cosines", "drop that token")
    return np.asarray(weight / total)


def rank_frequency(soft: Float[Array, "token factor"], hard: Int[Array, " token"]) -> pd.DataFrame:
    """Sizes by rank, soft (the sum of shares, tokens) beside hard (tokens), columns rank, soft_size, hard_size."""
    sizes, counts = np.sort(soft.sum(axis=0))[::-1], zipf.sizes(hard)
    length = max(len(sizes), len(counts))
    return pd.DataFrame(
        {
            "rank": np.arange(1, length + 1),
            "soft_size": np.pad(sizes, (0, length - len(sizes))),
            "hard_size": np.pad(counts, (0, length - len(counts))),
        }
    )
