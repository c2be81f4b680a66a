"""Magnitudes: blind to signs and, with unit gradients, to a sample's scale; parts add up to the whole."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quanta.affinity import cosine, magnitudes
from quanta.errors import QuantaError


def gradients(n: int = 60, count: int = 500, seed: int = 0) -> np.ndarray:
    """Parameters and samples of very different scales."""
    rng = np.random.default_rng(seed)
    scales = np.exp(rng.normal(scale=2, size=(n, 1)) + rng.normal(size=(1, count)))
    return (rng.standard_t(3, size=(n, count)) * scales).astype(np.float32)


@given(seed=st.integers(0, 50), unit=st.booleans())
@settings(max_examples=15, deadline=None)
def test_signs_alter_nothing(seed: int, unit: bool) -> None:
    rows = gradients(seed=seed)
    turned = rows * np.random.default_rng(seed).choice([-1, 1], size=rows.shape)
    for kind in (magnitudes.raw, lambda x: magnitudes.standardised(x, unit=unit)):
        assert kind(turned.astype(np.float32)).tobytes() == kind(rows).tobytes()


def test_a_samples_scale_alters_nothing_of_unit_gradients() -> None:
    """By powers of two, which round nothing."""
    rows = gradients()
    scaled = (rows * 2.0 ** np.random.default_rng(1).integers(-20, 20, size=(len(rows), 1))).astype(np.float32)
    found, expected = (magnitudes.standardised(x) for x in (scaled, rows))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    left, right = (magnitudes.standardised(x, unit=False) for x in (scaled, rows))
    assert np.abs(left - right).max() > 1


@pytest.mark.parametrize("unit", [False, True])
def test_rows_have_mean_zero_and_deviation_one_per_parameter(unit: bool) -> None:
    found = magnitudes.standardised(gradients(), unit=unit).astype(np.float64)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("cuts", [[0, 60], [0, 1, 1, 40, 60], [0, 7, 60]])
def test_parts_are_the_whole(cuts: list[int]) -> None:
    rows = gradients()
    parts = [rows[a:b] for a, b in pairwise(cuts)]
    for unit in (False, True):
        over = magnitudes.of_parts(cosine.unit_rows(part) if unit else part for part in parts)
        found = np.concatenate([magnitudes.standardised(part, over, unit=unit) for part in parts])
        np.testing.assert_allclose(found, magnitudes.standardised(rows, unit=unit), rtol=1e-5, atol=1e-6)


def test_a_parameter_that_never_varies_contributes_nothing() -> None:
    rows = gradients()
    rows[:, 3], rows[:, 5], rows[:, 8] = 0, 1e-12, np.float32(0.1) * np.random.default_rng(0).choice([-1, 1], size=60)
    found = magnitudes.standardised(rows, unit=False)
    assert (found[:, [3, 5, 8]] == 0).all() and np.isfinite(found).all()
    kept = np.delete(rows, [3, 5, 8], axis=1)
    np.testing.assert_array_equal(np.delete(found, [3, 5, 8], axis=1), magnitudes.standardised(kept, unit=False))


def test_a_gradient_that_is_rounding_contributes_nothing() -> None:
    """One that is zero but for rounding varies, and would weigh as much as any other."""
    rows = gradients()
    rows[:, 7] = 1e-7 * rows[:, 8]
    found = magnitudes.standardised(rows)
    assert (found[:, 7] == 0).all() and found[:, 8].std() > 0.9


def test_opposite_gradients_on_the_same_weights_are_one() -> None:
    """Two mechanisms on weights of their own, each with cases of either sign: magnitudes have a cosine near 1 within."""
    rng = np.random.default_rng(0)
    rows = np.zeros((40, 200), dtype=np.float32)
    rows[:20, :100], rows[20:, 100:] = rng.normal(size=(20, 100)), rng.normal(size=(20, 100))
    rows[::2] *= -1
    found = magnitudes.standardised(rows)
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    cosines = unit @ unit.T
    same = np.arange(40)[:, None] // 20 == np.arange(40)[None] // 20
    np.fill_diagonal(same, False)
    assert cosines[same].min() > cosines[~same & ~np.eye(40, dtype=bool)].max()


def test_samples_that_do_not_differ_are_refused() -> None:
    rows = np.ones((5, 4), dtype=np.float32)
    with pytest.raises(QuantaError, match="no parameter"):
        magnitudes.standardised(rows)
    with pytest.raises(QuantaError, match="no part"):
        magnitudes.of_parts([])
    with pytest.raises(QuantaError, match="squared norm 0"):
        magnitudes.standardised(np.zeros((3, 4), dtype=np.float32))


def test_roots_are_blind_to_signs_and_scale_and_standardised_without_rounding() -> None:
    rows = gradients()
    rows[:, 7] = 1e-9 * rows[:, 8]
    found = magnitudes.rooted(rows).astype(np.float64)
    turned = rows * np.random.default_rng(1).choice([-2, 2], size=rows.shape)[:, :1]
    np.testing.assert_allclose(magnitudes.rooted(turned.astype(np.float32)), found, atol=1e-5)
    kept = np.delete(found, 7, axis=1)
    assert (found[:, 7] == 0).all() and np.abs(kept.mean(axis=0)).max() < 1e-6
    np.testing.assert_allclose(kept.std(axis=0), 1, rtol=1e-5)
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    root = np.sqrt(np.abs(unit[:, 8]))
    np.testing.assert_allclose(found[:, 8], (root - root.mean()) / root.std(), atol=1e-4)
