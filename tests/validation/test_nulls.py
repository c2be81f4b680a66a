import numpy as np
import pandas as pd
import pytest
from quanta.affinity import cosine
from quanta.calibration import planted, regression, simulations
from quanta.catalogue import contexts
from quanta.clustering import assignment, main_line, membership, spectral
from quanta.corpus.encoding import Tokens
from quanta.validation import null_comparison, null_models, stability
from scipy.stats import binom


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
    null = null_models.gaussian(cosines, np.random.default_rng(1))
    assert is_cosine_matrix(null)
    # second moments of all pairs agree, and no pair stands out as those of one quantum do
    assert np.mean(null**2) == pytest.approx(np.mean(cosines**2), rel=0.3)
    off = ~np.eye(len(cosines), dtype=bool)
    assert (null[off] > 0.5).mean() < 0.2 * (cosines[off] > 0.5).mean()


@pytest.mark.parametrize("dimension", [100, 400, 30_000])
def test_isotropic_null_has_the_deviation_of_its_dimension(dimension):
    null = null_models.isotropic(200, dimension, np.random.default_rng(0))
    assert is_cosine_matrix(null)
    assert null[np.triu_indices(200, 1)].std() == pytest.approx(dimension**-0.5, rel=0.05)


def test_shuffling_keeps_every_feature_and_no_token(data):
    x, cosines = data
    null = null_models.shuffled(x.features, np.random.default_rng(0))
    assert is_cosine_matrix(null)
    off = np.triu_indices(300, 1)
    assert (cosines[off] > 0.4).mean() > 20 * (null[off] > 0.4).mean()
    assert null[off].mean() == pytest.approx(cosines[off].mean(), abs=0.03)


def test_grouped_null_is_as_similar_within_as_the_data(data):
    x, cosines = data
    null = null_models.grouped(cosines, x.quantum, np.random.default_rng(0))
    assert is_cosine_matrix(null)
    same = (x.quantum[:, None] == x.quantum[None, :]) & ~np.eye(300, dtype=bool)
    assert null[same].mean() == pytest.approx(cosines[same].mean(), abs=0.03)
    assert null[~same].mean() < 0.5 * null[same].mean()


def test_bigrams_are_equal_where_both_tokens_are():
    tokens = Tokens(np.array([5, 6, 7, 5, 6, 1, 6], dtype=np.uint16), np.array([0, 3, 7]))
    group = contexts.bigrams(tokens, np.array([0, 1, 1]), np.array([1, 1, 3]))
    assert group[0] == group[1] != group[2]


def test_commonest_target():
    np.testing.assert_array_equal(null_models.within_commonest(np.array([3, 1, 3, 2, 3])), [0, 2, 4])


def test_a_null_on_the_same_halves_is_told_apart_as_often_as_chance_allows():
    """Halves whose slopes move together: paired, a true difference is seen, and equality is refused in a twentieth of cases."""
    rng = np.random.default_rng(0)
    told = {0.0: 0, 0.2: 0}
    for _ in range(1000):
        common = rng.normal(0, 0.1, 5)
        for gap in told:
            # the last value of each is the slope of all tokens: as far off as its halves are
            ours, theirs = -1 + common + rng.normal(0, 0.03, 5), -1 - gap + common + rng.normal(0, 0.03, 5)
            told[gap] += null_comparison.compare(ours[:4], theirs[:4], ours[4], theirs[4])["distinguishable"]
    low, high = binom.interval(0.999, 1000, 0.05)
    assert low <= told[0.0] <= high
    assert told[0.2] > 800  # unpaired, 0.2 is 1.4 standard errors


def test_a_smaller_null_is_one_more_draw_as_often_as_chance_allows():
    rng = np.random.default_rng(0)
    told = [
        null_comparison.compare_sampled(rng.normal(-1, 0.1, 12), rng.normal(-1, 0.1))["distinguishable"]
        for _ in range(2000)
    ]
    low, high = binom.interval(0.999, 2000, 0.05)
    assert low <= sum(told) <= high
    far = null_comparison.compare_sampled(rng.normal(-1, 0.1, 12), -1.6)
    assert far["distinguishable"] and far["difference"] == pytest.approx(0.6, abs=0.1)
    assert "12 draws of as many tokens" in far["words"]
    assert null_comparison.compare_sampled(np.array([np.nan, -1.0]), -1.6)["distinguishable"] is None


def test_few_halves_make_a_careful_comparison():
    """Two halves that agree by luck must not make anything distinguishable on their own."""
    lucky = np.array([-1.0, -1.02])
    assert not null_comparison.compare(lucky, np.array([-1.2, -1.25]), -1.0, -1.22)["distinguishable"]


@pytest.fixture(scope="module")
def calibrated():
    return regression.Calibration(simulations.simulate(range(110), 100, seed=0, dimension=32))


@pytest.mark.parametrize(
    "how", [assignment.MAIN, assignment.Assignment("cluster_qr"), assignment.Assignment(rows="unit")]
)
def test_the_data_as_a_null_model_are_the_data(data, calibrated, how):
    """Clustered by the same method on the same halves: all slopes agree to the bit, whichever method it is."""
    _, cosines = data
    cosines, ks, shares = (cosines + cosines.T) / 2, [4, 8, 16], (0.01, 0.05)
    vectors, _ = spectral.embedding(cosine.angular(cosines), 16)
    labels = how(vectors, ks, seed=0)
    _, draws = stability.resample(main_line.of_cosines(cosines, how), vectors, labels, shares, how, draws=4, seed=0)
    table, _ = null_comparison.compared(
        {"itself": cosines}, cosines, membership.as_table(labels), draws, calibrated, how,
        n_clusters=ks, shares=shares, n_tokens=100, seed=0,
    )  # fmt: skip
    first, second = table.to_dict(orient="records")
    assert first["slope"] == second["slope"] == second["reference_slope"]
    assert first["slope_deviation"] == second["slope_deviation"]
    assert first["alpha"] == second["alpha"] and pd.isna(second["difference"])


def test_a_null_of_fewer_tokens_is_held_against_the_data_at_as_many(data, calibrated):
    """Slopes of 60 and of 300 tokens differ by themselves: 60 of the data's own tokens are not told apart from the data."""
    _, cosines = data
    cosines, ks, shares = (cosines + cosines.T) / 2, [4, 8, 16, 32], (0.01, 0.1)
    labels = main_line.cluster_like_data(cosines, ks, seed=0)
    draws = pd.DataFrame({"kind": "half", "slope": stability.half_slopes(cosines, ks, shares, draws=2, seed=0)})
    chosen = np.random.default_rng(5).choice(300, 60, replace=False)
    made = {"some": cosines[np.ix_(chosen, chosen)]}
    table, _ = null_comparison.compared(
        made,
        cosines,
        membership.as_table(labels),
        draws,
        calibrated,
        n_clusters=ks,
        shares=shares,
        n_tokens=100,
        seed=0,
    )
    data_row, row = table.to_dict(orient="records")
    drawn = null_comparison.sample_slopes(cosines, 60, [2, 3, 6], shares, draws=null_comparison.DRAWS, seed=0)
    assert row["reference_slope"] == pytest.approx(np.nanmean(drawn)) != data_row["slope"]
    assert row["difference"] == pytest.approx(row["reference_slope"] - row["slope"])
    assert not row["distinguishable"]


def test_what_cannot_be_compared_is_said():
    halves = np.array([-1.0, -1.1])
    assert null_comparison.compare(halves, halves, -1.0, float("nan"))["distinguishable"] is None
    assert "too few halves" in null_comparison.compare(np.array([np.nan, -1.0]), halves, -1.0, -1.0)["words"]


def test_without_a_calibration_there_is_no_exponent_and_more_can_be_said_of_the_labels(data):
    x, cosines = data
    made = null_models.make(
        null_models.Data(cosines, None, None, x.quantum, x.quantum, dimension=9, seed=0), ["clusters = bigram"]
    )
    how = assignment.Assignment(graph="linkage")
    labels = membership.as_table(main_line.cluster_like_data(cosines, [10, 20], how, seed=0))
    draws = pd.DataFrame({"draw": [0, 1], "kind": "half", "slope": [-1.0, -1.1]})
    table, curves = null_comparison.compared(
        made, cosines, labels, draws, None, how, n_clusters=[10, 20], shares=(0.01, 0.1), n_tokens=300, seed=0,
        about=lambda found: {"largest": float(np.bincount(found[20]).max())},
    )  # fmt: skip
    assert table["model"].tolist() == ["the data", "clusters = bigram"] == curves["model"].unique().tolist()
    assert "alpha" not in table and (table["largest"] > 1).all() and np.isfinite(table["slope"]).all()
