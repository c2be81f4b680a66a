"""Names of clusters: fingerprints that outlive a new run, the reader's own names, words for what is in one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from quanta.arrays import Array, Int
from quanta.corpus.decoding import Texts
from quanta.corpus.encoding import Tokens
from quanta.errors import QuantaError
from quanta.storage import files

NAME_COLUMNS = ("n_clusters", "label", "fingerprint", "name")
DESCRIBED_COLUMNS = ("n_clusters", "label", "fingerprint", "size", "target", "rule")


def fingerprint(document: Array, position: Array) -> str:
    """Twelve hexadecimal digits that two clusters share only if they hold the same predictions."""
    places = sorted(zip(np.asarray(document).tolist(), np.asarray(position).tolist(), strict=True))
    return hashlib.sha256(repr(places).encode()).hexdigest()[:12]


def in_words(table: pd.DataFrame, n_clusters: int, label: int) -> str:
    """The automatic description of a cluster (`descriptions`), or its commonest target where no rule was found."""
    row = table[(table["n_clusters"] == n_clusters) & (table["label"] == label)].iloc[0]
    rule = json.loads(row["rule"])
    return ", and ".join(rule) if rule else f"the target is often ‘{row['target']}’"


def striking(table: pd.DataFrame, names: Mapping[tuple[int, int], str], n_clusters: int, number: int) -> list[int]:
    """Labels of clusters to show: the named ones, then by the held-out F1 of their description, each target once."""
    part = table[table["n_clusters"] == n_clusters].copy()
    named = [label for (k, label) in names if k == n_clusters]
    precision, recall = part["precision_held_out"].fillna(0), part["recall_held_out"].fillna(0)
    part["f1"] = 2 * precision * recall / (precision + recall).clip(lower=1e-12)
    part = part[~part["label"].isin(named)].sort_values(["f1", "size"], ascending=False, kind="stable")
    others: list[int] = part.drop_duplicates("target")["label"].tolist()
    return (named + others)[:number]


def typical(
    label: Int[Array, " token"], selection: pd.DataFrame, tokens: Tokens, texts: Texts
) -> list[tuple[str, str]]:
    """For each cluster its commonest pair of target and token before it, as (text before, text of the target)."""
    flat = tokens.flat(selection["document"].to_numpy(), selection["position"].to_numpy())
    pairs = np.stack([tokens.ids[flat - 1], tokens.ids[flat]], axis=1)
    found = []
    for cluster in range(int(label.max()) + 1):
        unique, counts = np.unique(pairs[label == cluster], axis=0, return_counts=True)
        before, target = unique[counts.argmax()]
        found.append((texts.of(int(before)), texts.of(int(target))))
    return found


def read_names(path: str | Path, known: pd.DataFrame) -> tuple[dict[tuple[int, int], str], int]:
    """Names that a reader gave to clusters, from the page's `labels.csv`.

    `known` is the run's table of clusters (n_clusters, label, fingerprint). A name goes to the cluster of the same
    fingerprint and n_clusters: where the same tokens now have another label, the name moves with them.

    Returns:
        names by (n_clusters, label), and the number of rows whose cluster this run does not have.

    Raises:
        QuantaError: the file is no such table, or names a cluster twice.
    """
    table = files.read_table(path, NAME_COLUMNS)
    table = table[table["name"].notna()].astype({"fingerprint": str, "name": str})
    own = {(int(row.n_clusters), row.fingerprint): (int(row.n_clusters), int(row.label)) for row in known.itertuples()}
    names: dict[tuple[int, int], str] = {}
    lost = 0
    for row in table.itertuples():
        place = own.get((int(row.n_clusters), row.fingerprint))
        if place is None:
            lost += 1
        elif place in names:
            raise QuantaError(
                str(path),
                f"two names for cluster {place[1]} of {place[0]}: {names[place]!r} and {row.name!r}",
                "one name a cluster",
                "delete one of the rows",
            )
        else:
            names[place] = row.name
    return names, lost


def read_described(
    path: str | Path, names: Sequence[str | Path]
) -> tuple[pd.DataFrame, dict[tuple[int, int], str], int]:
    """The table of descriptions, and of `names`, an empty list or the path of one `labels.csv`, what `read_names` gives.

    Raises:
        QuantaError: a column is missing, or see `read_names`.
    """
    described = files.read_table(path, DESCRIBED_COLUMNS)
    given, lost = read_names(names[0], described) if names else ({}, 0)
    return described, given, lost
