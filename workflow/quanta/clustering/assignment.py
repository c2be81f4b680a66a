"""From eigenvectors to labels: k-means of their rows, or one of its alternatives."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import qr, svd

from quanta.arrays import Array, Float, Int
from quanta.clustering import kmeans, membership
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.streams import Purpose, generator, integer

ASSIGNMENTS = ("kmeans", "restarts", "cluster_qr", "discretize")
ROWS = ("degree", "unit")
FULL_SWEEP = 20_000  # tokens up to which k-means keeps the distances of all tokens to all centres


def cluster_qr(vectors: Float[Array, "point k"]) -> Int[Array, " point"]:
    """Labels from a column-pivoted QR of the eigenvectors (Damle, Minden and Ying 2019): no centres, no randomness."""
    k = vectors.shape[1]
    _, _, pivots = qr(vectors.T, mode="economic", pivoting=True)
    left, _, right = svd(vectors[pivots[:k]].T)
    return np.asarray(np.abs(vectors @ (left @ right)).argmax(axis=1))


def discretize(vectors: Float[Array, "point k"], *, seed: int, most: int = 100) -> Int[Array, " point"]:
    """Labels from the rotation of row-normalised eigenvectors that lies nearest to indicators (Yu and Shi 2003)."""
    rng = generator(seed, Purpose.DISCRETIZE)
    rows = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300)
    n, k = rows.shape
    rotation = np.zeros((k, k))
    rotation[:, 0] = rows[rng.integers(n)]
    far = np.zeros(n)
    for j in range(1, k):
        far += np.abs(rows @ rotation[:, j - 1])
        rotation[:, j] = rows[far.argmin()]
    before = 0.0
    labels = np.zeros(n, dtype=np.int64)
    for _ in range(most):
        labels = (rows @ rotation).argmax(axis=1)
        sums = membership.one_hot(labels, k) @ rows
        left, values, right = svd(sums)
        if abs(values.sum() - before) < 1e-10 * n:
            break
        before = float(values.sum())
        rotation = (left @ right).T
    return labels


def scaled_rows(vectors: Float[Array, "token k"], rows: str = "degree") -> Float[Array, "token k"]:
    """What is clustered: each eigenvector over √degree (scikit-learn's default), or rows of unit length for `unit`.

    `unit` (Ng, Jordan and Weiss 2001) must be applied to the first k columns alone; `cluster` does.
    """
    if rows == "unit":
        return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300))
    # the first eigenvector is √degree; k-means does not mind the common scale
    return np.asarray(vectors / vectors[:, :1])


def assign(
    vectors: Float[Array, "token k"],
    n_clusters: Sequence[int],
    *,
    method: str = "kmeans",
    rows: str = "degree",
    restarts: int = 30,
    rounds: int = kmeans.ROUNDS,
    seed: int = 0,
    whole: int | None = None,
) -> dict[int, Int[Array, " token"]]:
    """Labels for each k, from the first k eigenvectors; 0 is the largest cluster.

    `method` is `kmeans` (one improved solution, `quanta.clustering.kmeans`), `restarts` (scikit-learn's KMeans from `restarts`
    starts, as in the paper), `cluster_qr` or `discretize`; `rows` is for the first two, see `scaled_rows`. `rounds` is how
    often `kmeans` breathes. Of more than 20,000 tokens, `kmeans` is scikit-learn's in mini-batches, each k by itself. For tokens that are part of
    more, `whole` is the number of all: parts are clustered as the whole is.

    Raises:
        QuantaError: an unknown method, k above the number of eigenvectors or of distinct rows.
    """
    if method not in ASSIGNMENTS or rows not in ROWS:
        raise QuantaError("qdg.assign, qdg.rows", f"{method}, {rows}", f"one of {ASSIGNMENTS}, one of {ROWS}", "choose")
    ks = sorted(set(n_clusters))
    if ks[0] < 1 or ks[-1] > vectors.shape[1]:
        raise QuantaError(
            "qdg.n_clusters", f"{ks[-1]} clusters of {vectors.shape[1]} eigenvectors", "at most as many", "lower it"
        )
    progress = Progress("clustering", sum(ks), "clusters")
    found: dict[int, Array] = {}
    scaled = scaled_rows(vectors)
    in_batches = (len(scaled) if whole is None else whole) > FULL_SWEEP
    if method == "kmeans" and rows == "degree" and not in_batches:
        for k, partition in kmeans.sweep(scaled, ks, seed=seed, rounds=rounds):
            found[k] = membership.by_size(partition.labels)
            progress.advance(k, f"at {k}")
    else:
        for k in ks:
            points = scaled[:, :k] if rows == "degree" else scaled_rows(vectors[:, :k], rows)
            if method == "kmeans" and in_batches:
                labels = _in_batches(points, k, seed=seed)
            elif method == "kmeans":
                [(_, partition)] = kmeans.sweep(points, [k], seed=seed, rounds=rounds)
                labels = partition.labels
            elif method == "restarts":
                state = integer(seed, Purpose.RESTARTS, k)
                from sklearn.cluster import KMeans  # more than a second, which no other method needs

                labels = KMeans(k, n_init=restarts, random_state=state, copy_x=False).fit(points.copy()).labels_
            elif method == "cluster_qr":
                labels = cluster_qr(vectors[:, :k])
            else:
                labels = discretize(vectors[:, :k], seed=seed)
            found[k] = membership.by_size(labels)
            progress.advance(k, f"at {k}")
    progress.done()
    return found


@dataclass(frozen=True)
class Assignment:
    """How labels are made from eigenvectors (`assign`), for data, halves, null models and simulations alike.

    `graph` is what the eigenvectors are of (`quanta.clustering.graph`): the paper's angular similarities, nearest neighbours, or
    `linkage`, a tree in place of eigenvectors, which only `main_line` can cut.
    """

    method: str = "kmeans"
    rows: str = "degree"
    restarts: int = 30
    graph: str = "angular"

    @classmethod
    def of(cls, params: Any) -> "Assignment":
        """The same from a rule's params of these names; without `graph` it is the paper's."""
        names = [name for name in cls.__dataclass_fields__ if name != "graph" or hasattr(params, name)]
        return cls(**{name: getattr(params, name) for name in names})

    @property
    def seedless(self) -> bool:
        """Whether there is no seed that alters the labels, and no eigenvectors that they are made of."""
        return self.graph == "linkage"

    def __call__(self, vectors: Float[Array, "token k"], n_clusters: Sequence[int], **how: Any) -> dict[int, Array]:
        """`assign`, given the rest of its settings: seed, rounds, whole."""
        return assign(vectors, n_clusters, method=self.method, rows=self.rows, restarts=self.restarts, **how)

    def as_json(self) -> dict[str, Any]:
        """Plain data; `graph` where it is not the paper's."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("graph", "angular")}


MAIN = Assignment()


def _in_batches(points: Array, k: int, *, seed: int) -> Int[Array, " token"]:
    state = integer(seed, Purpose.MINI_BATCHES, k)
    # sampled points seed it: k-means++ over all tokens would cost more than the clustering
    from sklearn.cluster import MiniBatchKMeans

    fit = MiniBatchKMeans(
        k, n_init=3, init_size=max(6 * k, 3000), batch_size=4096, max_iter=60, random_state=state
    ).fit(np.ascontiguousarray(points, dtype=np.float32))
    return np.asarray(fit.labels_)


def cluster(
    vectors: Array,
    n_clusters: Sequence[int],
    *,
    method: str = "kmeans",
    rows: str = "degree",
    restarts: int = 30,
    seed: int = 0,
) -> pd.DataFrame:
    """`assign` as a table.

    Returns:
        columns n_clusters, token, label. Labels are by falling size: 0 is the largest cluster.
    """
    return membership.as_table(assign(vectors, n_clusters, method=method, rows=rows, restarts=restarts, seed=seed))
