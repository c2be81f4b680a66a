import numpy as np
import pytest
from quanta import nulls, planted
from quanta.corpus import Tokens


@pytest.fixture(scope="module")
def data():
    x = planted.draw(planted.Settings(n_tokens=300, alpha=0.3, strength=0.6, noise_decay=0.5), np.random.default_rng(0))
    return x, np.clip(x.features @ x.features.T, -1, 1)


def is_cosine_matrix(matrix):
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 1)
    return np.abs(matrix).max() <= 1


def test_gaussian_null_has_the_spectrum_and_no_clusters(data):
    _, cosines = data
    null = nulls.gaussian(cosines, np.random.default_rng(1))
    assert is_cosine_matrix(null)
    # second moments of all pairs agree, and no pair stands out as those of one quantum do
    assert np.mean(null**2) == pytest.approx(np.mean(cosines**2), rel=0.3)
    off = ~np.eye(len(cosines), dtype=bool)
    assert (null[off] > 0.5).mean() < 0.2 * (cosines[off] > 0.5).mean()


@pytest.mark.parametrize("dimension", [100, 400, 30_000])
def test_isotropic_null_has_the_deviation_of_its_dimension(dimension):
    null = nulls.isotropic(200, dimension, np.random.default_rng(0))
    assert is_cosine_matrix(null)
    assert null[np.triu_indices(200, 1)].std() == pytest.approx(dimension**-0.5, rel=0.05)


def test_shuffling_keeps_every_feature_and_no_token(data):
    x, cosines = data
    null = nulls.shuffled(x.features, np.random.default_rng(0))
    assert is_cosine_matrix(null)
    off = np.triu_indices(300, 1)
    assert (cosines[off] > 0.4).mean() > 20 * (null[off] > 0.4).mean()
    assert null[off].mean() == pytest.approx(cosines[off].mean(), abs=0.03)


def test_grouped_null_is_as_similar_within_as_the_data(data):
    x, cosines = data
    null = nulls.grouped(cosines, x.quantum, np.random.default_rng(0))
    assert is_cosine_matrix(null)
    same = (x.quantum[:, None] == x.quantum[None, :]) & ~np.eye(300, dtype=bool)
    assert null[same].mean() == pytest.approx(cosines[same].mean(), abs=0.03)
    assert null[~same].mean() < 0.5 * null[same].mean()


def test_bigrams_are_equal_where_both_tokens_are():
    tokens = Tokens(np.array([5, 6, 7, 5, 6, 1, 6], dtype=np.uint16), np.array([0, 3, 7]))
    group = nulls.bigrams(tokens, np.array([0, 1, 1]), np.array([1, 1, 3]))
    assert group[0] == group[1] != group[2]


def test_commonest_target():
    np.testing.assert_array_equal(nulls.within_commonest(np.array([3, 1, 3, 2, 3])), [0, 2, 4])


def test_comparison_is_welchs_test():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(-1.0, 0.05, 6), rng.normal(-1.5, 0.1, 5)
    found = nulls.compare(np.append(ours, np.nan), theirs, ours.mean(), theirs.mean())
    # a test of two values with the halves' deviations as errors: Welch's statistic without the division by their numbers
    expected = (ours.mean() - theirs.mean()) / np.hypot(ours.std(ddof=1), theirs.std(ddof=1))
    assert found["difference"] / found["standard_error"] == pytest.approx(expected)
    assert found["distinguishable"] and "p = " in found["words"]
    same = nulls.compare(ours, theirs, -1.0, -1.05)
    assert not same["distinguishable"] and "not distinguishable" in same["words"]


def test_few_halves_make_a_careful_comparison():
    """Two halves that agree by luck must not make anything distinguishable on their own."""
    lucky = np.array([-1.0, -1.001])
    assert not nulls.compare(lucky, np.array([-1.2, -1.3]), -1.0, -1.25)["distinguishable"]


def test_what_cannot_be_compared_is_said():
    halves = np.array([-1.0, -1.1])
    assert nulls.compare(halves, halves, -1.0, float("nan"))["distinguishable"] is None
    assert "too few halves" in nulls.compare(halves[:1], halves, -1.0, -1.0)["words"]
