"""Slopes of simulations that come with the project, as `quanta.calibration.shipped` has their summaries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from quanta.calibration import naive_slopes, shipped
from quanta.clustering import assignment
from quanta.storage import code

# k-means finds another optimum where last digits differ: slopes of one simulation under other seeds deviate by 0.05
ALIKE_SLOPES = 0.3


def of_slopes(
    n_tokens: int, n_clusters: Sequence[int], shares: tuple[float, float], how: assignment.Assignment, *, seed: int
) -> dict[str, Any]:
    """What slopes of simulations are made from."""
    return {
        "code": code.digest_of("calibration.naive_slopes"),
        "seed": seed,
        "n_tokens": n_tokens,
        "n_clusters": list(n_clusters),
        "shares": list(shares),
        "how": how.as_json(),
    }


def slopes(
    numbers: Sequence[int],
    n_tokens: int,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    how: assignment.Assignment,
    *,
    seed: int,
    folder: Path = shipped.FOLDER,
) -> pd.DataFrame:
    """`naive.slopes`, from the shipped table as far as it reaches; one of them is checked."""
    known = shipped.read("slopes", of_slopes(n_tokens, n_clusters, shares, how, seed=seed), folder)

    def make(some: Sequence[int]) -> pd.DataFrame:
        return naive_slopes.slopes(some, n_tokens, n_clusters, shares, how, seed=seed)

    return shipped.taken(
        known,
        numbers,
        numbers,
        1,
        make,
        {"alpha": shipped.ALIKE, "strength": shipped.ALIKE, "true_slope": shipped.ALIKE},
        {"slope": ALIKE_SLOPES},
    )
