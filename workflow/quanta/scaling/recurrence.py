"""Recurrence over seeds: which drops of single tokens' losses between sizes recur where the same sizes are trained again.

The paper calls a token monogenic by the curve of one training per size. Another seed of weights and data order draws that
curve again; a drop that does not recur was no skill of that size.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import ENDS_90, Array, Bool, Float, Int
from quanta.corpus import resampling
from quanta.scaling import single_tokens
from quanta.streams import Purpose, generator

SHARES = (0.5, 1.0, 2.0, 3.0, 4.0)  # thresholds of a drop, in units of the one that is configured
WIDTH, LIMIT = 0.25, 8.0  # bins of drops in nats, the outermost hold what lies beyond
ANOTHER, AVERAGE, OTHERS = "another seed", "average of all seeds", "average of the other seeds"


def marks(
    curves: Float[Array, "scale token"], *, above: float, below: float, drop: float, share: float
) -> dict[tuple[str, float], Bool[Array, "step token"]]:
    """What one set of curves shows, by (kind, threshold in nats).

    `drop`: falls by more than the threshold between neighbouring scales, a row for each pair of them. The other kinds have one
    row: `sharp`, a fall of at least `drop` nats in all that is so (`scaling.sharp`); monogenic and polygenic (`scaling`).
    """
    falls = -np.diff(np.asarray(curves, dtype=np.float64), axis=0)
    total, largest = single_tokens.largest_drop_share(curves)
    found = {("drop", factor * drop): falls > factor * drop for factor in SHARES}
    found["sharp", drop] = ((total >= drop) & single_tokens.sharp(largest))[None]
    found["monogenic", above] = single_tokens.monogenic(curves, above, below)[None]
    found["polygenic", drop] = single_tokens.polygenic(curves, drop, share)[None]
    return found


def recurrence(
    pairs: Sequence[tuple[Bool[Array, "step token"], Bool[Array, "step token"]]],
    groups: Int[Array, " token"],
    *,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Of what is marked in the first of each pair, the share that the second marks too, over all pairs together.

    `groups` are the texts that the tokens are of (`resampling`).

    Returns:
        n and n_other (marks of the first and of the second, means over pairs), share, low and high (90 %, bootstrap over
        groups), expected: the share if the two were independent at each step, that is the second's own rate. NaN without a mark.
    """
    steps = len(pairs[0][0])
    own = resampling.numbered(groups, pairs[0][0].shape[1])
    number = int(own.max(initial=0)) + 1
    marked, both = np.zeros(number), np.zeros(number)
    by_chance = others = 0.0
    for first, second in pairs:
        marked += np.bincount(own, first.sum(axis=0), minlength=number)
        both += np.bincount(own, (first & second).sum(axis=0), minlength=number)
        by_chance += sum(first[i].sum() * second[i].mean() for i in range(steps))
        others += second.sum()
    total = marked.sum()
    result = {"n": total / len(pairs), "n_other": others / len(pairs)}
    if not total:
        return result | dict.fromkeys(("share", "low", "high", "expected"), np.nan)
    weights = resampling.weights(number, draws, generator(seed, Purpose.RECURRENCE_TEXTS))
    below = weights @ marked
    drawn = (weights @ both)[below > 0] / below[below > 0]
    low, high = np.quantile(drawn, ENDS_90) if len(drawn) else (np.nan, np.nan)
    return result | {
        "share": both.sum() / total, "low": float(low), "high": float(high), "expected": by_chance / total,
    }  # fmt: skip


def compare(
    curves: Float[Array, "seed scale token"],
    names: Sequence[int],
    groups: Int[Array, " token"],
    *,
    above: float,
    below: float,
    drop: float,
    share: float,
    draws: int,
    seed: int,
) -> pd.DataFrame:
    """Every kind of mark of one seed against the other seeds and against losses averaged over seeds.

    `names` are the seeds. Rows: the first seed in each other one, every seed in every other one (`another seed`), every seed in
    the average of all, and in the average of the others, which alone owes nothing to its own luck.

    Returns:
        columns kind, threshold_nats, of, recurs_in and those of `recurrence`.
    """
    limits = {"above": above, "below": below, "drop": drop, "share": share}
    own = [marks(one, **limits) for one in curves]
    average = marks(curves.mean(axis=0), **limits)
    n = len(curves)
    others = [marks(np.delete(curves, i, axis=0).mean(axis=0), **limits) for i in range(n)]
    rows = []
    for kind in average:
        wanted = [(f"seed {names[0]}", f"seed {names[j]}", [(own[0][kind], own[j][kind])]) for j in range(1, n)]
        each = [(own[i][kind], own[j][kind]) for i in range(n) for j in range(n) if i != j]
        wanted.append(("each seed", ANOTHER, each))
        wanted.append(("each seed", AVERAGE, [(one[kind], average[kind]) for one in own]))
        wanted.append(("each seed", OTHERS, [(own[i][kind], others[i][kind]) for i in range(n)]))
        for of, where, pairs in wanted:
            found = recurrence(pairs, groups, draws=draws, seed=seed)
            rows.append({"kind": kind[0], "threshold_nats": kind[1], "of": of, "recurs_in": where, **found})
    return pd.DataFrame(rows)


def drops_table(curves: Float[Array, "seed scale token"]) -> pd.DataFrame:
    """One seed's drop against another's, over all ordered pairs of seeds, counted in bins of 0.25 nats.

    Returns:
        columns step (0 from the smallest scale to the next), drop_nats, other_nats (centres of bins), n; bins with n > 0.
    """
    edges = np.arange(-LIMIT, LIMIT + WIDTH / 2, WIDTH)
    falls = np.clip(-np.diff(np.asarray(curves, dtype=np.float64), axis=1), -LIMIT + 1e-9, LIMIT - 1e-9)
    centres = (edges[:-1] + edges[1:]) / 2
    tables = []
    for step in range(falls.shape[1]):
        counts = np.zeros((len(centres), len(centres)), dtype=np.int64)
        for i in range(len(falls)):
            for j in range(len(falls)):
                if i != j:
                    counts += np.histogram2d(falls[i, step], falls[j, step], bins=(edges, edges))[0].astype(np.int64)
        one, other = np.nonzero(counts)
        tables.append(
            pd.DataFrame(
                {"step": step, "drop_nats": centres[one], "other_nats": centres[other], "n": counts[one, other]}
            )
        )
    return pd.concat(tables, ignore_index=True)


def correlation(curves: Float[Array, "seed scale token"]) -> list[float | None]:
    """Pearson's correlation of drops between two seeds, mean over pairs of seeds, for each step from one scale to the next."""
    falls = -np.diff(np.asarray(curves, dtype=np.float64), axis=1)
    found: list[float | None] = []
    for step in range(falls.shape[1]):
        matrix = np.atleast_2d(np.corrcoef(falls[:, step]))
        value = float(matrix[np.triu_indices(len(matrix), 1)].mean())
        found.append(value if np.isfinite(value) else None)
    return found


def between_seeds(mean_loss: pd.DataFrame, family: pd.DataFrame, final_step: int) -> pd.DataFrame:
    """Mean and standard deviation (nats, of the sample) of the mean loss over the seeds of each size.

    Columns non_embedding_parameters, n_seeds, mean_loss_nats, standard_deviation_nats (NaN for a single seed).
    """
    final = family[family["step"] == final_step].merge(
        mean_loss[["model", "step", "mean_loss_nats"]], on=["model", "step"], validate="one_to_one"
    )
    groups = final.groupby("non_embedding_parameters")
    table = (
        groups["mean_loss_nats"].agg(["mean", "std"]).set_axis(["mean_loss_nats", "standard_deviation_nats"], axis=1)
    )
    table.insert(0, "n_seeds", groups["seed"].nunique())
    return table.reset_index()
