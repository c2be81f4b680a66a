"""K-means for a rising list of cluster counts over one spectral embedding.

Where the time of a sweep goes is the matrix product of points and centres. So distances of all points to all centres
are kept, and only those to centres that moved are computed anew (float32 BLAS); centres are means in float64. Instead
of many restarts, one solution is improved: each k starts from the solution at the next smaller k, new centres are drawn as in
k-means++ given the old ones (Arthur and Vassilvitskii 2007), and the result breathes (Fritzke 2020): centres are
added where the error is largest, as many of the least useful are taken away, and what does not lower the inertia is
undone. docs/clustering.md holds times and inertias against 30 restarts of scikit-learn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from quanta.arrays import Array, Float, Float32, Int
from quanta.clustering.membership import one_hot
from quanta.errors import QuantaError
from quanta.streams import Purpose, generator

SAME_POINT = 2e-6  # of a squared norm: below it a squared distance is float32 rounding
MOST_STEPS = 100
ROUNDS = 8  # of breathing
TRIALS = 4
FRESH_STARTS = 128  # over k, at most 10: where k is small, starts are cheap and warm ones may mislead


@dataclass(frozen=True)
class Partition:
    """One clustering: labels (point,), centres (k, feature) in float64, inertia Σ|x − c|²."""

    labels: Int[Array, " point"]
    centres: Float[Array, "cluster feature"]
    inertia: float


class _State:
    """Points in k dimensions, centres, and scores |c|² − 2 x·c, which order centres as squared distances do."""

    def __init__(self, points: Float[Array, "point feature"]) -> None:
        self.points = points
        self.single = points.astype(np.float32)
        self.squares = np.einsum("ij,ij->i", points, points)
        self.mean_square = float(self.squares.mean())
        self.centres = np.empty((0, points.shape[1]))
        self.scores = np.empty((len(points), 0), dtype=np.float32)
        self.labels = np.zeros(len(points), dtype=np.int64)
        self.nearest = np.full(len(points), np.inf)

    def copy(self) -> tuple[Array, ...]:
        return self.centres.copy(), self.scores.copy(), self.labels.copy(), self.nearest.copy()

    def restore(self, saved: tuple[Array, ...]) -> None:
        self.centres, self.scores, self.labels, self.nearest = saved

    def _columns(self, centres: Array) -> Float32[Array, "point cluster"]:
        product: Array = self.single @ (-2 * centres.T.astype(np.float32))
        product += np.einsum("ij,ij->i", centres, centres).astype(np.float32)
        return product

    def add(self, centres: Array) -> None:
        """More centres; each point goes to its nearest."""
        self.centres = np.concatenate([self.centres, centres])
        self.scores = np.concatenate([self.scores, self._columns(centres)], axis=1)
        self.assign()

    def remove(self, which: Array) -> None:
        keep = np.ones(len(self.centres), dtype=bool)
        keep[which] = False
        self.centres, self.scores = self.centres[keep], np.ascontiguousarray(self.scores[:, keep])
        self.assign()

    def assign(self) -> None:
        self.labels = self.scores.argmin(axis=1)
        best = self.scores[np.arange(len(self.labels)), self.labels]
        self.nearest = np.maximum(self.squares + best, 0)

    def errors(self) -> Float[Array, " cluster"]:
        """Each cluster's share of the inertia."""
        return np.bincount(self.labels, weights=self.nearest, minlength=len(self.centres))

    def seed(self, number: int, rng: np.random.Generator) -> None:
        """`number` points as further centres: k-means++ given those there are, the best of a few trials each."""
        for _ in range(number):
            apart = self.nearest > SAME_POINT * np.maximum(self.squares, self.mean_square)
            mass = np.cumsum(np.where(apart, self.nearest, 0) if len(self.centres) else np.ones(len(self.points)))
            if mass[-1] <= 0:
                raise QuantaError(
                    "k-means",
                    f"only {len(self.centres)} distinct rows among {len(self.points)} points",
                    "at least as many as clusters",
                    "lower the largest of qdg.n_clusters, or drop duplicate tokens",
                )
            trials = np.searchsorted(mass, rng.random(TRIALS) * mass[-1], side="right").clip(max=len(mass) - 1)
            columns = self._columns(self.points[trials])
            distances = np.maximum(self.squares[:, None] + columns, 0)
            if len(self.centres):
                np.minimum(distances, self.nearest[:, None], out=distances)
            best = int(distances.sum(axis=0).argmin())
            self.centres = np.concatenate([self.centres, self.points[trials[best]][None]])
            self.nearest = distances[:, best]
        self.scores = np.concatenate([self.scores, self._columns(self.centres[self.scores.shape[1] :])], axis=1)
        self.assign()

    def lloyd(self, most: int = MOST_STEPS, tolerance: float = 1e-5) -> float:
        """Move centres to their means until none moves or the inertia falls by less than `tolerance` of itself a step."""
        n, k = self.scores.shape
        before = np.inf
        # centres whose members may have changed since they were means; at first all
        old = np.full(n, -1)
        for _ in range(most):
            gone = np.flatnonzero(np.bincount(self.labels, minlength=k) == 0)
            if len(gone):
                # an empty cluster takes the point that is worst off
                self.labels[np.argsort(-self.nearest, kind="stable")[: len(gone)]] = gone
            changed = np.flatnonzero(self.labels != old)
            if not len(changed):
                break
            touched = np.zeros(k + 1, dtype=bool)  # the last for points that had no cluster, −1
            touched[self.labels[changed]] = touched[old[changed]] = True
            moved = np.flatnonzero(touched[:k])
            old = self.labels.copy()
            self._to_means(moved)
            self.scores[:, moved] = self._columns(self.centres[moved])
            self.assign()
            now = float(self.nearest.sum())
            if before - now < tolerance * now:
                break
            before = now
        return float(self.nearest.sum())

    def _to_means(self, which: Array) -> None:
        rank = np.full(len(self.centres), -1)
        rank[which] = np.arange(len(which))
        rows = np.flatnonzero(rank[self.labels] >= 0)
        own = rank[self.labels[rows]]
        counts = np.bincount(own, minlength=len(which))
        # in order of their cluster, as a sparse matrix stores them: scipy would take twice the time to sort and check them
        ordered, ends = rows[np.argsort(own, kind="stable")], np.concatenate([[0], np.cumsum(counts)])
        sums = sp.csr_array((np.ones(len(rows)), ordered, ends), shape=(len(which), len(self.labels))) @ self.points
        filled = counts > 0
        self.centres[which[filled]] = sums[filled] / counts[filled][:, None]

    def usefulness(self) -> Float[Array, " cluster"]:
        """By how much the inertia would rise if a cluster's points went to their second nearest centres."""
        n = len(self.labels)
        rows = np.arange(n)
        own = self.scores[rows, self.labels].copy()
        self.scores[rows, self.labels] = np.inf
        second = self.scores.min(axis=1)
        self.scores[rows, self.labels] = own
        return np.bincount(self.labels, weights=(second - own).astype(np.float64), minlength=len(self.centres))

    def breathe(self, rng: np.random.Generator, rounds: int) -> None:
        """Add centres where the error is largest, take as many of the least useful away; keep what lowers the inertia."""
        k = len(self.centres)
        number = max(min(k // 8, 64), 1)
        best, failures = float(self.nearest.sum()), 0
        for _ in range(rounds):
            saved = self.copy()
            worst = np.argsort(-self.errors(), kind="stable")[:number]
            new = []
            for cluster in worst:
                members = np.flatnonzero(self.labels == cluster)
                mass = np.cumsum(self.nearest[members])
                if len(members) > 1 and mass[-1] > 0:
                    new.append(members[np.searchsorted(mass, rng.random() * mass[-1]).clip(max=len(members) - 1)])
            if not new:
                return
            self.add(self.points[new])
            self.lloyd(most=4)
            self._shed(len(self.centres) - k)
            now = self.lloyd()
            if now < best * (1 - 1e-6):
                failures = failures if now > best * (1 - 1e-4) else 0
                best = now
            else:
                self.restore(saved)
                failures += 1
            if failures >= 3 and number == 1:
                return
            if failures:
                number = max(number // 2, 1)

    def _shed(self, number: int) -> None:
        """Drop the least useful centres, no two that stand in for each other at once."""
        while number > 0:
            order = np.argsort(self.usefulness(), kind="stable")
            spread = np.einsum("ij,ij->i", self.centres, self.centres)
            chosen: list[int] = []
            barred: set[int] = set()
            for cluster in order[: 3 * number]:
                if len(chosen) == number:
                    break
                if int(cluster) in barred:
                    continue
                chosen.append(int(cluster))
                gaps = spread - 2 * self.centres @ self.centres[cluster]
                gaps[cluster] = np.inf
                barred.add(int(gaps.argmin()))
            self.remove(np.array(chosen))
            number -= len(chosen)


def sweep(
    rows: Float[Array, "point feature"], n_clusters: Sequence[int], *, seed: int, rounds: int = ROUNDS
) -> Iterator[tuple[int, Partition]]:
    """K-means on the first k columns of `rows` for every k of a rising list, each from the one before.

    The same list gives the same labels whatever the number of threads; a k's labels depend on the smaller ks of the list.
    `rounds` is how often a solution breathes; 0 is plain k-means from a warm start.

    Raises:
        QuantaError: k is above the number of distinct rows, or of columns, or the list does not rise.
    """
    ks = list(n_clusters)
    if ks != sorted(set(ks)) or not ks or ks[0] < 1 or ks[-1] > rows.shape[1]:
        raise QuantaError(
            "qdg.n_clusters",
            f"{ks} over an embedding of {rows.shape[1]} columns",
            "rising numbers from 1 to the number of columns",
            "sort the list, or compute more eigenvectors",
        )
    labels: Array | None = None
    for k in ks:
        rng = generator(seed, Purpose.KMEANS, k)
        state = _State(np.ascontiguousarray(rows[:, :k], dtype=np.float64))
        empty, best, kept = state.copy(), np.inf, state.copy()
        fresh = min(FRESH_STARTS // k, rounds + 2, 10) if rounds else 0
        for start in range(fresh + (labels is not None or not fresh)):
            state.restore(empty)
            if start == fresh and labels is not None:
                counts = np.bincount(labels)
                sums = one_hot(labels) @ state.points
                state.add(sums / counts[:, None])
            state.seed(k - len(state.centres), rng)
            state.lloyd()
            state.breathe(rng, rounds if k > 1 else 0)
            if (now := float(state.nearest.sum())) < best:
                best, kept = now, state.copy()
        state.restore(kept)
        state.lloyd(tolerance=0)
        labels = state.labels
        state._to_means(np.arange(k))
        inertia = float(((state.points - state.centres[labels]) ** 2).sum())
        yield k, Partition(labels, state.centres, inertia)
