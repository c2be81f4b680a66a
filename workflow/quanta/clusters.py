"""Clusters as a person reads them: their tokens in context, what they predict and where they come from."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from quanta import storage
from quanta.corpus import Texts, Tokens
from quanta.errors import QuantaError

COLUMNS = ("n_clusters", "token", "label")
BEFORE, AFTER = 48, 8  # tokens of context shown on each side


def read_labels(path: str, n_tokens: int) -> pd.DataFrame:
    """Read the table of labels (n_clusters, token, label) and check that it is one.

    Raises:
        QuantaError: a clustering does not give each of the `n_tokens` one label, 0 to n_clusters − 1.
    """
    table = storage.read_table(path, COLUMNS)
    for k, part in table.groupby("n_clusters"):
        tokens, labels = np.sort(part["token"].to_numpy()), np.unique(part["label"].to_numpy())
        # fewer than k where there are fewer than k different tokens
        named = len(labels) <= int(k) and np.array_equal(labels, np.arange(len(labels)))
        if not named or not np.array_equal(tokens, np.arange(n_tokens)):
            raise QuantaError(
                path,
                f"for {k} clusters: {len(part)} rows with {len(np.unique(tokens))} tokens and {len(labels)} labels",
                f"each of {n_tokens} tokens once, with labels from 0 to at most {int(k) - 1}",
                storage.RERUN,
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


def describe(
    labels: pd.DataFrame,
    selection: pd.DataFrame,
    documents: pd.DataFrame,
    tokens: Tokens,
    texts: Texts,
    *,
    n_clusters: int,
    examples: int,
) -> list[dict[str, Any]]:
    """The clusters of one clustering, largest first, as plain data.

    Each has label, size, purity (share of its commonest target token), targets (the three commonest with their shares),
    n_sources and examples: evenly spread over the corpus, as `context` gives them, with source and loss_nats.
    """
    label = labels.loc[labels["n_clusters"] == n_clusters].sort_values("token")["label"].to_numpy()
    sources = documents["source"].to_numpy()
    found = []
    for number in range(int(label.max()) + 1):
        rows = selection.iloc[np.flatnonzero(label == number)]
        targets = Counter(rows["token_id"].tolist()).most_common(3)
        chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, examples).round().astype(int))]
        found.append(
            {
                "label": number,
                "size": len(rows),
                "purity": targets[0][1] / len(rows),
                "targets": [{"text": texts.of(i), "share": n / len(rows)} for i, n in targets],
                "n_sources": len(set(sources[rows["document"]])),
                "examples": [
                    context(tokens, texts, int(row.document), int(row.position))
                    | {"source": str(sources[row.document]), "loss_nats": float(row.loss_nats)}
                    for row in chosen.itertuples()
                ],
            }
        )
    return found
