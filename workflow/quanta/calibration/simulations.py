"""Simulations of planted quanta, and the summaries that data and simulations are both boiled down to.

The same number is the same draw, whichever job makes it. `quanta.calibration.shipped` has those of the default settings ready. docs/calibration.md.
"""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from quanta.arrays import Array, Float
from quanta.calibration import planted
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.rank_frequency import collisions
from quanta.streams import Purpose, generator

THRESHOLDS = (0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
GRAPHS = (0.3, 0.5, 0.7)  # thresholds whose graph is taken apart into components
FLOOR = 1e-6  # of a share, before its logarithm
EIGENVALUES = (1, 2, 3, 5, 8, 13, 21, 34)
NEIGHBOURS = (1, 5, 20)
DIMENSION = 512  # of planted vectors


def summaries(cosines: Float[Array, "token token"]) -> dict[str, float]:
    """What is known of α from cosines (N, N): about a hundred numbers.

    Tokens may come in any order. Only growth, whose half of the tokens is drawn by place, and the spectrum, whose iteration starts from
    fixed vectors, feel their order, and far less than simulations differ. `error_…` are standard errors of shares of pairs
    (`collisions.standard_error`), which are kept for intervals and no summaries.

    Raises:
        QuantaError: fewer than 40 tokens, or a cosine that is not finite.
    """
    n = len(cosines)
    if n < 40:
        raise QuantaError("qdg/affinity.npy", f"{n} tokens", "at least 40", "raise qdg.tokens or qdg.threshold")
    counts = collisions.count(cosines, np.array(THRESHOLDS))
    null = collisions.empirical_null(counts)
    found = {"mode": null.mode, "sd": null.sd, "excess": _log(null.excess)}
    found["above_4_sd"] = _log(collisions.pair_share(counts, null.mode + 4 * null.sd, null))
    found["above_6_sd"] = _log(collisions.pair_share(counts, null.mode + 6 * null.sd, null))
    for threshold, degrees in zip(THRESHOLDS, counts.degrees, strict=True):
        pair = collisions.pair_share(counts, threshold, null)
        triple = collisions.triple_share(degrees, 0.0)
        found[f"pairs_{threshold}"] = _log(pair)
        found[f"triples_{threshold}"] = _log(triple) - 1.5 * _log(pair)
        found[f"error_{threshold}"] = collisions.standard_error(degrees)
        if threshold in GRAPHS:
            for q in (0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
                found[f"degree_{threshold}_{q}"] = float(np.log10(1 + np.quantile(degrees, q)))
            law = collisions.alpha_from_degrees(degrees)
            found[f"degree_law_{threshold}"] = float(np.clip(law, -1, 4)) if np.isfinite(law) else -1.0
    found |= _neighbours(cosines) | _components(cosines) | _spectrum(cosines)
    return found


def _log(share: float) -> float:
    return float(np.log10(max(share, FLOOR)))


def _neighbours(cosines: Array) -> dict[str, float]:
    n, most = len(cosines), max(NEIGHBOURS)
    nearest = np.empty((n, most), dtype=np.float32)
    for begin in range(0, n, 512):
        rows = np.array(cosines[begin : begin + 512], dtype=np.float32)
        rows[np.arange(len(rows)), begin + np.arange(len(rows))] = -2
        nearest[begin : begin + len(rows)] = -np.sort(np.partition(-rows, most - 1, axis=1)[:, :most], axis=1)
    return {
        f"neighbour_{m}_{q}": float(np.quantile(nearest[:, m - 1], q))
        for m in NEIGHBOURS
        for q in (0.05, 0.25, 0.5, 0.75, 0.95)
    }


def _components(cosines: Array) -> dict[str, float]:
    """Number and largest share of the components of the threshold graph, and how the number grows with N.

    Growth compares with half of the tokens, drawn once for each N: every other token of a corpus would be no random half.
    """
    matrix, n, found = np.asarray(cosines), len(cosines), {}
    half = np.sort(generator(0, Purpose.SUMMARY_HALF).permutation(n)[: n // 2])
    for threshold in GRAPHS:
        above = matrix > threshold
        number, label = _parts(above)
        fewer, _ = _parts(above[np.ix_(half, half)])
        found[f"components_{threshold}"] = float(np.log10(number / n))
        found[f"largest_component_{threshold}"] = _log(np.bincount(label).max() / n)
        found[f"growth_{threshold}"] = float(np.log2(number / fewer))
    return found


def _parts(above: Array) -> tuple[int, Array]:
    """Number of components of a symmetric graph and the component of each node."""
    n = len(above)
    ends = np.concatenate([[0], np.cumsum(np.count_nonzero(above, axis=1))]).astype(np.int32)
    columns = (np.flatnonzero(above) % n).astype(np.int32)
    graph = csr_array((np.ones(len(columns)), columns, ends), shape=(n, n))
    # of a symmetric graph strong components are its components, found without its transpose
    number, label = connected_components(graph, directed=True, connection="strong")
    return int(number), label


def _spectrum(cosines: Array) -> dict[str, float]:
    """Leading eigenvalues of the cosine matrix over N, by a few steps of block power iteration from fixed vectors.

    And collisions among tokens projected on the eigenvectors, which keeps frequent quanta and drops most noise.
    """
    n, wanted = len(cosines), max(EIGENVALUES)
    matrix = np.asarray(cosines, dtype=np.float32)
    basis = generator(0, Purpose.SUMMARY_SPECTRUM).standard_normal((n, min(wanted + 14, n)), dtype=np.float32)
    for _ in range(3):
        basis = np.linalg.qr(matrix @ basis)[0]
    small = basis.T @ (matrix @ basis)
    values, turn = np.linalg.eigh((small + small.T) / 2)
    found = {f"eigenvalue_{j}": _log(float(values[-j]) / n) for j in EIGENVALUES if j <= len(values)}
    points = (basis @ turn) * np.sqrt(np.maximum(values, 0))
    found["kept_length"] = float(np.mean(np.einsum("ij,ij->i", points, points)))
    points -= points.mean(axis=0)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    projected = points @ points.T
    np.fill_diagonal(projected, -2)
    for threshold in GRAPHS:
        degrees = np.count_nonzero(projected > threshold, axis=1)
        pair = _log(float(degrees.mean() / (n - 1)))
        found[f"denoised_pairs_{threshold}"] = pair
        found[f"denoised_triples_{threshold}"] = _log(collisions.triple_share(degrees, 0.0)) - 1.5 * pair
        found[f"error_denoised_{threshold}"] = collisions.standard_error(degrees)
        law = collisions.alpha_from_degrees(degrees)
        found[f"denoised_degree_law_{threshold}"] = float(np.clip(law, -1, 4)) if np.isfinite(law) else -1.0
    return found


def simulate(numbers: Sequence[int], n_tokens: int, *, seed: int, dimension: int = DIMENSION) -> pd.DataFrame:
    """Draws from the prior by number: the same number is the same draw, whichever job makes it.

    Returns:
        a row each: columns `simulation`, the settings as `planted_…`, and the summaries.
    """
    progress = Progress("simulations", len(numbers), "simulations")
    rows = []
    for number in numbers:
        rng = generator(seed, Purpose.SIMULATION, number)
        settings = planted.from_prior(n_tokens, rng, dimension)
        x = planted.draw(settings, rng).features
        cosines = x @ x.T
        np.clip(cosines, -1, 1, out=cosines)
        known = {f"planted_{name}": value for name, value in asdict(settings).items()}
        rows.append({"simulation": number} | known | summaries(cosines))
        progress.advance()
    progress.done()
    return pd.DataFrame(rows)


def summary_names(simulations: pd.DataFrame) -> list[str]:
    """Columns that hold summaries."""
    return [c for c in simulations.columns if c != "simulation" and not c.startswith(("planted_", "error_"))]
