"""Fidelity of projected gradients against exact ones on a trained model: Markdown tables.

Fold, CountSketch and dense projection by number of features k: RMSE of the cosine, share of the 10 nearest neighbours
kept, slope of the rank-frequency envelope; the same for precisions and parameter sets; each module's share of the
squared norm.
"""

import argparse
import logging
import os
import time
from collections import defaultdict
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from _trained import chosen, trained
from quanta.affinity import cosine
from quanta.clustering import assignment, spectral
from quanta.gradients.parameter_sets import parameter_set
from quanta.gradients.token_gradients import token_gradients
from quanta.rank_frequency import zipf

N_CLUSTERS = [10, 20, 30, 40, 60, 80, 100]
NEIGHBOURS = 10


def cosines(rows: np.ndarray) -> np.ndarray:
    out = np.empty((len(rows), len(rows)), dtype=np.float32)
    cosine.cosine([rows], out)
    return out


def count_sketch(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Each element to a random feature with a random sign."""
    rng = np.random.default_rng([seed, 7])
    places = torch.from_numpy(rng.integers(0, k, size=rows.shape[1]))
    signs = torch.from_numpy(rng.integers(0, 2, size=rows.shape[1]).astype(np.float32) * 2 - 1)
    return torch.zeros(len(rows), k).index_add_(1, places, torch.from_numpy(rows) * signs).numpy()


def dense(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    """A matrix of random signs, made by parts."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.zeros(len(rows), k)
    for part in torch.from_numpy(rows).split(8192, dim=1):
        out += part @ (torch.randint(0, 2, (part.shape[1], k), generator=generator) * 2 - 1).float()
    return out.numpy()


def nearest(matrix: np.ndarray) -> list[set[int]]:
    away = matrix - 2 * np.eye(len(matrix), dtype=np.float32)
    return [set(row.tolist()) for row in np.argpartition(-away, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]]


def slope(matrix: np.ndarray) -> float:
    vectors, _ = spectral.embedding(cosine.angular(matrix), max(N_CLUSTERS))
    labels = assignment.cluster(vectors, N_CLUSTERS, restarts=3, seed=0)
    curve = zipf.envelope([zipf.sizes(part["label"].to_numpy()) for _, part in labels.groupby("n_clusters")])
    return zipf.slope(curve, *zipf.rank_range(len(matrix), (0.01, 0.1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sizes", default="1021,4093,16381,65537", help="numbers of features")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model, tokens = trained()
    picked = chosen(model, tokens, options.tokens)
    where = (picked["document"].to_numpy(), picked["position"].to_numpy())
    logging.getLogger("quanta").setLevel(logging.WARNING)

    def ours(**settings: Any) -> np.ndarray:
        return token_gradients(model, tokens, *where, **settings)[0]

    exact = ours(features=None)
    exact /= np.linalg.norm(exact.astype(np.float64), axis=1, keepdims=True).astype(np.float32)
    truth = cosines(exact)
    near, off = nearest(truth), ~np.eye(len(truth), dtype=bool)
    print(f"{len(truth)} tokens of neox-450k, {exact.shape[1]} parameters, {time.strftime('%Y-%m-%d')}")
    print("\n| features | k | RMSE | RMSE·√k | neighbours kept | envelope slope |\n|---|---|---|---|---|---|")
    print(f"| exact | {exact.shape[1]} | 0 | 0 | 1 | {slope(truth):.3f} |", flush=True)

    def row(label: str, k: int, made: list[np.ndarray]) -> None:
        errors, kept, slopes = [], [], []
        for rows in made:
            found = cosines(rows)
            errors.append(np.mean((found - truth)[off].astype(np.float64) ** 2))
            kept.append(np.mean([len(a & b) / NEIGHBOURS for a, b in zip(near, nearest(found), strict=True)]))
            slopes.append(slope(found))
        rmse = np.sqrt(np.mean(errors))
        spread = f" ± {np.std(slopes, ddof=1):.3f}" if len(slopes) > 1 else ""
        root = f"{rmse * np.sqrt(k):.2f}" if label in ("fold", "CountSketch", "dense") else ""
        print(
            f"| {label} | {k} | {rmse:.2g} | {root} | {np.mean(kept):.3f} | {np.mean(slopes):.3f}{spread} |", flush=True
        )

    for k in map(int, options.sizes.split(",")):
        seeds = range(options.seeds)
        row("fold", k, [ours(features=k, seed=s) for s in seeds])
        row("CountSketch", k, [count_sketch(exact, k, s) for s in seeds])
        if k < 2000:  # 4,093 rows of signs take some minutes
            row("dense", k, [dense(exact, k, s) for s in seeds])
    row("bfloat16 autocast, exact", exact.shape[1], [ours(features=None, precision="bfloat16")])
    for kind in ("clean", "all"):
        other = ours(features=None, parameters=kind)
        row(f"parameter set `{kind}`, exact", other.shape[1], [other])
    half = exact * np.float32(np.sqrt(exact.shape[1]))
    row("exact, stored as float16", exact.shape[1], [half.astype(np.float16).astype(np.float32)])

    shares: dict[str, list[float]] = defaultdict(list)
    for name, place in parameter_set(model).places().items():
        kind = name.split(".layers.")[-1].split(".", 1)[-1] if ".layers." in name else name
        shares[kind].append(float(np.mean(np.sum(exact[:, place].astype(np.float64) ** 2, axis=1))))
    print("\n| parameters | share of the squared norm | by block, first to last |\n|---|---|---|")
    for kind, parts in sorted(shares.items(), key=lambda item: -sum(item[1])):
        print(f"| {kind} | {sum(parts):.4f} | {' '.join(f'{part:.4f}' for part in parts)} |")


if __name__ == "__main__":
    main()
