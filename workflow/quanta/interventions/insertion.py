"""Insertion: a few steps down the gradient of half a group, at a checkpoint that has not learned the group yet."""

from typing import Any

import numpy as np
import torch

from quanta.interventions import direction, groups, moving, removal
from quanta.interventions.groups import Case
from quanta.interventions.removal import Bench, Panel

ENOUGH = 0.3  # of the gain that the slope promises
TRIES = 3


def insert(
    bench: Bench, case: Case, panel: Panel, *, nats: float, steps: int, tolerance: float, others: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Let a case's first half gain so many nats, look at all else, and put the weights back.

    Every step goes down the mean gradient of the first half where the weights are then, so far that this half gains
    `nats / steps`, or what is left of `nats`, if the slope holds as well as at the step before. A step that gains less than
    `ENOUGH` of what its slope promises is taken back, and is tried again a quarter as long; after a good one the next may be
    twice as long. It ends when the half has gained enough, to `tolerance` of it, or after `TRIES` tries for each of the
    `steps`. `panel.base` has the losses of the checkpoint; all else is computed before and after.

    Returns:
        the case and a row per token, as `removal.remove` has them; a change is a gain, in nats.
    """
    if not len(case.first):
        return removal.no_case(groups.INSERTION, case, removal.NO_HALVES), []
    first, length = case.first, 0.0
    roles = removal.looked_at(bench, case, others)
    looked = np.concatenate(list(roles.values()))
    names = np.repeat(list(roles), [len(own) for own in roles.values()])
    of_first, of_others = bench.contexts(first), bench.contexts(looked)
    rows: list[dict[str, Any]] = []
    with moving.moving(direction.parameters_of(bench.model, bench.chosen)) as weights:
        base = now = of_first.losses(bench.model)
        before = of_others.losses(bench.model)
        scale, held, done, way, slope = 1.0, 1.0, 0, list[torch.Tensor](), 0.0
        while np.mean(base - now) < (1 - tolerance) * nats and done < TRIES * steps:
            if not way:
                way, _ = direction.summed(
                    bench.model, bench.tokens, bench.chosen, bench.document[first], bench.position[first],
                    np.full(len(first), 1 / len(first)), batch_tokens=bench.batch_tokens,
                )  # fmt: skip
                slope = direction.length(way)
                if slope == 0:
                    break
            promised = min(scale * nats / steps, nats - float(np.mean(base - now))) / held
            step = promised / slope**2
            with moving.undone(weights.parameters) as keep:
                weights.add(way, -step)
                tried, done = of_first.losses(bench.model), done + 1
                share = float(np.mean(now - tried)) / promised
                if share >= ENOUGH:
                    now, way, length = tried, [], length + step * slope
                    scale, held = min(2 * scale, 1.0), float(np.clip(share, ENOUGH, 1))
                    keep()
                else:
                    scale /= 4
        gained = float(np.mean(base - now))
        told = [(groups.FIRST, int(t), b, x) for t, b, x in zip(first, base, now, strict=True)]
        after = of_others.losses(bench.model)
        told += [(str(r), int(t), b, x) for r, t, b, x in zip(names, looked, before, after, strict=True)]
        told += panel.rows(panel.contexts.losses(bench.model), first, bench)
        rows += [removal.row(groups.INSERTION, case, 1.0, one, -1) for one in told]
    reached = bool(gained >= (1 - tolerance) * nats)
    why = "" if reached else f"{done} tries gained {gained:.2g} of {nats:g} nats"
    own = removal.no_case(groups.INSERTION, case, why) | {
        "step": length, "nats": gained, "evaluations": done, "reached": reached,
    }  # fmt: skip
    return own, rows
