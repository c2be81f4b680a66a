"""Removal: the weights are moved until half of a group has lost so many nats, and all else is looked at.

They move up the mean unit gradient of that half (`remove`), or noise is put on the weights that it uses (`disturb`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from quanta.arrays import Array, Float, Int, evenly
from quanta.corpus.encoding import Tokens
from quanta.gradients.parameter_sets import ParameterSet
from quanta.interventions import direction, groups, moving
from quanta.interventions.contexts import Contexts
from quanta.interventions.groups import Case
from quanta.streams import Purpose, generator

CURVE = (0.25, 0.5, 2.0)  # shares of the step at which a curve is measured besides
NOISE_STEP = 0.25  # the first step of noise that is tried: about the median of those that are found


@dataclass(frozen=True)
class Bench:
    """A model with what is measured under it.

    `document`, `position`, `target`, `bigram`, `losses` (nats) and `norms` (lengths of gradients) have an entry per
    selected token. `batch_tokens` are input tokens at a time.
    """

    model: PreTrainedModel
    tokens: Tokens
    chosen: ParameterSet
    document: Int[Array, " token"]
    position: Int[Array, " token"]
    target: Int[Array, " token"]
    bigram: Int[Array, " token"]
    losses: Float[Array, " token"]
    norms: Float[Array, " token"]
    batch_tokens: int

    def contexts(self, tokens: Array, further: tuple[Array, Array] | None = None) -> Contexts:
        """Contexts of selected tokens, and behind them of further (document, position)."""
        document, position = self.document[tokens], self.position[tokens]
        if further is not None:
            document, position = np.concatenate([document, further[0]]), np.concatenate([position, further[1]])
        device = next(self.model.parameters()).device
        return Contexts(self.tokens, document, position, batch_tokens=self.batch_tokens, device=device)


@dataclass(frozen=True)
class Panel:
    """Beginnings of documents that are read after every intervention: all selected tokens in them, and some of the others, plain text."""

    tokens: Int[Array, " token"]
    plain: tuple[Int[Array, " place"], Int[Array, " place"]]
    base: Float[Array, " token_and_place"]
    contexts: Contexts

    @classmethod
    def of(
        cls,
        bench: Bench,
        documents: Int[Array, " document"],
        until: Int[Array, " document"],
        number: int,
        losses: Array | None = None,
    ) -> "Panel":
        """All selected tokens of these documents up to `until`, and `number` evenly spread other predictions of what is read of them.

        `losses` has one a token of the corpus; without it they are computed. Those of selected tokens are the bench's.
        """
        ends = dict(zip(documents.tolist(), until.tolist(), strict=True))
        inside = np.flatnonzero(bench.position <= np.array([ends.get(d, -1) for d in bench.document.tolist()]))
        known = set(zip(bench.document[inside].tolist(), bench.position[inside].tolist(), strict=True))
        places = [(d, p) for d, end in ends.items() for p in range(1, end + 1) if (d, p) not in known]
        picked = [places[i] for i in evenly(len(places), number)]
        plain = np.array([d for d, _ in picked], dtype=np.int64), np.array([p for _, p in picked], dtype=np.int64)
        contexts = bench.contexts(inside, plain)
        if losses is None:
            base = contexts.losses(bench.model)
        else:
            base = np.concatenate([bench.losses[inside], losses[bench.tokens.flat(*plain)]])
        return cls(inside, plain, np.asarray(base, dtype=float), contexts)

    def rows(self, losses: Array, avoid: Array, bench: Bench) -> Iterator[tuple[str, int, float, float]]:
        """(role, token, base, losses) without tokens of documents that `avoid`'s tokens are from; plain text is token −1."""
        names = np.concatenate([bench.document[self.tokens], self.plain[0]])
        own = np.isin(names, bench.document[avoid])
        for i in np.flatnonzero(~own).tolist():
            known = i < len(self.tokens)
            yield (
                (groups.PANEL if known else groups.PLAIN),
                int(self.tokens[i]) if known else -1,
                self.base[i],
                losses[i],
            )


def looked_at(bench: Bench, case: Case, number: int) -> dict[str, Array]:
    """Tokens by role besides the panel: the second half, and at most `number` outside of the group for each other role.

    Those of the same bigram and of the same target exclude each other, and neither is from a document of the first half.
    They are the ones of least context, as the panel's are.
    """
    near = np.isin(bench.document, bench.document[case.first])
    bigram = groups.outside(case.group.tokens, bench.bigram, case.first, near)
    target = groups.outside(
        case.group.tokens, bench.target, case.first, near | np.isin(bench.bigram, bench.bigram[case.first])
    )
    found = {groups.OTHER: case.second}
    for role, own in ((groups.SAME_TARGET, target), (groups.SAME_BIGRAM, bigram)):
        found[role] = np.sort(own[np.argsort(bench.position[own], kind="stable")[:number]])
    return found


def no_case(kind: str, case: Case, why: str) -> dict[str, Any]:
    """The row of a group that nothing could be done with."""
    return {
        "kind": kind, **case.name, "size": len(case.group.tokens), "first": len(case.first), "second": len(case.second),
        "at": case.at, "step": np.nan, "nats": np.nan, "evaluations": 0, "reached": False, "why": why,
    }  # fmt: skip


NO_HALVES = "no two halves"


def remove(
    bench: Bench,
    case: Case,
    panel: Panel,
    *,
    nats: float,
    tolerance: float,
    evaluations: int,
    others: int,
    small: Panel | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Take a case's first half away, look at all else, and put the weights back. `small` is read at further steps of a curve.

    Returns:
        the case (columns `groups.CASES`) and a row per token that was looked at (columns `groups.ROWS`; a change is a rise, in nats).
    """
    if not len(case.first):
        return no_case(groups.REMOVAL, case, NO_HALVES), []
    first = case.first
    way, _ = direction.summed(
        bench.model, bench.tokens, bench.chosen, bench.document[first], bench.position[first],
        1 / (np.maximum(bench.norms[first], 1e-30) * len(first)), batch_tokens=bench.batch_tokens,
    )  # fmt: skip
    slopes = bench.norms[first] * direction.length(way) ** 2
    expected = moving.expected_rise(bench.losses[first], slopes)
    panels = {1.0: panel} | (dict.fromkeys(CURVE, small or panel) if case.curve else {})
    return _moved(
        groups.REMOVAL, bench, case, panels, [way], expected,
        nats=nats, tolerance=tolerance, evaluations=evaluations, others=others,
    )  # fmt: skip


def disturb(
    bench: Bench,
    case: Case,
    panel: Panel,
    usage: direction.Usage,
    *,
    nats: float,
    tolerance: float,
    evaluations: int,
    others: int,
    draws: int,
    seed: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """As `remove`, by noise on the weights that the first half uses more than other tokens do.

    Losses are means over `draws` noises and their opposites. So no gradients are asked to have the same sign. What one sign
    alone takes away, as a logit that falls, the opposite only takes away where it breaks all else. Losses are taken to rise with
    the square of the step.
    """
    if not len(case.first):
        return no_case(groups.NOISE, case, NO_HALVES), []
    sizes = usage.noise(
        bench.model, bench.tokens, bench.chosen, bench.document[case.first], bench.position[case.first],
        batch_tokens=bench.batch_tokens,
    )  # fmt: skip
    names = (groups.word(f"{case.group.grouping}, {n}") for n in range(draws))
    noises = (direction.signed(sizes, generator(seed, Purpose.INTERVENTION_NOISE, n, case.group.number)) for n in names)
    ways = ([sign * part for part in noise] for noise in noises for sign in (1, -1))
    return _moved(
        groups.NOISE, bench, case, {1.0: panel}, ways, lambda step: nats * (step / NOISE_STEP) ** 2,
        nats=nats, tolerance=tolerance, evaluations=evaluations, others=others,
    )  # fmt: skip


def _moved(
    kind: str,
    bench: Bench,
    case: Case,
    panels: Mapping[float, Panel],
    ways: Iterable[direction.Direction],
    expected: Callable[[float], float],
    *,
    nats: float,
    tolerance: float,
    evaluations: int,
    others: int,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Move the weights along each way until the first half has lost its nats; losses are means over the ways that took them.

    `panels` says what is read besides at which shares of the step. Where no way took the nats, the last one is read, at share 1.
    """
    first, roles = case.first, looked_at(bench, case, others)
    looked = np.concatenate(list(roles.values()))
    names = np.repeat(list(roles), [len(own) for own in roles.values()])
    of_first, of_others = bench.contexts(first), bench.contexts(looked)
    base, tried = bench.losses[first], list[tuple[moving.Found, dict[float, tuple[Array, Array, Array]]]]()
    with moving.moving(direction.parameters_of(bench.model, bench.chosen)) as weights:
        for way in ways:
            seen = dict[float, Array]()

            def rise(step: float, way: direction.Direction = way, seen: dict[float, Array] = seen) -> float:
                weights.move(way, step)
                seen[step] = of_first.losses(bench.model)
                return float(np.mean(seen[step] - base))

            one = moving.find_step(rise, nats, expected=expected, tolerance=tolerance, evaluations=evaluations)
            losses = {}
            for share, panel in panels.items() if one.reached else [(1.0, panels[1.0])]:
                weights.move(way, one.step * share)
                own = seen[one.step] if share == 1 else of_first.losses(bench.model)
                losses[share] = own, of_others.losses(bench.model), panel.contexts.losses(bench.model)
            tried.append((one, losses))
    # noise may also help: then no step of it takes anything
    kept = [one for one in tried if one[0].reached] or tried[-1:]
    rows: list[dict[str, Any]] = []
    for share in kept[0][1]:
        known, outside, read = (
            np.mean(some, axis=0) for some in zip(*(losses[share] for _, losses in kept), strict=True)
        )
        told = [(groups.FIRST, int(t), b, x) for t, b, x in zip(first, base, known, strict=True)]
        told += [(str(r), int(t), bench.losses[t], x) for r, t, x in zip(names, looked, outside, strict=True)]
        told += panels[share].rows(read, first, bench)
        rows += [row(kind, case, share, one, 1) for one in told]
    reached = kept[0][0].reached
    why = "" if reached else f"no step of {evaluations} took {nats:g} nats"
    own_case = no_case(kind, case, why) | {
        "step": float(np.mean([one.step for one, _ in kept])), "nats": float(np.mean([one.nats for one, _ in kept])),
        "evaluations": sum(one.evaluations for one, _ in tried), "reached": reached,
    }  # fmt: skip
    return own_case, rows


def row(kind: str, case: Case, share: float, one: tuple[str, int, float, float], sign: int) -> dict[str, Any]:
    """A row of `groups.ROWS`; `sign` is 1 where a change is a rise, −1 where it is a gain."""
    role, token, base, now = one
    change = sign * (now - base)
    named = {"step_share": share, "role": role, "token": token, "base_nats": base, "change_nats": change}
    return {"kind": kind, **case.name, **named}


def as_tables(found: Sequence[tuple[dict[str, Any], list[dict[str, Any]]]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The cases and the rows of several interventions as two tables of fixed columns and types."""
    cases_table = pd.DataFrame([case for case, _ in found], columns=pd.Index(groups.CASES))
    rows = pd.DataFrame([row for _, some in found for row in some], columns=pd.Index(groups.ROWS))
    whole = {"group": "int32", "size": "int32", "first": "int32", "second": "int32", "evaluations": "int32"}
    cases_table = cases_table.astype(whole | {"step": "float64", "nats": "float64", "reached": "bool"})
    numbers = {"group": "int32", "token": "int32", "step_share": "float32", "base_nats": "float32"}
    return cases_table, rows.astype(numbers | {"change_nats": "float32"})
