"""Which rows and which assignment find planted clusters: adjusted Rand index against the truth.

    PYTHONPATH=workflow python tests/benchmarks/rows.py [N]

α = 0.2, K = 20,000; k is N/20 and N/8. Means over 3 draws. `purity` is the share of tokens in a cluster whose commonest quantum is theirs.
"""

import sys

import numpy as np
from quanta.affinity import cosine
from quanta.calibration import planted
from quanta.catalogue import composition
from quanta.clustering import assignment, spectral
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

CHOICES = (("kmeans", "degree"), ("kmeans", "unit"), ("cluster_qr", "degree"), ("discretize", "degree"))


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print("| strength | k | assignment | rows | adjusted Rand | purity |\n|---|---|---|---|---|---|")
    with threadpool_limits(1):
        for strength in (0.8, 0.5, 0.3):
            found: dict[tuple[int, str, str], list[tuple[float, float]]] = {}
            for draw in range(3):
                settings = planted.Settings(n_tokens=n, alpha=0.2, strength=strength)
                x = planted.draw(settings, np.random.default_rng([draw, 1]))
                cosines = np.clip(x.features @ x.features.T, -1, 1)
                vectors, _ = spectral.embedding(cosine.angular((cosines + cosines.T) / 2), n // 8)
                for method, rows in CHOICES:
                    for k, labels in assignment.assign(vectors, [n // 20, n // 8], method=method, rows=rows).items():
                        share = np.average(composition.purity(labels, x.quantum), weights=np.bincount(labels))
                        score = adjusted_rand_score(x.quantum, labels)
                        found.setdefault((k, method, rows), []).append((score, share))
            for (k, method, rows), values in sorted(found.items()):
                score, share = np.mean(values, axis=0)
                print(f"| {strength} | {k} | {method} | {rows} | {score:.3f} | {share:.3f} |", flush=True)


if __name__ == "__main__":
    main()
