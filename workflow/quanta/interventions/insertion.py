"""Insertion: a few steps down the gradient of half a group, at a checkpoint that has not learned the group yet."""

from typing import Any

import numpy as np

from quanta.arrays import Array
from quanta.interventions import direction, groups, moving, removal
from quanta.interventions.groups import Case
from quanta.interventions.removal import Bench, Panel


def insert(
    bench: Bench, case: Case, panel: Panel, *, nats: float, steps: int, others: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Let a case's first half gain so many nats, look at all else, and put the weights back.

    Every step goes down the mean gradient of the first half where the weights are then, so far that this half would gain
    `nats / steps` if its loss were straight. It ends when the half has gained enough, or after twice as many steps.
    `bench.losses` and `panel.base` are those of the checkpoint. Losses of all else are computed before and after.

    Returns:
        the case and a row per token, as `removal.remove` has them; a change is a gain, in nats.
    """
    if not len(case.first):
        return removal.no_case(groups.INSERTION, case, removal.NO_HALVES), []
    first, done, length = case.first, 0, 0.0
    roles = removal.looked_at(bench, case, others)
    looked = np.concatenate(list(roles.values()))
    names = np.repeat(list(roles), [len(own) for own in roles.values()])
    of_others = bench.contexts(looked)
    rows: list[dict[str, Any]] = []
    with moving.moving(direction.parameters_of(bench.model, bench.chosen)) as weights:
        base: Array | None = None
        while True:
            way, now = direction.summed(
                bench.model, bench.tokens, bench.chosen, bench.document[first], bench.position[first],
                np.full(len(first), 1 / len(first)), batch_tokens=bench.batch_tokens,
            )  # fmt: skip
            if base is None:
                base, before = now, of_others.losses(bench.model) if len(looked) else np.empty(0)
            gained, slope = float(np.mean(base - now)), direction.length(way) ** 2
            if not np.isfinite(gained) or gained >= nats or done == 2 * steps or slope == 0:
                break
            weights.add(way, -nats / steps / slope)
            length += nats / steps / slope**0.5
            done += 1
        told = [(groups.FIRST, int(t), b, x) for t, b, x in zip(first, base, now, strict=True)]
        after = of_others.losses(bench.model) if len(looked) else np.empty(0)
        told += [(str(r), int(t), b, x) for r, t, b, x in zip(names, looked, before, after, strict=True)]
        told += panel.rows(panel.contexts.losses(bench.model), first, bench)
        rows += [removal.row(groups.INSERTION, case, 1.0, one, -1) for one in told]
    reached = bool(gained >= nats)
    why = "" if reached else f"{done} steps gained {gained:.2g} of {nats:g} nats"
    own = removal.no_case(groups.INSERTION, case, why) | {
        "step": length, "nats": gained, "evaluations": done, "reached": reached,
    }  # fmt: skip
    return own, rows
