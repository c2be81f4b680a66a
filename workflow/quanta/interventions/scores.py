"""How much of what is taken from half a group its other half shares, and how little all else does; with intervals by tokens."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import ENDS_90, Array, Bool, Float, Int
from quanta.interventions import groups, halves
from quanta.interventions.groups import word
from quanta.streams import Purpose, generator

NEAR, ELSE = "near", "else"
SHARES = (groups.OTHER, groups.SAME_TARGET, groups.SAME_BIGRAM, NEAR, ELSE, groups.PLAIN)
AGAINST = (groups.SAME_TARGET, ELSE)  # of which the larger counts as what all else loses
ALONE = 0.25  # a group is removed alone where the low end of its score is above this
TIGHT = 0.2  # mean cosine within from which a cluster is called tight
DRAWS = 400
RULE = f"the other half's share is over {ALONE:g} above that of all else, at 90 %"
FIXED = ("grouping", "group", "halving")
# of `table`, beside those of the cases: there whether or not any step was reached
COLUMNS = (
    *(f"{share}{end}" for share in SHARES for end in ("", "_low", "_high", "_n")),
    *("score", "score_low", "score_high", "alone"),
)


def roles(
    rows: pd.DataFrame,
    case: groups.Case,
    target: Int[Array, " token"],
    bigram: Int[Array, " token"],
    near: Bool[Array, " token"] | None,
) -> Array:
    """What each row of one case counts as; an empty text where it counts as nothing.

    A token of the panel is `near` where `near` marks it, `else` where it shares no target with the first half; tokens of
    the group itself and those that are looked at elsewhere count as nothing.
    """
    found = rows["role"].to_numpy(dtype=object, copy=True)
    token = rows["token"].to_numpy()
    of_panel = found == groups.PANEL
    free = ~np.isin(token, case.group.tokens) & ~np.isin(target[token], target[case.first])
    free &= ~np.isin(bigram[token], bigram[case.first])
    close = np.zeros(len(rows), dtype=bool) if near is None else near[token]
    found[of_panel] = np.where(free, np.where(close, NEAR, ELSE), "")[of_panel]
    return np.asarray(found)


def shares(
    change: Mapping[str, Float[Array, " token"]], *, seed: int, index: tuple[int, int], draws: int = DRAWS
) -> dict[str, float]:
    """Mean change of each role as a share of the first half's, with 90 % intervals by resampling tokens of every role.

    `change` is in nats by role; `first` has to be there. The score is the other half's share less the larger of those of
    all else (`AGAINST`).

    Returns:
        {role}, {role}_low, {role}_high, {role}_n for each of `SHARES` (NaN where no token has the role), and score with its ends.
    """
    rng = generator(seed, Purpose.INTERVENTION_BOOTSTRAP, *index)

    def means(values: Array) -> Array:
        return np.asarray(values[rng.integers(0, len(values), size=(draws, len(values)))].mean(axis=1))

    first = np.asarray(change[groups.FIRST], dtype=float)
    of_first, drawn, found = means(first), dict[str, Array](), dict[str, float]()
    of_first = np.where(np.abs(of_first) < 1e-9, np.nan, of_first)
    for role in SHARES:
        values = np.asarray(change.get(role, ()), dtype=float)
        if len(values):
            drawn[role] = means(values) / of_first
            found[role] = float(values.mean() / first.mean())
        found |= _ends(role, drawn.get(role)) | {role: found.get(role, np.nan), f"{role}_n": len(values)}
    score, ends = np.nan, None
    if groups.OTHER in drawn:
        against = [role for role in AGAINST if role in drawn]
        most = max((found[role] for role in against), default=0.0)
        score = found[groups.OTHER] - most
        ends = drawn[groups.OTHER] - (np.max([drawn[role] for role in against], axis=0) if against else 0.0)
    return found | {"score": score} | _ends("score", ends)


def _ends(name: str, drawn: Array | None) -> dict[str, float]:
    low, high = (np.nan, np.nan) if drawn is None else np.nanquantile(drawn, ENDS_90)
    return {f"{name}_low": float(low), f"{name}_high": float(high)}


def table(
    cases_table: pd.DataFrame,
    rows: pd.DataFrame,
    cases: Mapping[tuple[str, int, str], groups.Case],
    target: Int[Array, " token"],
    bigram: Int[Array, " token"],
    near: Mapping[str, Mapping[int, Bool[Array, " token"]]],
    *,
    seed: int,
) -> pd.DataFrame:
    """A row per intervention: the columns of `groups.CASES`, shares and score (`shares`), and alone.

    `near` marks, by clustering and cluster, the tokens of the nearest clusters. `alone` is whether the low end of the score
    is above `ALONE`, empty where the step never took (or gave) what it should.
    """
    whole = rows[rows["step_share"] == 1]
    parts = dict(iter(whole.groupby(["kind", *FIXED], sort=False)))
    found = []
    for one in cases_table.to_dict(orient="records"):
        key = one["grouping"], one["group"], one["halving"]
        part = parts.get((one["kind"], *key))
        if part is None or not one["reached"]:
            found.append(one | {"alone": None})
            continue
        marks = near.get(one["grouping"], {}).get(one["group"])
        role = roles(part, cases[key], target, bigram, marks)
        change = {name: part["change_nats"].to_numpy()[role == name] for name in (groups.FIRST, *SHARES)}
        index = word(f"{one['kind']}, {one['grouping']}, {one['halving']}"), one["group"]
        own = shares(change, seed=seed, index=index)
        found.append(one | own | {"alone": bool(own["score_low"] > ALONE)})
    return pd.DataFrame(found).reindex(columns=[*cases_table.columns, *COLUMNS])


def medians(table: pd.DataFrame, cosine_within: Mapping[str, Mapping[int, float]], *, seed: int) -> pd.DataFrame:
    """Medians over groups of every share and of the score, with 90 % intervals by resampling groups.

    Clusters whose mean cosine within is above `TIGHT` are once more a subset of their own.

    Returns:
        columns kind, grouping, halving, subset (`all` or `tight`), share, groups, median, low, high.
    """
    found = []
    for (kind, grouping, halving), part in table[table["reached"].astype(bool)].groupby(
        ["kind", *FIXED[::2]], sort=False
    ):
        within = part["group"].map(dict(cosine_within.get(str(grouping), {})))
        for subset, chosen in (("all", part), ("tight", part[within > TIGHT])):
            rng = generator(seed, Purpose.INTERVENTION_BOOTSTRAP, word(f"{kind}, {grouping}, {halving}"), word(subset))
            for share in (*SHARES, "score"):
                values = chosen[share].dropna().to_numpy() if share in chosen else np.empty(0)
                if not len(values):
                    continue
                drawn = np.median(values[rng.integers(0, len(values), size=(DRAWS, len(values)))], axis=1)
                low, high = np.quantile(drawn, ENDS_90)
                found.append((kind, grouping, halving, subset, share, len(values), np.median(values), low, high))
    names = ("kind", "grouping", "halving", "subset", "share", "groups", "median", "low", "high")
    return pd.DataFrame(found, columns=pd.Index(names))


def counts(table: pd.DataFrame) -> list[dict[str, Any]]:
    """How many groups were removed alone, by kind, grouping and halving; groups without halves or step count as not alone.

    `of` is what the number is out of: all groups, and of halves without a common bigram the groups that have such halves.
    """
    found = []
    for (kind, grouping, halving), part in table.groupby(["kind", *FIXED[::2]], sort=False):
        found.append(
            {
                "kind": kind,
                "grouping": grouping,
                "meaning": groups.meaning(str(grouping)),
                "halving": halving,
                "of": len(part) if halving == halves.DOCUMENTS else int((part["first"] > 0).sum()),
                "groups": len(part),
                "halved": int((part["first"] > 0).sum()),
                "reached": int(part["reached"].sum()),
                "alone": int((part["alone"] == True).sum()),  # noqa: E712 (cells are true, false or empty)
            }
        )
    return found


def curves(rows: pd.DataFrame, cases_table: pd.DataFrame) -> pd.DataFrame:
    """Shares over the step: kind, grouping, group, halving, step_share, step, role, nats (mean change), share, n.

    `share` is of what the first half lost at the same step. Only groups of which several steps were measured.
    """
    step = cases_table.set_index(["kind", *FIXED])["step"]
    several = rows.groupby(["kind", *FIXED])["step_share"].transform("nunique") > 1
    mean = rows[several].groupby(["kind", *FIXED, "step_share", "role"], sort=False)["change_nats"]
    table = mean.agg(nats="mean", n="size").reset_index()
    first = table[table["role"] == groups.FIRST].set_index(["kind", *FIXED, "step_share"])["nats"]
    names = ["kind", *FIXED, "step_share"]
    table["share"] = table["nats"].to_numpy() / first.reindex(pd.MultiIndex.from_frame(table[names])).to_numpy()
    own = step.reindex(pd.MultiIndex.from_frame(table[["kind", *FIXED]])).to_numpy()
    table["step"] = own * table["step_share"].to_numpy()
    return table[[*names, "step", "role", "nats", "share", "n"]]


def of_clusters(table: pd.DataFrame, grouping: str = groups.CLUSTERS) -> pd.DataFrame:
    """What the page shows of each cluster.

    Returns:
        label, and with their ends removed (share of the other half), removed_alone (score), removed_by_noise (score), and
        removed_bare (share of the other half without a common bigram).
    """
    own = table[(table["grouping"] == grouping) & (table["kind"] == groups.REMOVAL)]
    whole = own[own["halving"] == halves.DOCUMENTS].set_index("group")
    bare = own[own["halving"] == halves.NO_BIGRAM].set_index("group")
    names = {"removed": groups.OTHER, "removed_alone": "score"}
    columns = {f"{new}{end}": whole[f"{old}{end}"] for new, old in names.items() for end in ("", "_low", "_high")}
    by_noise = table[(table["grouping"] == grouping) & (table["kind"] == groups.NOISE)].set_index("group")
    columns |= {f"removed_by_noise{end}": by_noise[f"score{end}"].reindex(whole.index) for end in ("", "_low", "_high")}
    columns |= {
        f"removed_bare{end}": bare[f"{groups.OTHER}{end}"].reindex(whole.index) for end in ("", "_low", "_high")
    }
    return pd.DataFrame(columns).rename_axis("label").reset_index()


def headline(found: list[dict[str, Any]]) -> str:
    """How many clusters can be removed alone, with random groups and the rule beside it."""
    by = {(one["grouping"], one["halving"]): one for one in found if one["kind"] == groups.REMOVAL}
    noise = {one["grouping"]: one for one in found if one["kind"] == groups.NOISE}.get(groups.CLUSTERS)
    own = by.get((groups.CLUSTERS, halves.DOCUMENTS))
    if own is None:
        return "No cluster has enough tokens to be removed."
    chance, bare = by.get((groups.RANDOM, halves.DOCUMENTS)), by.get((groups.CLUSTERS, halves.NO_BIGRAM))
    words = f"{own['alone']} of {own['of']} clusters can be removed alone"
    words += f", and {chance['alone']} of {chance['of']} random groups" if chance else ""
    further = f" If the halves share no bigram, {bare['alone']} of {bare['of']} can." if bare else ""
    further += f" By noise on the weights that a cluster uses, {noise['alone']} of {noise['of']} can." if noise else ""
    return f"{words}.{further}"
