"""Labels as tables and matrices: by falling size, one-hot, contingency, as they are kept in a file."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import scipy.sparse as sp

from quanta.arrays import Array, Float, Int
from quanta.errors import QuantaError
from quanta.storage import files

COLUMNS = ("n_clusters", "token", "label")


def as_table(found: Mapping[int, Int[Array, " token"]]) -> pd.DataFrame:
    """Labels for each k as a table: n_clusters, token, label."""
    tables = [
        pd.DataFrame({"n_clusters": k, "token": np.arange(len(labels)), "label": labels}) for k, labels in found.items()
    ]
    return pd.concat(tables, ignore_index=True).astype({"n_clusters": "int32", "token": "int32", "label": "int32"})


def by_size(labels: Array) -> Int[Array, " token"]:
    """Rename labels by falling cluster size; of equal sizes, the one whose first token comes first."""
    names, first, inverse, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[inverse]


def one_hot(labels: Int[Array, " token"], n_clusters: int | None = None, dtype: type = np.float64) -> sp.csr_array:
    """Membership as a sparse matrix (cluster, token) of zeros and ones; clusters up to the largest label if none are given."""
    n, k = len(labels), int(labels.max()) + 1 if n_clusters is None else n_clusters
    return sp.csr_array((np.ones(n, dtype=dtype), (np.asarray(labels), np.arange(n))), shape=(k, n))


def contingency(left: Int[Array, " token"], right: Int[Array, " token"]) -> Int[Array, "left right"]:
    """Tokens that each pair of clusters shares."""
    return np.asarray((one_hot(left) @ one_hot(right).T).toarray().round().astype(np.int64))


def jaccard(left: Int[Array, " token"], right: Int[Array, " token"]) -> Float[Array, "left right"]:
    """Jaccard index of each pair of clusters of two labellings of the same tokens: shared over all of either."""
    shared = contingency(left, right)
    either = shared.sum(axis=1)[:, None] + shared.sum(axis=0)[None, :] - shared
    return np.asarray(shared / np.maximum(either, 1))


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


def at(labels: pd.DataFrame, n_clusters: int) -> Array:
    """Labels (N,) of one clustering, in the order of the tokens."""
    return np.asarray(labels.loc[labels["n_clusters"] == n_clusters].sort_values("token")["label"])
