"""The nearest-neighbour path: CPU seconds of its pieces against N, and agreement with the dense path by neighbours.

    PYTHONPATH=workflow python tests/benchmarks/neighbours.py cost [N ...]        4,096 features, 50 neighbours, N/20 clusters up to 300
    PYTHONPATH=workflow python tests/benchmarks/neighbours.py agreement [N]       adjusted Rand index, beside that of two seeds

One core. Input: planted quanta, α = 0.2, strength 0.6.
"""

import resource
import sys
import time
from itertools import pairwise

import numpy as np
import torch
from quanta.affinity import cosine as affinity_cosine
from quanta.calibration import planted
from quanta.clustering import assignment, neighbours, spectral
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits


def data(n: int, dimension: int) -> planted.Planted:
    settings = planted.Settings(n_tokens=n, alpha=0.2, strength=0.6, dimension=dimension)
    return planted.draw(settings, np.random.default_rng(0))


def cost(sizes: list[int]) -> None:
    print("| N | k | neighbours | graph | eigenvectors | k-means | all | peak GB |\n|---|---|---|---|---|---|---|---|")
    taken: list[float] = []
    for n in sizes:
        x, k = data(n, 4096).features, min(n // 20, 300)
        marks = [time.process_time()]
        index, cosine = neighbours.nearest(x, 50)
        marks.append(time.process_time())
        graph, unit = neighbours.graph(index, cosine, linear=True), affinity_cosine.unit_rows(x)
        marks.append(time.process_time())
        vectors, _, _ = neighbours.embedding(graph, k, unit=unit)
        marks.append(time.process_time())
        assignment.assign(vectors, [k], seed=0)
        marks.append(time.process_time())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"| {n} | {k} | "
            + " | ".join(f"{s:.1f}" for s in [*np.diff(marks), marks[-1] - marks[0]])
            + f" | {peak:.1f} |",
            flush=True,
        )
        taken.append(marks[-1] - marks[0])
    for (n, before), (m, after) in pairwise(zip(sizes, taken, strict=True)):
        print(f"from N = {n} to {m} the cost grows as N^{np.log(after / before) / np.log(m / n):.2f}")


def agreement(n: int) -> None:
    x, ks = data(n, 512), [n // 50, n // 20]
    cosines = np.clip(x.features @ x.features.T, -1, 1)
    vectors, _ = spectral.embedding(affinity_cosine.angular((cosines + cosines.T) / 2), ks[-1])
    dense = [assignment.assign(vectors, ks, seed=seed) for seed in (0, 1)]
    print("| N | neighbours | " + " | ".join(f"adjusted Rand, k = {k}" for k in ks) + " |\n|---|---|---|---|")
    scores = [adjusted_rand_score(dense[0][k], dense[1][k]) for k in ks]
    print(f"| {n} | dense, two seeds | " + " | ".join(f"{s:.3f}" for s in scores) + " |", flush=True)
    for m in (10, 30, 100, 300):
        graph = neighbours.graph(*neighbours.nearest(x.features, m))
        plain = assignment.assign(neighbours.embedding(graph, ks[-1])[0], ks, seed=0)
        print(
            f"| {n} | {m}, without the features | "
            + " | ".join(f"{adjusted_rand_score(dense[0][k], plain[k]):.3f}" for k in ks)
            + " |",
            flush=True,
        )
        found = neighbours.cluster(x.features, ks, neighbours=m, seed=0)
        print(
            f"| {n} | {m} | " + " | ".join(f"{adjusted_rand_score(dense[0][k], found[k]):.3f}" for k in ks) + " |",
            flush=True,
        )


def main() -> None:
    torch.set_num_threads(1)
    what, numbers = (sys.argv[1], list(map(int, sys.argv[2:]))) if len(sys.argv) > 1 else ("both", [])
    with threadpool_limits(1):
        if what in ("cost", "both"):
            cost(numbers or [1000, 3000])
        if what in ("agreement", "both"):
            agreement(numbers[0] if numbers else 1000)


if __name__ == "__main__":
    main()
