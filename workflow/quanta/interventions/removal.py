"""Removal: the weights are moved up the mean unit gradient of half a group until that half has lost so many nats."""

from collections.abc import Iterator, Sequence
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

CURVE = (0.25, 0.5, 2.0)  # shares of the step at which a curve is measured besides


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
    roles = looked_at(bench, case, others)
    looked = np.concatenate(list(roles.values()))
    names = np.repeat(list(roles), [len(own) for own in roles.values()])
    of_first, of_others = bench.contexts(first), bench.contexts(looked)
    base, seen = bench.losses[first], dict[float, Array]()
    rows: list[dict[str, Any]] = []
    with moving.moving(direction.parameters_of(bench.model, bench.chosen)) as weights:

        def rise(step: float) -> float:
            weights.move(way, step)
            seen[step] = of_first.losses(bench.model)
            return float(np.mean(seen[step] - base))

        slopes = bench.norms[first] * direction.length(way) ** 2
        found = moving.find_step(
            rise, nats, expected=moving.expected_rise(base, slopes), tolerance=tolerance, evaluations=evaluations
        )
        for share in (1.0, *CURVE) if case.curve and found.reached else (1.0,):
            weights.move(way, found.step * share)
            known = seen[found.step] if share == 1 else of_first.losses(bench.model)
            told = [(groups.FIRST, int(t), b, x) for t, b, x in zip(first, base, known, strict=True)]
            after = of_others.losses(bench.model)
            told += [(str(r), int(t), bench.losses[t], x) for r, t, x in zip(names, looked, after, strict=True)]
            read = panel if share == 1 or small is None else small
            told += read.rows(read.contexts.losses(bench.model), first, bench)
            rows += [row(groups.REMOVAL, case, share, one, 1) for one in told]
    why = "" if found.reached else f"no step of {found.evaluations} took {nats:g} nats"
    own = no_case(groups.REMOVAL, case, why) | {
        "step": found.step, "nats": found.nats, "evaluations": found.evaluations, "reached": found.reached,
    }  # fmt: skip
    return own, rows


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
