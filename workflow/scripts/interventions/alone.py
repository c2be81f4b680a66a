"""What the interventions say: shares with intervals, medians by grouping, transfer between clusters, and how many are alone.

Makes: in `interventions/` — `cases.parquet` and `rows.parquet` (all parts), `shares.csv` (a row per intervention), `medians.csv`,
`curves.csv`, `transfer.csv` (a row per pair of clusters), `units.csv`, `moves.csv` (tokens that join or leave), `clusters.csv`
(what the page shows), `alone.json` (counts, headline, rule, and the slope of sizes by rank after what transfer does: law).
"""

from typing import Any

import numpy as np
import pandas as pd
from quanta import arrays
from quanta.affinity import cosine
from quanta.catalogue import contexts as catalogue_contexts
from quanta.clustering import membership
from quanta.corpus import encoding, resampling
from quanta.gradients import selection
from quanta.interventions import groups, halves, scores, transfer
from quanta.jobs.job import run
from quanta.rank_frequency import zipf
from quanta.storage import files

DRAWS = 200  # of texts, for the intervals of slopes


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    halved = files.read_table(inputs.halves, groups.COLUMNS)
    own = groups.members(files.read_table(inputs.groups, groups.MEMBERS))
    cases = {(c.group.grouping, c.group.number, c.halving): c for c in groups.cases(halved, own)}
    place = {name: i for i, name in enumerate(cases)}
    cases_table = _joined(inputs.cases, groups.CASES, place)
    rows = _joined(inputs.rows, groups.ROWS, place)
    labels = {
        name: membership.at(membership.read_labels(path, len(chosen)), params.show)
        for name, path in zip(params.clusterings, inputs.labels, strict=True)
    }
    cosines = np.asarray(cosine.read_affinity(inputs.affinity))
    held = arrays.evenly(len(chosen), len(cosines))
    between = {
        name: transfer.cosines_between(cosines, label[held], int(label.max()) + 1) for name, label in labels.items()
    }
    known = [name for name, some in own.items() if name[0] in labels]
    near = {
        name: transfer.nearest(between[name], label, [i for g, i in known if g == name])
        for name, label in labels.items()
    }
    bigram = catalogue_contexts.bigrams(tokens, chosen["document"].to_numpy(), chosen["position"].to_numpy())
    table = scores.table(cases_table, rows, cases, chosen["token_id"].to_numpy(), bigram, near, seed=params.seed)
    within = {name: {i: float(matrix[i, i]) for i in range(len(matrix))} for name, matrix in between.items()}
    removed = cases_table[(cases_table["kind"] == groups.REMOVAL) & cases_table["reached"]]
    whole = removed[removed["halving"] == "documents"]
    nats = {
        (str(g), int(i)): float(x) for g, i, x in zip(whole["grouping"], whole["group"], whole["nats"], strict=True)
    }
    of_removals = rows[rows["kind"] == groups.REMOVAL]
    matrix = transfer.matrix(of_removals, nats, labels, between)
    units = [transfer.units(part) for _, part in matrix.groupby("grouping", sort=False)]
    moved = transfer.moves(of_removals, nats, labels)
    text = resampling.texts_of_documents(inputs.documents, tokens.n_documents)[chosen["document"].to_numpy()]
    law = _law(table, labels, dict(zip(matrix["grouping"].unique(), units, strict=True)), moved, text, params.seed)
    counts = scores.counts(table)
    files.write_table(outputs.all_cases, cases_table)
    files.write_table(outputs.all_rows, rows)
    files.write_table(outputs.shares, table)
    files.write_table(outputs.medians, scores.medians(table, within, seed=params.seed))
    files.write_table(outputs.curves, scores.curves(rows, cases_table))
    files.write_table(outputs.transfer, matrix)
    files.write_table(outputs.units, pd.concat(units) if units else pd.DataFrame(columns=transfer.UNITS))
    files.write_table(outputs.moves, moved)
    main_grouping = params.clusterings[0]
    files.write_table(outputs.clusters, scores.of_clusters(table, main_grouping).assign(n_clusters=params.show))
    files.write_json(
        outputs.alone,
        {"headline": scores.headline(counts), "rule": scores.RULE, "counts": counts, "law": law},
    )


def _law(
    table: pd.DataFrame,
    labels: dict[str, Any],
    units: dict[str, pd.DataFrame],
    moves: pd.DataFrame,
    text: Any,
    seed: int,
) -> list[dict[str, Any]]:
    """The slope of cluster sizes by rank, as found and after each step of what transfer makes of the clusters."""
    found = []
    whole = table[(table["kind"] == groups.REMOVAL) & (table["halving"] == halves.DOCUMENTS)]
    for grouping, own in units.items():
        part = whole[(whole["grouping"] == grouping) & (whole["alone"] == True)]  # noqa: E712 (cells are true, false or empty)
        alone = sorted(set(part["group"]) & set(own["group"]))
        steps = transfer.settled(labels[grouping], own, moves[moves["grouping"] == grouping], alone)
        for step, label in steps.items():
            slope = zipf.fit_sizes_by_rank(label, draws=DRAWS, seed=seed, groups=text)
            found.append({"grouping": grouping, "meaning": groups.meaning(grouping), "step": step} | slope)
    return found


def _joined(paths: list[str], columns: tuple[str, ...], place: dict[tuple[str, int, str], int]) -> pd.DataFrame:
    """All parts in the order of the cases, whatever the number of parts; removals first."""
    table = pd.concat([files.read_table(path, columns) for path in paths], ignore_index=True)
    names = zip(table["grouping"], table["group"], table["halving"], strict=True)
    order = np.array([place[str(g), int(i), str(h)] for g, i, h in names], dtype=np.int64)
    later = (table["kind"] != groups.REMOVAL).to_numpy()
    return table.iloc[np.lexsort((np.arange(len(table)), order, later))].reset_index(drop=True)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
