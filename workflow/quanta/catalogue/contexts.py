"""Clusters as a person reads them: their tokens in context, what they predict, how they are named."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float, Int
from quanta.corpus.encoding import Texts, Tokens
from quanta.errors import QuantaError
from quanta.storage import files

COLUMNS = ("n_clusters", "token", "label")
BEFORE, AFTER = 64, 16  # tokens of context shown on each side
NAME_COLUMNS = ("n_clusters", "label", "fingerprint", "name")


def read_labels(path: str, n_tokens: int) -> pd.DataFrame:
    """Read the table of labels (n_clusters, token, label) and check that it is one.

    Raises:
        QuantaError: a clustering does not give each of the `n_tokens` one label, 0 to n_clusters − 1.
    """
    table = files.read_table(path, COLUMNS)
    for k, part in table.groupby("n_clusters"):
        tokens, labels = np.sort(part["token"].to_numpy()), np.unique(part["label"].to_numpy())
        # fewer than k where there are fewer than k different tokens
        named = len(labels) <= int(k) and np.array_equal(labels, np.arange(len(labels)))
        if not named or not np.array_equal(tokens, np.arange(n_tokens)):
            raise QuantaError(
                path,
                f"for {k} clusters: {len(part)} rows with {len(np.unique(tokens))} tokens and {len(labels)} labels",
                f"each of {n_tokens} tokens once, with labels from 0 to at most {int(k) - 1}",
                files.RERUN,
            )
    return table


def context(tokens: Tokens, texts: Texts, document: int, position: int) -> dict[str, str]:
    """Text before a token, of it, and after it, within its document."""
    ids = tokens.document(document)

    def join(begin: int, end: int) -> str:
        return "".join(texts.of(i) for i in ids[max(begin, 0) : end])

    return {
        "before": join(position - BEFORE, position),
        "target": texts.of(ids[position]),
        "after": join(position + 1, position + 1 + AFTER),
    }


def at(labels: pd.DataFrame, n_clusters: int) -> Array:
    """Labels (N,) of one clustering, in the order of the tokens."""
    return np.asarray(labels.loc[labels["n_clusters"] == n_clusters].sort_values("token")["label"])


def fingerprint(document: Array, position: Array) -> str:
    """Twelve hexadecimal digits that two clusters share only if they hold the same predictions."""
    places = sorted(zip(np.asarray(document).tolist(), np.asarray(position).tolist(), strict=True))
    return hashlib.sha256(repr(places).encode()).hexdigest()[:12]


def table(labels: pd.DataFrame, selection: pd.DataFrame, documents: pd.DataFrame, texts: Texts) -> pd.DataFrame:
    """A row a cluster of every clustering, in the order of n_clusters and label.

    Columns: n_clusters, label, fingerprint, size (tokens), n_sources, target (text of its commonest target token) and purity
    (the share of its tokens that have this target).
    """
    sources = documents["source"].to_numpy()[selection["document"].to_numpy()]
    rows = []
    for k in np.unique(labels["n_clusters"]):
        own = at(labels, int(k))
        for label in range(int(own.max()) + 1):
            inside = np.flatnonzero(own == label)
            part = selection.iloc[inside]
            ids, counts = np.unique(part["token_id"], return_counts=True)
            rows.append(
                {
                    "n_clusters": int(k),
                    "label": label,
                    "fingerprint": fingerprint(part["document"].to_numpy(), part["position"].to_numpy()),
                    "size": len(inside),
                    "n_sources": len(np.unique(sources[inside])),
                    "target": texts.of(int(ids[counts.argmax()])),
                    "purity": float(counts.max() / len(inside)),
                }
            )
    return pd.DataFrame(rows).astype({"n_clusters": "int32", "label": "int32", "size": "int32", "n_sources": "int32"})


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
    flat = tokens.offsets[selection["document"].to_numpy()] + selection["position"].to_numpy()
    pairs = np.stack([tokens.ids[flat - 1], tokens.ids[flat]], axis=1)
    found = []
    for cluster in range(int(label.max()) + 1):
        unique, counts = np.unique(pairs[label == cluster], axis=0, return_counts=True)
        before, target = unique[counts.argmax()]
        found.append((texts.of(int(before)), texts.of(int(target))))
    return found


def by_fall(mean: Float[Array, "cluster member"]) -> Int[Array, " cluster"]:
    """Order of clusters by where along an axis their mean loss has fallen half of its way, the earliest first.

    Between members the crossing is interpolated, so that clusters of one step have an order.
    """
    middle = (mean.max(axis=1) + mean.min(axis=1)) / 2
    places = []
    for curve, level in zip(mean, middle, strict=True):
        below = np.flatnonzero(curve <= level)
        below = below[below > int(curve.argmax())]
        last = int(below[0]) if len(below) else len(curve) - 1
        drop = curve[last - 1] - curve[last] if last else 0.0
        places.append(last - 1 + float((curve[last - 1] - level) / drop) if drop > 0 else float(last))
    return np.argsort(places, kind="stable")


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
