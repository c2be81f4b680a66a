"""The sceptic's null models: cosines, or groups, that hold no skills, to be sent through the functions of the main line.

Each makes cosines (N, N) with unit diagonal, symmetric, or labels. A slope that a null shares says nothing about skills.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student_t

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Float32, Int
from quanta.calibration import regression, simulations
from quanta.clustering import spectral
from quanta.corpus.encoding import Tokens
from quanta.errors import QuantaError
from quanta.progress import Progress
from quanta.rank_frequency import zipf
from quanta.validation import stability

HALVES = 4  # halves of a sample of the tokens that give its slope's deviation
DRAWS = 12  # of as many of the data's tokens as a smaller null has
FEWEST = 40  # tokens that are worth clustering


def _cosines(features: Array) -> Float32[Array, "token token"]:
    unit = cosine.unit_rows(features)
    matrix = np.clip(unit @ unit.T, -1, 1)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1)
    return np.asarray(matrix, dtype=np.float32)


def gaussian(cosines: Float[Array, "token token"], rng: np.random.Generator) -> Float32[Array, "token token"]:
    """Gaussian vectors whose covariance has the spectrum of the data's cosine matrix: no clusters, the same directions' weight."""
    values = np.linalg.eigvalsh(np.asarray(cosines, dtype=np.float64))
    n = len(values)
    scale = np.sqrt(np.maximum(values, 0)).astype(np.float32)
    return _cosines(rng.standard_normal((n, n), dtype=np.float32) * scale)


def isotropic(n: int, dimension: int, rng: np.random.Generator) -> Float32[Array, "token token"]:
    """Gaussian vectors in `dimension` dimensions, all directions alike.

    Above N dimensions the Gram matrix is drawn as a Wishart matrix by its triangular factor (Bartlett 1933).
    """
    if dimension <= n:
        return _cosines(rng.standard_normal((n, dimension), dtype=np.float32))
    factor = np.tril(rng.standard_normal((n, n)), -1)
    factor[np.arange(n), np.arange(n)] = np.sqrt(rng.chisquare(dimension - np.arange(n)))
    return _cosines(factor)


def shuffled(features: Float32[Array, "token feature"], rng: np.random.Generator) -> Float32[Array, "token token"]:
    """Each feature's values dealt out anew among the unit rows: the same distribution of every feature, no token left.

    `features` may be memory-mapped.
    """
    length = cosine.lengths(features)[:, None]
    matrix = np.zeros((len(features), len(features)), dtype=np.float64)
    squares = np.zeros(len(features))
    for begin in range(0, features.shape[1], 4096):
        unit = np.asarray(features[:, begin : begin + 4096] / length, dtype=np.float32)
        block = rng.permuted(unit, axis=0)
        matrix += block @ block.T
        squares += np.einsum("ij,ij->i", block, block, dtype=np.float64)
    root = np.sqrt(np.maximum(squares, 1e-300))
    matrix = np.clip(matrix / root[:, None] / root[None, :], -1, 1)
    matrix = (matrix + matrix.T) / 2
    np.fill_diagonal(matrix, 1)
    return np.asarray(matrix, dtype=np.float32)


def grouped(
    cosines: Float[Array, "token token"], group: Int[Array, " token"], rng: np.random.Generator
) -> Float32[Array, "token token"]:
    """Clusters that are nothing but groups: one direction a group, as similar within and as spread between as the data are.

    The mean cosine within groups and the mean and deviation between them are the data's; all groups are alike.
    """
    matrix = np.asarray(cosines)
    n = len(matrix)
    names, own = np.unique(group, return_inverse=True)
    same = own[:, None] == own[None, :]
    np.fill_diagonal(same, False)
    between = matrix[~same & ~np.eye(n, dtype=bool)]
    if not len(between):
        raise QuantaError("null model", "all tokens in one group", "at least two groups", "leave this null out")
    shared = float(np.clip(np.median(between), 0, 0.9))
    within = float(np.clip(matrix[same].mean() if same.any() else shared, shared, 0.99))
    low, middle = np.quantile(between, [float(norm.cdf(-1)), 0.5])
    dimension = int(np.clip((1 - shared) ** 2 / max(middle - low, 1e-3) ** 2, 16, 4096))
    noise = rng.standard_normal((n, dimension), dtype=np.float32) / np.float32(np.sqrt(dimension))
    axis = rng.standard_normal((len(names), dimension), dtype=np.float32) / np.float32(np.sqrt(dimension))
    common = rng.standard_normal(dimension, dtype=np.float32) / np.float32(np.sqrt(dimension))
    x = np.sqrt(shared) * common + np.sqrt(within - shared) * axis[own] + np.sqrt(1 - within) * noise
    return _cosines(np.asarray(x, dtype=np.float32))


def bigrams(tokens: Tokens, document: Int[Array, " n"], position: Int[Array, " n"]) -> Int[Array, " n"]:
    """Group of each prediction: the last token of its context and its target."""
    flat = tokens.offsets[document] + position
    pairs = np.stack([tokens.ids[flat - 1].astype(np.int64), tokens.ids[flat].astype(np.int64)], axis=1)
    return np.asarray(np.unique(pairs, axis=0, return_inverse=True)[1].ravel())


def within_commonest(identity: Int[Array, " token"]) -> Int[Array, " chosen"]:
    """Tokens whose target is the commonest one: identity can explain nothing among them."""
    names, counts = np.unique(identity, return_counts=True)
    return np.flatnonzero(identity == names[counts.argmax()])


def compare(values: Array, null_values: Array, value: float, null_value: float) -> dict[str, Any]:
    """Whether a slope is distinguishable from a null's of as many tokens, with words a reader can check.

    `values` and `null_values` are the slopes of both on the same halves of the tokens, NaN where there was none. The deviation of
    their differences is the standard error of `value` − `null_value` (the delete-half jackknife), whatever the two have in
    common. Distinguishable: the paired t test refuses equality at 5 %.

    Returns:
        difference, standard_error, p_value, distinguishable (all None without two slopes and two halves of both), words.
    """
    pairs = np.asarray(values) - np.asarray(null_values)
    pairs = pairs[np.isfinite(pairs)]
    if not (np.isfinite(value) and np.isfinite(null_value)):
        return _UNCOMPARED | {"words": "no slope to compare"}
    if len(pairs) < 2:
        return _UNCOMPARED | {"words": "too few halves gave a slope"}
    return _verdict(value, null_value, float(pairs.std(ddof=1)), len(pairs) - 1, "the same halves")


def compare_sampled(drawn: Array, null_value: float) -> dict[str, Any]:
    """The same for a null of fewer tokens: whether it could be one more draw of as many of the data's tokens at random.

    `drawn` are slopes of such draws. One more draw differs from their mean by their deviation times √(1 + 1/draws), by Student's law.
    """
    drawn = np.asarray(drawn)[np.isfinite(drawn)]
    if len(drawn) < 2 or not np.isfinite(null_value):
        return _UNCOMPARED | {"words": "no slope to compare"}
    error = float(drawn.std(ddof=1) * np.sqrt(1 + 1 / len(drawn)))
    return _verdict(float(drawn.mean()), null_value, error, len(drawn) - 1, f"{len(drawn)} draws of as many tokens")


_UNCOMPARED = {"difference": None, "standard_error": None, "p_value": None, "distinguishable": None}


def _verdict(value: float, null_value: float, error: float, freedom: int, by: str) -> dict[str, Any]:
    if error == 0:
        return _UNCOMPARED | {"words": "no spread to compare with"}
    difference = value - null_value
    p_value = float(2 * student_t.sf(abs(difference) / error, freedom))
    return {
        "difference": difference,
        "standard_error": error,
        "p_value": p_value,
        "distinguishable": p_value < 0.05,
        "words": f"data {value:.2f} against {null_value:.2f}, {abs(difference) / error:.1f} standard errors apart ({error:.2f}, from "
        f"{by}), p = {p_value:.2g}: {'distinguishable' if p_value < 0.05 else 'not distinguishable'}",
    }


def make(
    cosines: Float[Array, "token token"],
    features: Float32[Array, "token feature"] | None,
    untrained: Float[Array, "token token"] | None,
    target: Int[Array, " token"],
    bigram: Int[Array, " token"],
    *,
    dimension: int,
    seed: int,
) -> dict[str, Array]:
    """All null models by name, as cosines. Those that need what is not at hand (features, an untrained model) are left out."""

    def rng(index: int) -> np.random.Generator:
        return np.random.default_rng([seed, 10, index])

    made = {
        "Gaussian, the data's spectrum": gaussian(cosines, rng(1)),
        "isotropic Gaussian": isotropic(len(cosines), dimension, rng(2)),
        "clusters = target token": grouped(cosines, target, rng(3)),
        "clusters = bigram": grouped(cosines, bigram, rng(4)),
    }
    if untrained is not None:
        made["untrained model, same tokens"] = np.asarray(untrained)
    if features is not None:
        made["shuffled features"] = shuffled(features, rng(5))
    chosen = within_commonest(target)
    made["the data, within the commonest target"] = np.asarray(cosines[np.ix_(chosen, chosen)])
    return made


def sampled(
    cosines: Float[Array, "held held"],
    n_tokens: int,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    how: spectral.Assignment = spectral.MAIN,
    *,
    halves: int = HALVES,
    seed: int,
    groups: Int[Array, " token"] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, list[int]]:
    """A sample of `n_tokens` as data of its own, so that null models of its size are held against like.

    Returns:
        its labels, for as many clusters a token; a row a half with the slope there, as `stability.resample` has them; those
        numbers of clusters.
    """
    ks = sorted({max(round(k * len(cosines) / n_tokens), 2) for k in n_clusters})
    found = stability.cluster_like_data(cosines, ks, how, seed=seed)
    slopes = stability.half_slopes(cosines, ks, shares, how, draws=halves, seed=seed, groups=groups)
    return spectral.as_table(found), pd.DataFrame({"draw": range(len(slopes)), "kind": "half", "slope": slopes}), ks


def table(
    made: Mapping[str, Array],
    cosines: Float[Array, "token token"],
    labels: pd.DataFrame,
    draws: pd.DataFrame,
    calibrated: "regression.Calibration",
    how: spectral.Assignment = spectral.MAIN,
    *,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    n_tokens: int,
    seed: int,
    groups: Int[Array, " token"] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Slope and calibrated α of each null model beside the data's.

    `draws` are the data's resamples (`stability.resample`), whose halves give its slope's deviation; a null of as many tokens has
    its own on the same halves. Slopes depend on the number of tokens: a null of fewer is held against random draws of as many of the
    data's. `n_tokens` is that of the simulations: larger matrices are thinned evenly. `groups` are the texts that tokens are of: halves are
    made of whole ones, the data's and the nulls' alike.

    Returns:
        a row a model, the data first: model, n_tokens, slope, slope_deviation, alpha, alpha_low, alpha_high, verdict, reference_slope (of
        the data at as many tokens), difference (reference less null), standard_error, p_value, distinguishable, words; and the envelopes:
        model, rank, size.
    """
    halves = draws.loc[draws["kind"] == "half", "slope"].to_numpy()
    by_k = {int(k): part.sort_values("token")["label"].to_numpy() for k, part in labels.groupby("n_clusters")}
    slope, deviation = stability.envelope_slope(by_k, len(cosines), shares), _deviation(halves)
    rows = [_row("the data", cosines, slope, deviation, calibrated, n_tokens)]
    curves = [_curve("the data", by_k)]
    progress = Progress("null models", len(made), "models")
    for name, matrix in made.items():
        ks = sorted({max(round(k * len(matrix) / len(cosines)), 2) for k in n_clusters})
        if len(matrix) < FEWEST:
            rows.append(_row(name, matrix, float("nan"), None, calibrated, n_tokens) | {"words": "too few tokens"})
            continue
        found = stability.cluster_like_data(matrix, ks, how, seed=seed)
        value = stability.envelope_slope(found, len(matrix), shares)
        same = groups if len(matrix) == len(cosines) else None
        own_halves = stability.half_slopes(matrix, ks, shares, how, draws=len(halves), seed=seed, groups=same)
        row = _row(name, matrix, value, _deviation(own_halves), calibrated, n_tokens)
        if len(matrix) == len(cosines):
            rows.append(row | {"reference_slope": slope} | compare(halves, own_halves, slope, value))
        else:
            drawn = sample_slopes(cosines, len(matrix), ks, shares, how, draws=DRAWS, seed=seed)
            finite = drawn[np.isfinite(drawn)]
            reference = {"reference_slope": float(finite.mean()) if len(finite) else None}
            rows.append(row | reference | compare_sampled(drawn, value))
        curves.append(_curve(name, found))
        progress.advance()
    progress.done()
    return pd.DataFrame(rows), pd.concat(curves, ignore_index=True)


def sample_slopes(
    cosines: Float[Array, "token token"],
    size: int,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    how: spectral.Assignment = spectral.MAIN,
    *,
    draws: int,
    seed: int,
) -> Float[Array, " draw"]:
    """Slopes of the envelope of `size` of the tokens, drawn without replacement; NaN where there is none."""
    rng = np.random.default_rng([seed, 9])
    slopes = []
    for draw in range(draws):
        chosen = np.sort(rng.choice(len(cosines), size, replace=False))
        part = np.asarray(cosines)[np.ix_(chosen, chosen)]
        found = stability.cluster_like_data(part, n_clusters, how, seed=seed + draw)
        slopes.append(stability.envelope_slope(found, size, shares))
    return np.array(slopes)


def _deviation(slopes: Array) -> float | None:
    kept = slopes[np.isfinite(slopes)]
    return float(np.std(kept, ddof=1)) if len(kept) > 1 else None


def _row(
    name: str, cosines: Array, slope: float, deviation: float | None, calibrated: "regression.Calibration", n: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "n_tokens": len(cosines), "slope": slope, "slope_deviation": deviation}
    if len(cosines) < n:
        return row | {"verdict": "fewer tokens than were simulated"}
    posterior = calibrated.infer(simulations.summaries(regression.thinned(cosines, n)[0]))
    low, high = posterior.interval
    return row | {"alpha": posterior.value, "alpha_low": low, "alpha_high": high, "verdict": posterior.verdict}


def _curve(name: str, labels: Mapping[int, Array]) -> pd.DataFrame:
    sizes = zipf.envelope([zipf.sizes(own) for own in labels.values()])
    return pd.DataFrame({"model": name, "rank": np.arange(1, len(sizes) + 1), "size": sizes})
