"""What sampling and selection alone do to the exponent, on quanta that are known: no features, no clustering.

    PYTHONPATH=workflow python tests/benchmarks/laws.py

First table: the paper's fit to the true cluster sizes, ranks 100 to 1000, N = 10,000 tokens, K = 20,000 quanta. Second: α by
collisions of true quanta, N = 2,000, among all tokens and among those that a selection by loss keeps. Means ± standard
deviations over 20 draws.
"""

import numpy as np
from quanta.calibration import planted
from quanta.rank_frequency import collisions, zipf

DRAWS = 20


def shown(values: list[float]) -> str:
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def alpha_of(quantum: np.ndarray, n_quanta: int) -> float:
    sizes = np.bincount(quantum)
    n = len(quantum)
    return collisions.invert(float((sizes * (sizes - 1.0)).sum() / (n * (n - 1.0))), n_quanta)


def main() -> None:
    print("| α | −(α+1) | fit to the true sizes | size at rank 100 | size at rank 1000 |\n|---|---|---|---|---|")
    for alpha in (0.0, 0.083, 0.2, 0.4, 0.6, 0.8, 1.0):
        slopes, at = [], []
        for draw in range(DRAWS):
            rng = np.random.default_rng([draw, round(alpha * 1000)])
            sizes = zipf.sizes(rng.choice(20_000, 10_000, p=planted.frequencies(alpha, 20_000)))
            slopes.append(zipf.slope(sizes, 100, 1000))
            at.append((sizes[99], sizes[999] if len(sizes) > 999 else 0))
        means = np.mean(at, axis=0)
        print(f"| {alpha} | {-alpha - 1:.2f} | {shown(slopes)} | {means[0]:.1f} | {means[1]:.1f} |")
    print(
        "\n| α | learned quanta | slope of the loss in rank | kept | α of all | α of the kept, K = 20,000 | K = learned |"
    )
    print("|---|---|---|---|---|---|---|")
    for alpha in (0.083, 0.4):
        for learned in (100, 1000):
            for slope in (0.0, 0.3, 1.0):
                found: dict[str, list[float]] = {"all": [], "kept": [], "known": [], "share": []}
                for draw in range(DRAWS):
                    rng = np.random.default_rng([draw, learned, round(slope * 10), round(alpha * 1000)])
                    quantum = rng.choice(20_000, 40_000, p=planted.frequencies(alpha, 20_000))
                    kept = quantum[planted.low_loss(quantum, rng, learned=learned, slope=slope)]
                    found["share"].append(len(kept) / len(quantum))
                    found["all"].append(alpha_of(quantum[:2000], 20_000))
                    found["kept"].append(alpha_of(kept[:2000], 20_000))
                    found["known"].append(alpha_of(kept[:2000], learned))
                print(
                    f"| {alpha} | {learned} | {slope} | {np.mean(found['share']):.0%} | {shown(found['all'])} "
                    f"| {shown(found['kept'])} | {shown(found['known'])} |"
                )


if __name__ == "__main__":
    main()
