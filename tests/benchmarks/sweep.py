"""Sweep over the paper's list of cluster counts against scikit-learn, one part a call so that each is short.

    PYTHONPATH=workflow python tests/benchmarks/sweep.py make 10000      the affinity, kept in the folder of temporary files
    PYTHONPATH=workflow python tests/benchmarks/sweep.py embedding 10000  our eigendecomposition, once for all k
    PYTHONPATH=workflow python tests/benchmarks/sweep.py ours 10000       our k-means, the whole list
    PYTHONPATH=workflow python tests/benchmarks/sweep.py means 10000 K R  scikit-learn's KMeans at K with R restarts
    PYTHONPATH=workflow python tests/benchmarks/sweep.py peer 10000 K     scikit-learn's SpectralClustering at K, 30 restarts
    PYTHONPATH=workflow python tests/benchmarks/sweep.py                  all of it at N = 1,000

One core, CPU seconds: what a free core takes. Input: planted quanta (α = 0.2, strength 0.5), angular affinity.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from quanta.affinity import cosine
from quanta.calibration import planted
from quanta.clustering import assignment, kmeans, spectral
from sklearn.cluster import KMeans, SpectralClustering
from threadpoolctl import threadpool_limits

PAPER = [*range(10, 101, 10), *range(125, 301, 25), 350, *range(400, 1101, 100)]
FOLDER = Path(tempfile.gettempdir()) / "quanta-benchmark"


def counts(n: int) -> list[int]:
    """The paper's list, as far as it goes below N/9."""
    return [k for k in PAPER if k <= n // 9]


def make(n: int) -> None:
    FOLDER.mkdir(exist_ok=True)
    x = planted.draw(planted.Settings(n_tokens=n, alpha=0.2, strength=0.5), np.random.default_rng(0)).features
    np.save(FOLDER / f"cosines{n}.npy", np.clip(x @ x.T, -1, 1))


def similarity(n: int) -> np.ndarray:
    matrix = cosine.angular(np.load(FOLDER / f"cosines{n}.npy"))
    return (matrix + matrix.T) / 2


def embedding(n: int) -> None:
    matrix = similarity(n)
    began = time.process_time()
    vectors, _ = spectral.embedding(matrix, max(counts(n)))
    print(f"| embedding, k = {max(counts(n))} | {time.process_time() - began:.1f} | |", flush=True)
    np.save(FOLDER / f"vectors{n}.npy", vectors)


def ours(n: int) -> None:
    rows = assignment.scaled_rows(np.load(FOLDER / f"vectors{n}.npy"))
    for rounds in (0, 8):
        began = time.process_time()
        for k, partition in kmeans.sweep(rows, counts(n), seed=0, rounds=rounds):
            print(
                f"| ours, {rounds} rounds, up to k = {k} | {time.process_time() - began:.1f} | {partition.inertia:.6g} |",
                flush=True,
            )


def means(n: int, k: int, restarts: int) -> None:
    rows = assignment.scaled_rows(np.load(FOLDER / f"vectors{n}.npy"))[:, :k].copy()
    began = time.process_time()
    fit = KMeans(k, n_init=restarts, random_state=0).fit(rows)
    print(
        f"| KMeans, k = {k}, {restarts} restarts | {time.process_time() - began:.1f} | {fit.inertia_:.6g} |", flush=True
    )


def peer(n: int, k: int) -> None:
    matrix = similarity(n)
    began = time.process_time()
    SpectralClustering(k, affinity="precomputed", n_init=30, random_state=0).fit(matrix)
    print(f"| SpectralClustering, k = {k} | {time.process_time() - began:.1f} | |", flush=True)


def main() -> None:
    what, numbers = (sys.argv[1], list(map(int, sys.argv[2:]))) if len(sys.argv) > 1 else ("all", [1000])
    n = numbers[0]
    with threadpool_limits(1):
        if what == "all":
            make(n)
            print("| part | CPU seconds | inertia |\n|---|---|---|")
            embedding(n)
            ours(n)
            for k in (10, 50, 100):
                means(n, k, 30)
                peer(n, k)
        else:
            {"make": make, "embedding": embedding, "ours": ours, "means": means, "peer": peer}[what](*numbers)


if __name__ == "__main__":
    main()
