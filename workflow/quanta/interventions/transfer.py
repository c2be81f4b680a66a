"""Transfer: what each cluster loses when another one is taken away. Which clusters are one unit, which hold none, who moves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from quanta.arrays import Array, Bool, Float, Int
from quanta.clustering import membership
from quanta.interventions import groups, halves

JOINED = 0.5  # of what a half takes from its own cluster, from which on two clusters are one unit
JOINS, LEAVES = 0.5, 0.1  # shares of the first half's loss: a token outside that joins, a token inside that leaves
MATRIX = ("grouping", "source", "target", "share", "n", "cosine")
UNITS = ("grouping", "group", "own", "unit", "most", "most_share")
NEAREST = 3  # clusters by mean cosine that count as near
MOVES = ("grouping", "group", "token", "of", "moves", "share")


def cosines_between(
    cosines: Float[Array, "held held"], labels: Int[Array, " held"], number: int
) -> Float[Array, "cluster cluster"]:
    """Mean cosine between the tokens of each two clusters; on the diagonal of pairs within. NaN where there are no pairs."""
    one = membership.one_hot(labels, number)
    sums = np.asarray((one @ (one @ np.asarray(cosines, dtype=np.float64)).T).T)
    size = np.bincount(labels, minlength=number).astype(float)
    sums[np.diag_indices(number)] -= size
    pairs = np.outer(size, size) - np.diag(size)
    return np.asarray(np.divide(sums, pairs, out=np.full_like(sums, np.nan), where=pairs > 0))


def nearest(
    between: Float[Array, "cluster cluster"], label: Int[Array, " token"], chosen: Sequence[int]
) -> dict[int, Bool[Array, " token"]]:
    """Of each chosen cluster, which tokens are of the `NEAREST` other chosen clusters by mean cosine."""
    found, names = {}, np.asarray(chosen, dtype=np.int64)
    for own in names.tolist():
        others = names[names != own]
        close = others[np.argsort(-between[own, others], kind="stable")[:NEAREST]]
        found[own] = np.isin(label, close)
    return found


def matrix(
    rows: pd.DataFrame,
    nats: Mapping[tuple[str, int], float],
    labels: Mapping[str, Int[Array, " token"]],
    between: Mapping[str, Float[Array, "cluster cluster"]],
) -> pd.DataFrame:
    """What taking half of one cluster takes from each cluster, as a share of what the half lost.

    `rows` are those of removals (`groups.ROWS`), `nats` what the first half of (grouping, cluster) lost where it lost what
    it should; `labels` and `between` (mean cosines) are by clustering. A cluster's own share is of its other half.

    Returns:
        columns grouping, source, target, share, n (tokens), cosine; only pairs of which a token was looked at.
    """
    rows = rows[(rows["halving"] == halves.DOCUMENTS) & (rows["step_share"] == 1) & (rows["token"] >= 0)]
    found = []
    for (grouping, source), own in rows.groupby(["grouping", "group"], sort=False):
        if grouping not in labels or (grouping, source) not in nats:
            continue
        label = labels[str(grouping)][own["token"]]
        inside = (own["role"] == groups.OTHER) | ((own["role"] == groups.PANEL) & (label != source))
        by_label = own[inside].groupby(label[inside])["change_nats"].agg(["mean", "size"])
        for target, (mean, size) in zip(by_label.index.tolist(), by_label.to_numpy().tolist(), strict=True):
            near = between[str(grouping)][source, target]
            found.append((grouping, source, target, mean / nats[str(grouping), int(source)], int(size), near))
    return pd.DataFrame(found, columns=pd.Index(MATRIX))


def wide(matrix: pd.DataFrame, column: str = "share") -> pd.DataFrame:
    """One clustering's matrix, a row per cluster that was taken away; the columns are the same clusters. NaN where unknown."""
    table = matrix.pivot(index="source", columns="target", values=column)
    return table.reindex(columns=table.index)


def units(matrix: pd.DataFrame) -> pd.DataFrame:
    """Which clusters of one clustering are one unit: each takes from the other at least half of what it takes from its own other half.

    A cluster that takes less than `LEAVES` from its own other half is one with no other.

    Returns:
        columns grouping, group, own (share of its own other half), unit (the smallest group that it is one with), most, most_share (the
        other cluster that loses most with it).
    """
    shares = wide(matrix)
    values, own = shares.to_numpy(), np.diag(shares.to_numpy()).copy()
    with np.errstate(invalid="ignore"):
        pulls = (values >= JOINED * own[:, None]) & (own[:, None] >= LEAVES)
    one = pulls & pulls.T
    np.fill_diagonal(one, val=True)
    unit = np.arange(len(own))
    for _ in range(len(own)):  # the smallest number spreads along the pairs
        fresh = np.array([unit[row].min() for row in one])
        if (fresh == unit).all():
            break
        unit = fresh
    others = values.copy()
    np.fill_diagonal(others, -np.inf)
    others = np.where(np.isnan(others), -np.inf, others)
    names = shares.index.to_numpy()
    most = others.argmax(axis=1) if len(own) else np.empty(0, dtype=int)
    top = others[np.arange(len(own)), most]
    known = np.isfinite(top)
    return pd.DataFrame(
        {
            "grouping": matrix["grouping"].iloc[0],
            "group": names,
            "own": own,
            "unit": names[unit],
            "most": np.where(known, names[most], -1),
            "most_share": np.where(known, top, np.nan),
        }
    )


def moves(
    rows: pd.DataFrame, nats: Mapping[tuple[str, int], float], labels: Mapping[str, Int[Array, " token"]]
) -> pd.DataFrame:
    """Tokens that join a cluster by what they lose with it, and tokens of its other half that leave it.

    A token outside joins where it loses `JOINS` of what the first half lost, one inside leaves where it loses less than
    `LEAVES` of that.

    Returns:
        columns grouping, group, token, of (the cluster that has it), moves (`joins` or `leaves`), share.
    """
    rows = rows[(rows["halving"] == halves.DOCUMENTS) & (rows["step_share"] == 1) & (rows["token"] >= 0)]
    found = []
    for (grouping, group), own in rows.groupby(["grouping", "group"], sort=False):
        if grouping not in labels or (grouping, group) not in nats:
            continue
        own = own.drop_duplicates("token")
        share = own["change_nats"].to_numpy() / nats[str(grouping), int(group)]
        label, role = labels[str(grouping)][own["token"]], own["role"].to_numpy()
        leaves = (role == groups.OTHER) & (share < LEAVES)
        joins = (role != groups.FIRST) & (label != group) & (share >= JOINS)
        for word, those in (("leaves", leaves), ("joins", joins)):
            token = own["token"].to_numpy()
            found += [
                (grouping, group, int(token[i]), int(label[i]), word, float(share[i]))
                for i in np.flatnonzero(those).tolist()
            ]
    return pd.DataFrame(found, columns=pd.Index(MOVES))


FOUND, ONE_UNIT, MOVED, REMOVED_ALONE = (
    "clusters as found",
    "clusters of one unit joined",
    "tokens moved as well",
    "only those that are removed alone",
)


def settled(
    label: Int[Array, " token"], units: pd.DataFrame, moves: pd.DataFrame, alone: Sequence[int]
) -> dict[str, Int[Array, " token"]]:
    """What transfer makes of one clustering, each step from the one before; −1 is a token that is in no cluster then.

    First only clusters that were taken away count (`units`). Then clusters of one unit are one. Then tokens join the cluster with
    which they lose most, and leave their own (`moves`). Last, clusters of which none in the unit is removed `alone` are left out.
    Only tokens that were looked at can move.
    """
    known = units["group"].to_numpy(dtype=np.int64)
    found = {FOUND: np.where(np.isin(label, known), label, -1)}
    unit = dict(zip(known.tolist(), units["unit"].tolist(), strict=True))
    found[ONE_UNIT] = _renamed(found[FOUND], unit)
    moved = found[FOUND].copy()
    leaving = moves[moves["moves"] == "leaves"]
    moved[leaving["token"]] = -1
    joining = moves[moves["moves"] == "joins"].sort_values("share", kind="stable")
    moved[joining["token"]] = joining["group"]  # the largest share comes last
    found[MOVED] = _renamed(moved, unit)
    kept = {unit[group] for group in alone}
    found[REMOVED_ALONE] = np.where(np.isin(found[MOVED], list(kept)), found[MOVED], -1)
    return found


def _renamed(label: Int[Array, " token"], names: Mapping[int, int]) -> Int[Array, " token"]:
    return np.array([names.get(int(own), -1) for own in label], dtype=np.int64)
