"""The toy of the paper's appendix: Zipf clusters with noise, of known exponent."""

import numpy as np

from quanta.calibration import planted
from quanta.clustering import assignment, main_line
from quanta.rank_frequency import collisions, zipf
from quanta.streams import Purpose, generator


def toy_row(
    n_tokens: int, exponent: float, noise: float, how: assignment.Assignment = assignment.MAIN, *, seed: int
) -> dict[str, float]:
    """One toy of the paper's appendix (`planted.toy`): slopes over ranks 0.01 N to 0.1 N, and α by collisions of pairs.

    Clusters are N/5 in 100 dimensions. The threshold is half of the cosine within a cluster, 1 / (1 + noise²).
    """
    rng = generator(seed, Purpose.TOY, round(exponent * 1000), round(noise * 1000))
    n_clusters = n_tokens // 5
    x = planted.toy(n_tokens, n_clusters, 100, exponent, noise, rng)
    cosines = np.clip(x.features @ x.features.T, -1, 1)
    cosines = (cosines + cosines.T) / 2
    shares = (0.01, 0.1)
    ks = sorted({max(n_tokens * share // 1000, 2) for share in (5, 10, 20, 30, 50, 70, 100, 150, 200)})
    found = main_line.cluster_like_data(cosines, ks, how, seed=seed)
    threshold = 0.5 / (1 + noise**2)
    [at] = collisions.resolution_curve(cosines, np.array([threshold]), float(n_clusters))
    return {
        "exponent": exponent,
        "noise": noise,
        "slope": zipf.envelope_slope(found, n_tokens, shares),
        "true_slope": zipf.slope(zipf.sizes(x.quantum), *zipf.rank_range(n_tokens, shares)),
        "alpha_collisions": at["alpha"],
        "alpha_low": at["low"],
        "alpha_high": at["high"],
    }
