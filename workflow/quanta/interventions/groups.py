"""Groups of selected tokens that are intervened on: clusters, and groupings that need no gradients."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from quanta.arrays import Array, Bool, Float, Int, evenly
from quanta.errors import QuantaError
from quanta.interventions import halves
from quanta.streams import Purpose, generator

CLUSTERS, TARGET, BIGRAM, RANDOM, UNTRAINED = "clusters", "target", "bigram", "random", "untrained"
MEANINGS = {
    CLUSTERS: "clusters of gradients",
    UNTRAINED: "clusters of an untrained model",
    BIGRAM: "equal bigrams",
    TARGET: "equal targets",
    RANDOM: "random groups of the clusters' sizes",
}
SURE, SAYS = 1.0, 0.2  # nats, and a share of the selected tokens: what a checkpoint has to predict to be given more
REMOVAL, INSERTION, NOISE = "removal", "insertion", "noise"  # kinds of intervention
# what a token counts as that is looked at
FIRST, OTHER, SAME_TARGET, SAME_BIGRAM, PANEL, PLAIN = "first", "other", "target", "bigram", "panel", "plain"
ROWS = ("kind", "grouping", "group", "halving", "step_share", "role", "token", "base_nats", "change_nats")
MEMBERS = ("grouping", "group", "token")
CASES = ("kind", "grouping", "group", "halving", "size", "first", "second", "at", "step", "nats", "evaluations", "reached",
         "why")  # fmt: skip
COLUMNS = ("grouping", "group", "size", "halving", "half", "token", "curve", "at")


@dataclass(frozen=True)
class Group:
    """A group of selected tokens: the name of its grouping, its number there, and its tokens, rising."""

    grouping: str
    number: int
    tokens: Int[Array, " token"]


def word(name: str) -> int:
    """A number of 32 bits for a grouping's name: an index of a random stream."""
    return zlib.crc32(name.encode())


def of_labels(
    grouping: str, labels: Int[Array, " token"], *, least: int, tokens: Int[Array, " token"] | None = None
) -> list[Group]:
    """Groups of equal label with at least `least` tokens; `tokens` names the labelled ones where they are not all.

    A label below 0 is of no group.
    """
    names = np.arange(len(labels)) if tokens is None else tokens
    found = [Group(grouping, int(label), names[labels == label]) for label in np.unique(labels[labels >= 0])]
    return [group for group in found if len(group.tokens) >= least]


def random_like(groups: Iterable[Group], n_tokens: int, *, seed: int) -> list[Group]:
    """For each group one of as many random tokens, without replacement within a group."""
    rng = generator(seed, Purpose.INTERVENTION_GROUPS, 0)
    return [
        Group(RANDOM, group.number, np.sort(rng.choice(n_tokens, size=len(group.tokens), replace=False)))
        for group in groups
    ]


def some(groups: list[Group], number: int) -> list[Group]:
    """At most `number` of the groups, evenly spread over their sizes."""
    by_size = sorted(groups, key=lambda group: (-len(group.tokens), group.number))
    return [by_size[i] for i in evenly(len(by_size), number)]


def shorter(tokens: Int[Array, " member"], position: Int[Array, " token"], number: int) -> Int[Array, " chosen"]:
    """At most so many of the tokens: of twice as many, evenly spread, the ones of least context; rising."""
    spread = tokens[evenly(len(tokens), 2 * number)]
    return np.sort(spread[np.argsort(position[spread], kind="stable")[:number]])


def table(
    groups: Iterable[Group],
    document: Int[Array, " token"],
    position: Int[Array, " token"],
    bigram: Int[Array, " token"],
    *,
    half_tokens: int,
    no_bigram: Iterable[str],
    seed: int,
) -> pd.DataFrame:
    """All halves: a row per group, halving, half (0 or 1) and token. `no_bigram` names groupings that have that halving too.

    A group that cannot be halved has one row per halving with half and token −1, so that it is not lost. A half is cut to
    `half_tokens` tokens (`shorter`).

    Returns:
        columns grouping, group, size (of the whole group), halving, half, token, curve (false), at (empty).
    """
    rows = []
    twice = set(no_bigram)
    for group in groups:
        for halving in halves.HALVINGS if group.grouping in twice else halves.HALVINGS[:1]:
            index = word(f"{group.grouping}, {halving}"), group.number
            pair = halves.HOW[halving](group.tokens, document, bigram, seed=seed, index=index) or ()
            found = [(half, int(t)) for half, own in enumerate(pair) for t in shorter(own, position, half_tokens)]
            for half, token in found or [(-1, -1)]:
                rows.append((group.grouping, group.number, len(group.tokens), halving, half, token, False, ""))
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def marked(table: pd.DataFrame, column: str, chosen: Mapping[tuple[str, int], bool | str]) -> pd.DataFrame:
    """The table with a value for some groups' halves by document: `curve`, or `at`, the checkpoint of an insertion."""
    table = table.copy()
    for (grouping, number), value in chosen.items():
        rows = (table["grouping"] == grouping) & (table["group"] == number) & (table["halving"] == halves.DOCUMENTS)
        table.loc[rows, column] = value
    return table


@dataclass(frozen=True)
class Case:
    """One group with its halves: `first` gives the gradient, `second` is looked at. Empty halves where there are none."""

    group: Group
    halving: str
    first: Array
    second: Array
    curve: bool = False
    at: str = ""

    @property
    def name(self) -> dict[str, Any]:
        """Columns that name it."""
        return {"grouping": self.group.grouping, "group": self.group.number, "halving": self.halving}


def members(table: pd.DataFrame) -> dict[tuple[str, int], Array]:
    """Tokens of every group by (grouping, number), from a table with the columns `MEMBERS`."""
    return {(str(g), int(i)): rows["token"].to_numpy() for (g, i), rows in table.groupby(["grouping", "group"])}


def cases(table: pd.DataFrame, members: dict[tuple[str, int], Array]) -> list[Case]:
    """The cases of a table of halves (`groups.table`); `members` has all tokens of each group."""
    found = []
    for (grouping, number, halving), rows in table.groupby(["grouping", "group", "halving"], sort=False):
        first, second = (rows.loc[rows["half"] == half, "token"].to_numpy() for half in (0, 1))
        group = Group(str(grouping), int(number), members[str(grouping), int(number)])
        one = rows.iloc[0]
        found.append(Case(group, str(halving), first, second, bool(one["curve"]), str(one["at"])))
    return found


def part(table: pd.DataFrame, index: int, parts: int) -> pd.DataFrame:
    """The rows of one of several jobs: whole groups, dealt out in turn within each halving so that jobs take about as long."""
    number = table.groupby(["grouping", "group"], sort=False).ngroup()
    later = table["halving"] != halves.DOCUMENTS
    return table[(number + later) % parts == index]


def check_labels(name: str, labels: pd.DataFrame, n_clusters: int) -> None:
    """Refuse a clustering without the number of clusters that is shown.

    Raises:
        QuantaError: it has other numbers of clusters alone.
    """
    known = sorted(int(k) for k in labels["n_clusters"].unique())
    if n_clusters not in known:
        raise QuantaError(
            f"labels of {name}",
            f"clusterings of {', '.join(map(str, known))} clusters",
            f"one of {n_clusters}, which is qdg.show",
            "set qdg.show to a number of clusters that every clustering has",
        )


def short(grouping: str) -> str:
    """A grouping in a word or two, for a figure."""
    names = {
        CLUSTERS: "clusters",
        UNTRAINED: "untrained",
        TARGET: "targets",
        BIGRAM: "bigrams",
        RANDOM: "random groups",
    }
    return names.get(grouping, f"{grouping} clusters")


def meaning(grouping: str) -> str:
    """A grouping in words; a further clustering by its name."""
    return MEANINGS.get(grouping, f"{grouping} clusters")


def outside(
    group: Int[Array, " token"], value: Int[Array, " token"], of: Int[Array, " half"], but: Bool[Array, " token"]
) -> Int[Array, " other"]:
    """Tokens outside of a group with the `value` (target, bigram) of some token in `of`, without those that `but` marks."""
    wanted = np.isin(value, value[of]) & ~but
    wanted[group] = False
    return np.flatnonzero(wanted)


def panel(
    document: Int[Array, " token"], position: Int[Array, " token"], label: Int[Array, " token"], *, each: int, seed: int
) -> tuple[Int[Array, " document"], Int[Array, " document"]]:
    """Documents, and the position up to which each is read, that hold `each` tokens of every cluster, or all it has.

    Chosen greedily for little context: what is read next is the beginning of a document, or more of one, with the most
    tokens that are still wanted per token of context. `label` is below 0 where a token is of no cluster that counts.
    Ties are broken at random. In the order of their choice.
    """
    names, own = np.unique(document, return_inverse=True)
    shuffled = generator(seed, Purpose.INTERVENTION_GROUPS, 1).permutation(len(names))
    order = np.lexsort((position, shuffled[own]))
    own, at, label = own[order], position[order], label[order]
    begins = np.concatenate([[True], own[1:] != own[:-1]])
    pair = np.unique(np.stack([own, label]), axis=1, return_inverse=True)[1].ravel()  # of document and cluster
    nth = pd.Series(pair).groupby(pair).cumcount().to_numpy()  # of its pair, by position
    left = np.minimum(np.bincount(label[label >= 0], minlength=int(label.max()) + 1), each)
    until, chosen = np.zeros(len(names), dtype=np.int64), list[int]()
    while left.any():
        read = at <= until[own]
        wanted = ~read & (label >= 0)
        wanted &= nth - np.bincount(pair, weights=read)[pair] < left[label]
        before: Array = np.cumsum(wanted) - wanted
        gain: Array = before + wanted - np.maximum.accumulate(np.where(begins, before, 0))
        best = int(np.argmax(np.where(wanted, gain / np.maximum(at - until[own], 1), 0)))
        name = int(own[best])
        left -= np.bincount(label[wanted & (own == name) & (at <= at[best])], minlength=len(left))
        until[name] = at[best]
        chosen.append(name)
    picked = np.array(list(dict.fromkeys(chosen)), dtype=np.int64)
    return names[picked], until[picked]


def checkpoint(
    group: Int[Array, " token"],
    final: Float[Array, " token"],
    earlier: Sequence[Float[Array, " token"]],
    unlearned_nats: float,
) -> int | None:
    """Index of the last of the earlier checkpoints at which the group still loses so much more than in the end.

    `final` and `earlier` are losses of all selected tokens in nats. None where it is never so much more, and where that
    checkpoint predicts less than `SAYS` of all selected tokens with a loss below `SURE`: its unembedding is still so short
    that no state makes a token likely, whatever the blocks are moved to.
    """
    more = [float(np.mean(losses[group] - final[group])) for losses in earlier]
    late = [i for i, nats in enumerate(more) if nats >= unlearned_nats]
    return late[-1] if late and np.mean(earlier[late[-1]] < SURE) >= SAYS else None
