"""Removals, noise and insertions of one part of the groups; every weight is put back to the byte after each.

Makes: `interventions/cases.part…` (columns in `quanta.interventions.groups.CASES`) and `interventions/rows.part…` (columns in
`ROWS`): one row per token that was looked at, with its loss before, and what it lost or gained, in nats.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from quanta import arrays
from quanta.affinity import cosine
from quanta.catalogue import contexts as catalogue_contexts
from quanta.corpus import encoding
from quanta.gradients import parameter_sets, selection, token_gradients
from quanta.interventions import direction, groups, halves, insertion, removal
from quanta.jobs.job import device, run
from quanta.losses import stored
from quanta.models import pretrained
from quanta.progress import Progress
from quanta.storage import files

SMALL = 16  # documents of the panel that are read where no transfer between clusters is measured
REFERENCE = 256  # selected tokens that say how much each parameter is used at large
EXACT = 1e-4  # nats, from which on stored losses are another precision's, and are computed again


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets, inputs.beginning)
    chosen = selection.read_selection(inputs.selection, tokens)
    table = groups.part(files.read_table(inputs.halves, groups.COLUMNS), *files.part_of(outputs.cases))
    own = groups.members(files.read_table(inputs.groups, groups.MEMBERS))
    cases = groups.cases(table, own)
    read = files.read_table(inputs.panel, ("document", "until"))[["document", "until"]].to_numpy()
    known: Any = stored.read_losses(inputs.losses[0], tokens)
    bench = _bench(inputs.model, tokens, chosen, cases, inputs.features, params)
    few = arrays.evenly(len(chosen), 8)
    if np.abs(bench.contexts(few).losses(bench.model) - bench.losses[few]).max() > EXACT:
        known, bench = None, replace(bench, losses=bench.contexts(np.arange(len(chosen))).losses(bench.model))
    large = removal.Panel.of(bench, *read.T, params.plain_tokens, known)
    fewer = read[arrays.evenly(len(read), SMALL)].T
    small = removal.Panel.of(bench, *fewer, params.plain_tokens // 4, known)
    inserted = [case for case in cases if case.at]
    noisy = [case for case in cases if params.noise_draws and case.halving == halves.DOCUMENTS]
    progress = Progress("interventions", len(cases) + len(noisy) + len(inserted), "groups")
    how = {name: getattr(params, name) for name in ("tolerance", "evaluations")}
    how |= {"nats": params.removal_nats, "others": params.other_tokens}
    found = []
    for case in cases:
        panel = large if case.group.grouping in params.clusterings and case.halving == halves.DOCUMENTS else small
        found.append(removal.remove(bench, case, panel, small=small, **how))
        progress.advance()
    if noisy:
        usage = _usage(bench)
        for case in noisy:
            found.append(removal.disturb(bench, case, small, usage, draws=params.noise_draws, seed=params.seed, **how))
            progress.advance()
    folders = dict(zip(params.earlier, inputs.earlier, strict=True))
    for at in dict.fromkeys(sorted(case.at for case in inserted)):
        there = _bench(folders[at], tokens, chosen, [], [], params)
        panel = removal.Panel.of(there, *fewer, params.plain_tokens // 4)
        for case in inserted:
            if case.at == at:
                goal = {"nats": params.insertion_nats, "steps": params.insertion_steps, "tolerance": params.tolerance}
                found.append(insertion.insert(there, case, panel, others=params.other_tokens, **goal))
                progress.advance()
    progress.done()
    cases_table, rows = removal.as_tables(found)
    files.write_table(outputs.cases, cases_table)
    files.write_table(outputs.rows, rows)


def _bench(
    folder: str, tokens: Any, chosen: pd.DataFrame, cases: list[Any], features: list[str], params: Any
) -> removal.Bench:
    """The model of a folder; lengths of the gradients of the cases' first halves from the features, or made where there are none."""
    model = pretrained.load(folder, device())
    document, position, target = (chosen[name].to_numpy() for name in ("document", "position", "token_id"))
    norms = np.full(len(chosen), np.nan)
    wanted = np.unique(np.concatenate([np.empty(0, dtype=int), *(case.first for case in cases)]))
    if features:
        norms[wanted] = cosine.lengths(
            files.read_array(features[0], dtype="float32", shape=(len(chosen), None))[wanted]
        )
    elif len(wanted):  # one at a time, so that no length depends on what else the part holds
        made, _ = token_gradients.token_gradients(
            model, tokens, document[wanted], position[wanted], features=params.features, seed=params.seed,
            parameters=params.parameters, batch_tokens=1, share=False, label="lengths of gradients",
        )  # fmt: skip
        norms[wanted] = cosine.lengths(made)
    return removal.Bench(
        model, tokens, parameter_sets.parameter_set(model, params.parameters), document, position, target,
        catalogue_contexts.bigrams(tokens, document, position), chosen["loss_nats"].to_numpy(dtype=float), norms,
        params.batch_tokens,
    )  # fmt: skip


def _usage(bench: removal.Bench) -> direction.Usage:
    """How much selected tokens, evenly spread, use each parameter."""
    few = arrays.evenly(len(bench.document), REFERENCE)
    where = bench.document[few], bench.position[few]
    return direction.Usage.of(bench.model, bench.tokens, bench.chosen, *where, batch_tokens=bench.batch_tokens)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
