"""Affinities by name: each is one of cosines, and says what its definition says."""

import numpy as np
import pytest
from quanta.affinity import kinds
from quanta.errors import QuantaError


def gradients(n: int = 40, count: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=count)
    return (rng.normal(size=(n, count)) + shared + 2 * rng.normal(size=(4, count))[np.arange(n) % 4]).astype(np.float32)


@pytest.mark.parametrize("name", kinds.KINDS)
def test_each_is_a_matrix_of_cosines(name: str) -> None:
    found = kinds.kind(name).of_gradients(gradients())
    assert found.dtype == np.float32 and (found == found.T).all()
    assert (np.diagonal(found) == 1).all() and (np.abs(found) <= 1).all()


def test_signs_of_samples_matter_to_the_paper_alone_of_those_of_magnitudes() -> None:
    rows = gradients()
    turned = rows * np.random.default_rng(1).choice([-1, 1], size=(len(rows), 1)).astype(np.float32)
    for name in ("absolute", "magnitudes", "standardised", "attention"):
        np.testing.assert_allclose(
            kinds.KINDS[name].of_gradients(turned), kinds.KINDS[name].of_gradients(rows), atol=2e-6
        )
    assert np.abs(kinds.KINDS["signed"].of_gradients(turned) - kinds.KINDS["signed"].of_gradients(rows)).max() > 0.5


def test_whitening_is_by_the_inverse_root_of_the_covariance() -> None:
    rows = gradients(60, 25)
    unit = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    covariance = unit.T @ unit
    values, vectors = np.linalg.eigh(covariance + 0.5 * np.trace(covariance) / 25 * np.eye(25))
    expected = unit @ vectors @ np.diag(values**-0.5) @ vectors.T
    found = kinds.whitened(rows, ridge=0.5)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-5)


def test_a_large_ridge_leaves_the_paper_s() -> None:
    rows = gradients()
    np.testing.assert_allclose(kinds.cosines(kinds.whitened(rows, 1e6)), kinds.cosines(rows), atol=1e-4)


def test_a_sum_over_models_is_their_mean() -> None:
    one, other = kinds.cosines(gradients()), kinds.cosines(gradients()[:, :50])
    np.testing.assert_allclose(kinds.summed([one, other]), (one + other) / 2, atol=1e-6)
    with pytest.raises(QuantaError, match="same tokens"):
        kinds.summed([one, other[:5, :5]])
    with pytest.raises(QuantaError, match="one at least"):
        kinds.summed([])


def test_bad_input_is_named() -> None:
    with pytest.raises(QuantaError, match="signed"):
        kinds.kind("nonsense")
    with pytest.raises(QuantaError, match="above 0"):
        kinds.whitened(gradients(), ridge=0)
    with pytest.raises(QuantaError, match="squared norm 0"):
        kinds.whitened(np.zeros((3, 4), dtype=np.float32))
