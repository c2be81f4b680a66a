"""What the paper's fit makes of simulations whose exponent is known: they are clustered by the functions of the main line."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from quanta import arrays
from quanta.calibration import planted, simulations
from quanta.clustering import assignment, main_line
from quanta.errors import QuantaError
from quanta.rank_frequency import zipf
from quanta.streams import Purpose, generator


def spread_over_alpha(table: pd.DataFrame, number: int) -> list[int]:
    """Numbers of `number` of the simulations, evenly spread over the ranks of their planted α."""
    order = table.sort_values("planted_alpha", kind="stable")["simulation"].to_numpy()
    return [int(i) for i in order[arrays.evenly(len(order), number)]]


def slopes(
    numbers: Sequence[int],
    n_tokens: int,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    how: assignment.Assignment = assignment.MAIN,
    *,
    seed: int,
    dimension: int = simulations.DIMENSION,
) -> pd.DataFrame:
    """The paper's fit on simulations, by number as in `simulations.simulate`: what the envelope's slope makes of a known α.

    Returns:
        simulation, alpha, slope (NaN where the ranks hold no clusters), true_slope (the same fit to the true sizes), strength.
    """
    first, last = zipf.rank_range(n_tokens, shares)
    rows = []
    for number in numbers:
        rng = generator(seed, Purpose.SIMULATION, number)
        settings = planted.from_prior(n_tokens, rng, dimension)
        x = planted.draw(settings, rng)
        cosines = np.clip(x.features @ x.features.T, -1, 1)
        found = main_line.cluster_like_data((cosines + cosines.T) / 2, n_clusters, how, seed=seed)
        curves = {
            "slope": zipf.envelope([zipf.sizes(own) for own in found.values()]),
            "true_slope": zipf.sizes(x.quantum),
        }
        row = {"simulation": number, "alpha": settings.alpha, "strength": settings.strength}
        for name, curve in curves.items():
            try:
                row[name] = zipf.slope(curve, first, last)
            except QuantaError:
                row[name] = float("nan")
        rows.append(row)
    return pd.DataFrame(rows)
