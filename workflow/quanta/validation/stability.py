"""Stability of clusters under resampling and seeds.

All scores lie in [0, 1]. Stability of a cluster is the Jaccard index with its best match in a clustering made anew (Hennig
2007), over halves of the tokens drawn without replacement: copies of a token would be each other's nearest neighbours
and make any cluster look stable.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from quanta.arrays import Array, Float, Int
from quanta.clustering import assignment, main_line, membership
from quanta.corpus import resampling
from quanta.progress import Progress
from quanta.rank_frequency import zipf
from quanta.streams import Purpose, generator

CHANCE_DRAWS = 20  # permutations that say what score chance gives
FEW_ROUNDS = 2  # of breathing on halves, whose spread is asked for and not their best clustering


def resample(
    cluster: Callable[..., dict[int, Array]],
    vectors: Float[Array, "token k"],
    labels: Mapping[int, Array],
    shares: tuple[float, float],
    how: assignment.Assignment = assignment.MAIN,
    *,
    draws: int,
    seed: int,
    groups: Int[Array, " token"] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cluster halves of the tokens anew and hold them against `labels` (n_clusters → labels of all tokens).

    `cluster(tokens, n_clusters, seed=, rounds=, whole=)` gives labels of a half for each k, halved with N, as the main line does.
    Odd draws take another seed of the assignment `how` on the `vectors` of all tokens instead; without seeds they are the labels again. The halves are the first of `halves`,
    of whole `groups` where these are given.

    Returns:
        a row a cluster: n_clusters, label, stability_halves, stability_seeds (means of the best Jaccard index, NaN where
        no half holds two of its tokens); and a row a draw: draw, kind (half, seed), slope of the envelope, ari at the
        largest k.
    """
    from sklearn.metrics import adjusted_rand_score  # more than a second, which what else is here need not wait

    n, ks = len(vectors), sorted(labels)
    chosen_halves = halves(n, (draws + 1) // 2, seed=seed, groups=groups)
    scores = {k: {"half": _Mean(labels[k].max() + 1), "seed": _Mean(labels[k].max() + 1)} for k in ks}
    progress = Progress("stability", draws, "draws")
    slopes = []
    for draw in range(draws):
        kind = "half" if draw % 2 == 0 else "seed"
        if kind == "half":
            chosen = chosen_halves[draw // 2]
            halved = {k: max(k // 2, 2) for k in ks}
            found = cluster(chosen, sorted(set(halved.values())), seed=seed + draw, rounds=FEW_ROUNDS, whole=n)
        else:
            chosen, halved = np.arange(n), {k: k for k in ks}
            found = dict(labels) if how.seedless else how(vectors, ks, seed=seed + 1000 + draw)
        for k in ks:
            whole = labels[k][chosen]
            # clusters may be absent from a half: their rows are all zero and not counted
            overlap = membership.jaccard(whole, found[halved[k]])
            present = np.bincount(whole, minlength=len(overlap)) > 1
            scores[k][kind].add(np.flatnonzero(present), overlap[present].max(axis=1))
        slopes.append(
            {
                "draw": draw,
                "kind": kind,
                "slope": zipf.envelope_slope(found, len(chosen), shares),
                "ari": float(adjusted_rand_score(labels[ks[-1]][chosen], found[halved[ks[-1]]])),
            }
        )
        progress.advance()
    progress.done()
    table = pd.concat(
        [
            pd.DataFrame(
                {
                    "n_clusters": k,
                    "label": np.arange(len(scores[k]["half"].total)),
                    "stability_halves": scores[k]["half"].value(),
                    "stability_seeds": scores[k]["seed"].value(),
                }
            )
            for k in ks
        ],
        ignore_index=True,
    )
    return table, pd.DataFrame(slopes)


class _Mean:
    def __init__(self, number: int) -> None:
        self.total, self.count = np.zeros(number), np.zeros(number)

    def add(self, where: Array, values: Array) -> None:
        self.total[where] += values
        self.count[where] += 1

    def value(self) -> Array:
        return np.asarray(np.divide(self.total, self.count, out=np.full(len(self.total), np.nan), where=self.count > 0))


def halves(n: int, number: int, *, seed: int, groups: Int[Array, " token"] | None = None) -> list[Int[Array, " half"]]:
    """Halves of N tokens, drawn without replacement: the same for all that is made of N tokens, which makes pairs of them.

    By whole `groups`, the texts that tokens are of (`resampling.half`): then a half is as large as its texts make it.
    """
    rng = generator(seed, Purpose.HALVES)
    own = resampling.numbered(groups, n)
    return [resampling.half(own, rng) for _ in range(number)]


def half_slopes(
    cosines: Array,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    how: assignment.Assignment = assignment.MAIN,
    *,
    draws: int,
    seed: int,
    groups: Int[Array, " token"] | None = None,
) -> Float[Array, " draw"]:
    """Slopes of the envelope on the first of `halves`, k halved with N, as `resample` has them; NaN where there is none."""
    n, cluster = len(cosines), main_line.of_cosines(cosines, how)
    ks = sorted({max(k // 2, 2) for k in n_clusters})
    slopes = []
    for draw, chosen in enumerate(halves(n, draws, seed=seed, groups=groups)):
        found = cluster(chosen, ks, seed=seed + 2 * draw, rounds=FEW_ROUNDS, whole=n)
        slopes.append(zipf.envelope_slope(found, len(chosen), shares))
    return np.array(slopes)


def half_sample_interval(value: float, halves: Array, level: float = 0.9) -> dict[str, Any]:
    """Interval of an estimate from its values on halves of the tokens drawn without replacement.

    The variance over halves is the delete-half jackknife's estimate of the whole's variance (Shao and Wu 1989); few halves
    widen the interval by Student's law.
    """
    kept = np.asarray(halves)[np.isfinite(halves)]
    if len(kept) < 2:
        return {"value": value, "interval": None, "why_no_interval": f"{len(kept)} halves gave a value"}
    sd = float(np.std(kept, ddof=1))
    reach = sd * float(stdtrit(len(kept) - 1, (1 + level) / 2))
    return {"value": value, "interval": [value - reach, value + reach], "standard_deviation": sd}
