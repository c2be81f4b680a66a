"""Slopes and exponents of null models beside the data's, each at its number of tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from quanta.arrays import Array, Float, Int
from quanta.calibration import regression, simulations
from quanta.clustering import assignment, main_line, membership
from quanta.progress import Progress
from quanta.rank_frequency import zipf
from quanta.streams import Purpose, generator
from quanta.validation import stability

_UNCOMPARED = {"difference": None, "standard_error": None, "p_value": None, "distinguishable": None, "detectable": None}


HALVES = 4  # halves of a sample of the tokens that give its slope's deviation
DRAWS = 12  # of as many of the data's tokens as a smaller null has
FEWEST = 40  # tokens that are worth clustering


def compare(values: Array, null_values: Array, value: float, null_value: float) -> dict[str, Any]:
    """Whether a slope is distinguishable from a null's of as many tokens, with words a reader can check.

    `values` and `null_values` are the slopes of both on the same halves of the tokens, NaN where there was none. The deviation of
    their differences is the standard error of `value` − `null_value` (the delete-half jackknife), whatever the two have in
    common. Distinguishable: the paired t test refuses equality at 5 %.

    Returns:
        difference, standard_error, p_value, distinguishable, detectable (`detectable`) (all None without two slopes and two
        halves of both), words.
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


def _verdict(value: float, null_value: float, error: float, freedom: int, by: str) -> dict[str, Any]:
    if error == 0:
        return _UNCOMPARED | {"words": "no spread to compare with"}
    difference = value - null_value
    seen = detectable(error, freedom)
    p_value = float(2 * student_t.sf(abs(difference) / error, freedom))
    return {
        "difference": difference,
        "standard_error": error,
        "p_value": p_value,
        "distinguishable": p_value < 0.05,
        "detectable": seen,
        "words": f"data {value:.2f} against {null_value:.2f}, {abs(difference) / error:.1f} standard errors apart ({error:.2f}, from "
        f"{by}), p = {p_value:.2g}: "
        + (
            "distinguishable"
            if p_value < 0.05
            else f"not distinguishable; a difference of {seen:.2f} would have been seen"
        ),
    }


def detectable(error: float, freedom: int) -> float:
    """The difference that a two-sided t test at 5 % finds in four cases of five, for a standard error and its degrees of freedom."""
    return float(error * (student_t.isf(0.025, freedom) + student_t.isf(0.2, freedom)))


def sampled(
    cosines: Float[Array, "held held"],
    n_tokens: int,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    how: assignment.Assignment = assignment.MAIN,
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
    found = main_line.cluster_like_data(cosines, ks, how, seed=seed)
    slopes = stability.half_slopes(cosines, ks, shares, how, draws=halves, seed=seed, groups=groups)
    return membership.as_table(found), pd.DataFrame({"draw": range(len(slopes)), "kind": "half", "slope": slopes}), ks


def compared(
    made: Mapping[str, Array],
    cosines: Float[Array, "token token"],
    labels: pd.DataFrame,
    draws: pd.DataFrame,
    calibrated: "regression.Calibration | None",
    how: assignment.Assignment = assignment.MAIN,
    *,
    n_clusters: Sequence[int],
    shares: tuple[float, float],
    n_tokens: int,
    seed: int,
    groups: Int[Array, " token"] | None = None,
    about: Callable[[Mapping[int, Array]], dict[str, float]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Slope and calibrated α of each null model beside the data's.

    `draws` are the data's resamples (`stability.resample`), whose halves give its slope's deviation; a null of as many tokens has
    its own on the same halves. Slopes depend on the number of tokens: a null of fewer is held against random draws of as many of the
    data's. `n_tokens` is that of the simulations: larger matrices are thinned evenly. `groups` are the texts that tokens are of: halves are
    made of whole ones, the data's and the nulls' alike. `about` adds columns from labels by number of clusters. Without `calibrated`
    there is no α.

    Returns:
        a row a model, the data first: model, n_tokens, slope, slope_deviation, alpha, alpha_low, alpha_high, verdict, reference_slope (of
        the data at as many tokens), difference (reference less null), standard_error, p_value, distinguishable, words; and the envelopes:
        model, rank, size.
    """
    halves = draws.loc[draws["kind"] == "half", "slope"].to_numpy()
    by_k = {int(k): part.sort_values("token")["label"].to_numpy() for k, part in labels.groupby("n_clusters")}
    slope, deviation = zipf.envelope_slope(by_k, len(cosines), shares), _deviation(halves)
    more: Callable[[Mapping[int, Array]], dict[str, float]] = about or (lambda labels: {})
    rows = [_row("the data", cosines, slope, deviation, calibrated, n_tokens) | more(by_k)]
    curves = [_curve("the data", by_k)]
    progress = Progress("null models", len(made), "models")
    for name, matrix in made.items():
        ks = sorted({max(round(k * len(matrix) / len(cosines)), 2) for k in n_clusters})
        if len(matrix) < FEWEST:
            rows.append(_row(name, matrix, float("nan"), None, calibrated, n_tokens) | {"words": "too few tokens"})
            continue
        found = main_line.cluster_like_data(matrix, ks, how, seed=seed)
        value = zipf.envelope_slope(found, len(matrix), shares)
        same = groups if len(matrix) == len(cosines) else None
        own_halves = stability.half_slopes(matrix, ks, shares, how, draws=len(halves), seed=seed, groups=same)
        row = _row(name, matrix, value, _deviation(own_halves), calibrated, n_tokens)
        row |= more(found) if len(matrix) == len(cosines) else {}
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
    how: assignment.Assignment = assignment.MAIN,
    *,
    draws: int,
    seed: int,
) -> Float[Array, " draw"]:
    """Slopes of the envelope of `size` of the tokens, drawn without replacement; NaN where there is none."""
    rng = generator(seed, Purpose.SAMPLE_SLOPES)
    slopes = []
    for draw in range(draws):
        chosen = np.sort(rng.choice(len(cosines), size, replace=False))
        part = np.asarray(cosines)[np.ix_(chosen, chosen)]
        found = main_line.cluster_like_data(part, n_clusters, how, seed=seed + draw)
        slopes.append(zipf.envelope_slope(found, size, shares))
    return np.array(slopes)


def _deviation(slopes: Array) -> float | None:
    kept = slopes[np.isfinite(slopes)]
    return float(np.std(kept, ddof=1)) if len(kept) > 1 else None


def _row(
    name: str,
    cosines: Array,
    slope: float,
    deviation: float | None,
    calibrated: "regression.Calibration | None",
    n: int,
) -> dict[str, Any]:
    row: dict[str, Any] = {"model": name, "n_tokens": len(cosines), "slope": slope, "slope_deviation": deviation}
    if calibrated is None:
        return row
    if len(cosines) < n:
        return row | {"verdict": "fewer tokens than were simulated"}
    posterior = calibrated.infer(simulations.summaries(regression.thinned(cosines, n)[0]))
    low, high = posterior.interval
    return row | {"alpha": posterior.value, "alpha_low": low, "alpha_high": high, "verdict": posterior.verdict}


def _curve(name: str, labels: Mapping[int, Array]) -> pd.DataFrame:
    sizes = zipf.envelope([zipf.sizes(own) for own in labels.values()])
    return pd.DataFrame({"model": name, "rank": np.arange(1, len(sizes) + 1), "size": sizes})
