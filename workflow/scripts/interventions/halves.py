"""What is intervened on: groups of selected tokens, their halves, the checkpoint of each insertion, and a panel of documents.

Makes: `interventions/groups.parquet` (grouping, group, token), `interventions/halves.parquet` (columns in
`quanta.interventions.groups.COLUMNS`), `interventions/panel.csv` (document, and
the position until which it is read, in the order of their choice).
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta import arrays
from quanta.affinity import cosine
from quanta.catalogue import contexts as catalogue_contexts
from quanta.clustering import assignment, main_line, membership
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.interventions import groups, halves
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    document, position, target = (chosen[name].to_numpy() for name in ("document", "position", "token_id"))
    bigram = catalogue_contexts.bigrams(tokens, document, position)
    n, least, seed = len(chosen), params.least_tokens, params.seed
    found, clustered = list[groups.Group](), {}
    for name, path in zip(params.clusterings, inputs.labels, strict=True):
        table = membership.read_labels(path, n)
        groups.check_labels(name, table, params.show)
        clustered[name] = membership.at(table, params.show)
        found += groups.of_labels(name, clustered[name], least=least)
    main_groups = [group for group in found if group.grouping == params.clusterings[0]]
    untrained = np.asarray(cosine.read_affinity(inputs.untrained))
    how = assignment.Assignment.of(params)
    held = arrays.evenly(n, len(untrained))
    fresh = main_line.cluster_like_data(untrained, [min(params.show, len(held) - 1)], how, seed=seed)
    controls = {
        groups.UNTRAINED: groups.of_labels(groups.UNTRAINED, *fresh.values(), least=least, tokens=held),
        groups.TARGET: groups.of_labels(groups.TARGET, target, least=least),
        groups.BIGRAM: groups.of_labels(groups.BIGRAM, bigram, least=least),
        groups.RANDOM: groups.random_like(main_groups, n, seed=seed),
    }
    for some in controls.values():
        found += groups.some(some, params.controls)
    table = groups.table(
        found,
        document,
        position,
        bigram,
        half_tokens=params.half_tokens,
        no_bigram=[*params.clusterings, groups.TARGET],
        seed=seed,
    )
    halved = {(g.grouping, g.number) for g in _halved(found, table)}
    of_main = groups.some([g for g in main_groups if (g.grouping, g.number) in halved], params.curves)
    table = groups.marked(table, "curve", {(g.grouping, g.number): True for g in of_main})
    flat = tokens.flat(document, position)
    earlier = [np.asarray(stored.read_losses(path, tokens)[flat], dtype=float) for path in inputs.earlier]
    table = groups.marked(table, "at", _checkpoints(found, halved, chosen, earlier, params))
    members = pd.concat([pd.DataFrame({"grouping": g.grouping, "group": g.number, "token": g.tokens}) for g in found])
    files.write_table(outputs.groups, members.astype({"group": "int32", "token": "int32"}))
    files.write_table(outputs.halves, table)
    label = clustered[params.clusterings[0]].copy()
    label[~np.isin(label, [group.number for group in main_groups])] = -1
    documents, until = groups.panel(document, position, label, each=params.panel_tokens, seed=seed)
    files.write_table(outputs.panel, pd.DataFrame({"document": documents, "until": until}))


def _halved(found: list[groups.Group], table: pd.DataFrame) -> list[groups.Group]:
    whole = table[(table["halving"] == halves.DOCUMENTS) & (table["half"] >= 0)]
    names = set(zip(whole["grouping"], whole["group"], strict=True))
    return [group for group in found if (group.grouping, group.number) in names]


def _checkpoints(
    found: list[groups.Group], halved: set[tuple[str, int]], chosen: pd.DataFrame, earlier: list[Any], params: Any
) -> dict[tuple[str, int], bool | str]:
    """Where each grouping's insertions are made, by group: of those that some checkpoint has not learned."""
    final, marks = chosen["loss_nats"].to_numpy(dtype=float), dict[tuple[str, int], bool | str]()
    for grouping in dict.fromkeys(group.grouping for group in found):
        at = {}
        for group in found:
            if group.grouping == grouping and (grouping, group.number) in halved:
                index = groups.checkpoint(group.tokens, final, earlier, params.unlearned_nats)
                if index is not None:
                    at[group.number] = params.earlier[index]
        able = [group for group in found if group.grouping == grouping and group.number in at]
        number = params.insertions if grouping == params.clusterings[0] else params.insertions // 2
        number = 0 if grouping == groups.UNTRAINED else number
        marks |= {(grouping, group.number): at[group.number] for group in groups.some(able, number)}
    return marks


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
