import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.scaling import mean_loss, single_tokens
from support import counted_as_nominal

SIZES = np.array([18_915_328, 85_056_000, 302_311_424, 805_736_448, 1_208_602_624, 2_517_652_480])  # the paper's Pythia
CURVES = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.lists(st.floats(0, 12, width=32), min_size=n, max_size=n), min_size=1, max_size=20)
)


@pytest.mark.parametrize("alpha", [0.05, 0.083, 0.5])
def test_a_power_law_is_recovered(alpha):
    found, scale = mean_loss.power_law(SIZES, 11.0 * SIZES**-alpha)
    assert abs(found - alpha) < 1e-9 and abs(scale / 11 - 1) < 1e-6


@pytest.mark.parametrize("floor", [0.0, 0.7, 1.6])
def test_a_power_law_and_its_floor_are_recovered(floor):
    alpha, scale, found = mean_loss.power_law_with_floor(SIZES, floor + 40.0 * SIZES**-0.2)
    assert abs(alpha - 0.2) < 2e-3 and abs(found - floor) < 0.02 and abs(np.log(scale / 40)) < 0.05


def test_a_floor_near_the_losses_is_found_from_the_best_of_several_starts():
    """From a floor of zero the search ends at α = 0.0003."""
    sizes = np.geomspace(1e3, 1.6e6, 5)
    alpha, _, floor = mean_loss.power_law_with_floor(sizes, 0.57545 + 5.0 * sizes**-1.172)
    assert abs(alpha - 1.172) < 0.01 and abs(floor - 0.57545) < 1e-5


def synthetic(alpha, n_models=5, n_documents=200, noise=0.3, seed=0, floor=0.0):
    """Sums of losses a document whose expected mean follows a power law of size."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(1e4, 1e7, n_models)
    counts = rng.integers(5, 60, n_documents)
    mean = floor + 8 * sizes**-alpha
    hard = rng.normal(0, noise, n_documents)  # documents are hard for all models alike
    return sizes, (mean[:, None] + hard[None, :] * mean[:, None]) * counts, counts


def fit(sizes, sums, counts, left_out=(), draws=200, seed=0, groups=None):
    names = [f"m{i}" for i in range(len(sizes))]
    return mean_loss.fit_mean_loss(names, sizes, sums, counts, left_out=left_out, draws=draws, seed=seed, groups=groups)


def test_the_interval_of_the_bootstrap_contains_the_value():
    sizes, sums, counts = synthetic(0.08)
    rng = np.random.default_rng(1)
    sums = sums + rng.normal(0, 0.5, sums.shape) * np.sqrt(counts)
    alpha = fit(sizes, sums, counts)["alpha_n"]
    low, high = alpha["interval"]
    assert low < alpha["value"] < high and high - low < 0.05
    assert low < 0.08 < high
    band = alpha["band_nats"]
    middle = alpha["scale_nats"] * np.array(band["parameters"]) ** -alpha["value"]
    assert (np.array(band["low"]) < middle).all() and (middle < np.array(band["high"])).all()


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Pieces of one text are alike: 90 % intervals that draw whole texts hold the truth in 90 %, those that draw pieces do not."""
    covered, by_piece, number = 0, 0, 200
    for seed in range(number):
        sizes, sums, counts = synthetic(0.08, noise=0, seed=seed, n_models=3)
        rng = np.random.default_rng(100 + seed)
        text = rng.integers(0, 60, len(counts))
        alike = rng.normal(0, 0.15, (3, 60))[:, text] * counts
        sums = sums + alike + rng.normal(0, 0.5, sums.shape) * np.sqrt(counts)
        low, high = fit(sizes, sums, counts, draws=150, seed=seed, groups=text)["alpha_n"]["interval_of_test_set"]
        covered += low < 0.08 < high
        low, high = fit(sizes, sums, counts, draws=150, seed=seed)["alpha_n"]["interval_of_test_set"]
        by_piece += low < 0.08 < high
    assert counted_as_nominal(covered, number)
    assert by_piece < 0.75 * number


def test_intervals_cover_the_truth_where_seeds_differ_as_often_as_they_say():
    """Two sizes with three seeds, one with one, as larger ones are trained once. The test set's own interval is too narrow."""
    sizes = np.repeat(np.geomspace(1e4, 1e7, 3), [3, 3, 1])
    covered, of_test_set, all_in, number = 0, 0, 0, 200
    for seed in range(number):
        rng = np.random.default_rng(seed)
        counts = rng.integers(5, 60, 200)
        mean = 8 * sizes**-0.08 * np.exp(rng.normal(0, 0.02, len(sizes)))
        sums = mean[:, None] * counts + rng.normal(0, 0.5, (len(sizes), 200)) * np.sqrt(counts)
        found = fit(sizes, sums, counts, draws=150, seed=seed)["alpha_n"]
        low, high = found["interval_of_test_set_and_seed"]
        covered += low < 0.08 < high
        all_in += found["interval"][0] < 0.08 < found["interval"][1]
        of_test_set += found["interval_of_test_set"][0] < 0.08 < found["interval_of_test_set"][1]
    assert counted_as_nominal(covered, number)
    assert of_test_set < 0.6 * number
    assert all_in >= covered, "what the choice of sizes adds makes it no narrower"


def bent(curvature, *, n_models=6, noise=0.004, seed=0):
    """Sums and counts of a family whose log loss is a parabola of log size."""
    rng = np.random.default_rng(seed)
    sizes = np.geomspace(1e4, 1e8, n_models)
    x = np.log(sizes) - np.log(sizes).mean()
    mean = 4 * np.exp(-0.1 * x + curvature * x**2)
    counts = rng.integers(5, 60, 200)
    sizes, mean = np.repeat(sizes, 3), np.repeat(mean, 3) * np.exp(rng.normal(0, noise, 3 * n_models))
    return sizes, mean[:, None] * counts + rng.normal(0, 0.2, (3 * n_models, 200)) * np.sqrt(counts), counts


def test_where_local_slopes_drift_there_is_no_single_power_law_and_the_interval_is_of_the_sizes():
    found = fit(*bent(0.004))["alpha_n"]
    bend = found["bend"]
    assert not bend["single_power_law"] and bend["curvature"] == pytest.approx(0.004, rel=0.15)
    assert bend["alpha_at_smallest"] == pytest.approx(0.1 + 0.008 * np.log(1e4) / 2, abs=0.01)
    assert bend["alpha_at_largest"] == pytest.approx(0.1 - 0.008 * np.log(1e4) / 2, abs=0.01)
    values = [one["value"] for one in found["sizes_left_out"]]
    low, high = found["interval"]
    narrow = found["interval_of_test_set_and_seed"]
    assert low < min(values) < max(values) < high and high - low > 3 * (narrow[1] - narrow[0])
    assert "jackknife" in found["interval_method"]


def test_a_straight_family_is_refused_as_rarely_as_the_level_says():
    number = 100
    refused = sum(
        not fit(*bent(0, seed=seed), draws=100)["alpha_n"]["bend"]["single_power_law"] for seed in range(number)
    )
    assert counted_as_nominal(number - refused, number, 0.95)
    assert fit(*synthetic(0.08, n_models=3))["alpha_n"]["bend"] is None, "a parabola goes through any three"


def test_a_size_is_one_point_however_many_seeds_it_has():
    sizes, sums, counts = synthetic(0.08, n_models=4)
    plain = fit(sizes, sums, counts)["alpha_n"]
    repeated = fit(np.repeat(sizes, [3, 1, 2, 1]), np.repeat(sums, [3, 1, 2, 1], axis=0), counts)["alpha_n"]
    assert repeated["value"] == pytest.approx(plain["value"]) and repeated["n_sizes"] == plain["n_sizes"] == 4
    assert repeated["interval"] == pytest.approx(plain["interval"]), "seeds that do not differ add nothing"
    apart = sums[[0, 0, 1, 2, 3]] * np.array([0.97, 1.03, 1, 1, 1])[:, None]
    assert fit(sizes[[0, 0, 1, 2, 3]], apart, counts)["alpha_n"]["value"] == pytest.approx(plain["value"])


def test_the_deviation_between_seeds_is_pooled_over_sizes():
    losses = np.exp([1.0, 1.2, 2.0, 2.1, 2.2, 3.0])
    found, freedom = mean_loss.seed_deviation(losses, np.array([0, 0, 1, 1, 1, 2]))
    assert freedom == 3 and found == pytest.approx(np.sqrt((2 * 0.1**2 + 2 * 0.1**2) / 3))
    assert mean_loss.seed_deviation(losses[:2], np.array([0, 1])) == (None, 0)


def test_models_left_out_change_nothing_and_are_named():
    sizes, sums, counts = synthetic(0.08, n_models=6)
    sums[5] *= 3
    found = fit(sizes, sums, counts, left_out=["m5"], draws=40)["alpha_n"]
    alone = fit(sizes[:5], sums[:5], counts, draws=40)["alpha_n"]
    assert found["points_left_out"] == ["m5"] and found["points_used"] == [f"m{i}" for i in range(5)]
    assert found["value"] == alone["value"] and found["interval"] == alone["interval"]
    assert abs(found["value"] - fit(sizes, sums, counts, draws=40)["alpha_n"]["value"]) > 0.02


def test_the_floor_needs_more_models_than_it_has_parameters():
    sizes, sums, counts = synthetic(0.3, n_models=5, floor=1.5)
    floor = fit(sizes, sums, counts)["alpha_n_with_irreducible_loss"]
    common = (sums.sum(1) / counts.sum() / (1.5 + 8 * sizes**-0.3))[0]  # noise scales all means alike
    assert abs(floor["value"] - 0.3) < 0.02
    assert abs(floor["irreducible_nats"] - 1.5 * common) < 0.02
    assert floor["irreducible_interval_nats"][0] <= floor["irreducible_nats"] <= floor["irreducible_interval_nats"][1]
    assert "alpha_n_with_irreducible_loss" not in fit(sizes[:3], sums[:3], counts)


def test_one_size_is_no_fit_however_many_seeds_it_has():
    sizes, sums, counts = synthetic(0.08, n_models=3)
    for found in (
        fit(sizes, sums, counts, left_out=["m0", "m1"]),
        fit(np.full(3, 1e4), sums, counts),
        fit(sizes, sums, counts, left_out=["m0", "m1", "m2"]),
    ):
        assert set(found) == {"alpha_n"} and found["alpha_n"]["value"] is None and found["alpha_n"]["interval"] is None
        assert "a power law needs two" in found["alpha_n"]["why"]


@given(losses=st.lists(st.floats(0, 40, width=32), min_size=1, max_size=200), bins=st.integers(10, 300))
def test_densities_integrate_to_one(losses, bins):
    centres, density = single_tokens.density(np.array(losses, dtype=np.float32), bins=bins, limit_bits=30)
    assert len(centres) == bins and abs(density.sum() * 30 / bins - 1) < 1e-9


def test_density_is_per_bit_and_its_first_moment_is_the_mean():
    losses = np.random.default_rng(0).exponential(2, 200_000).astype(np.float32)
    centres, density = single_tokens.density(losses, bins=3000, limit_bits=30)
    assert abs((centres * density).sum() * 0.01 - losses.mean() / np.log(2)) < 0.01
    rate = np.log(2) / 2  # of an exponential in bits
    assert abs(density[:100].mean() / (rate * np.exp(-rate * centres[:100])).mean() - 1) < 0.02


@given(curves=CURVES)
def test_monogenic_against_brute_force(curves):
    """Above 5 nats before some scale j and below 0.3 nats from it on, with at least one scale on each side."""
    found = single_tokens.monogenic(np.array(curves, dtype=np.float32).T, 5, 0.3)
    for curve, flag in zip(curves, found, strict=True):
        expected = any(
            all(x > 5 for x in curve[:j]) and all(x < np.float32(0.3) for x in curve[j:]) for j in range(1, len(curve))
        )
        assert flag == expected


@given(curves=CURVES, drop=st.sampled_from([0.5, 1.0, 4.0]), share=st.sampled_from([0.3, 0.5, 0.9]))
def test_polygenic_against_brute_force(curves, drop, share):
    """Falls at every step, by `drop` in all, and no step holds more than `share` of it."""
    found = single_tokens.polygenic(np.array(curves, dtype=np.float64).T, drop, share)
    for curve, flag in zip(curves, found, strict=True):
        falls = [a - b for a, b in itertools.pairwise(curve)]
        total = curve[0] - curve[-1]
        expected = all(f > 0 for f in falls) and total >= drop and max(falls) / total <= share
        assert flag == expected


@given(curves=CURVES)
def test_what_rises_elsewhere_is_not_sharp(curves):
    """A fall in one step by more than the whole fall needs a rise: a curve that is sharp rises by 10 % of its fall at most."""
    curves = np.array(curves, dtype=np.float64).T
    total, share = single_tokens.largest_drop_share(curves)
    steps = -np.diff(curves, axis=0)
    for i in np.flatnonzero(single_tokens.sharp(share)):
        rises = -steps[:, i].clip(max=0).sum()
        assert steps[:, i].max() >= 0.8 * total[i] - 1e-9
        assert steps[:, i].max() <= 1.1 * total[i] + 1e-9 and (len(steps) > 2 or rises <= 0.1 * total[i] + 1e-9)


def test_a_curve_that_jumps_about_is_counted_apart():
    curves = np.array([[6, 1, 5, 4], [6, 5.9, 1.2, 1], [6, 0.9, 1.2, 1]]).T
    _, counts = single_tokens.token_curves(curves, above=5, below=0.3, drop=1, share=0.5)
    assert (counts["fell"], counts["sharp"], counts["not_monotone"]) == (3, 2, 1)


def test_classes_on_curves_with_a_known_answer():
    curves = np.array(
        [
            [8, 7, 6, 0.1, 0.1],  # one drop, at the fourth scale
            [8, 7, 6, 0.1, 0.4],  # does not stay low
            [5, 4, 3, 2, 1],  # smooth
            [5, 4.9, 4.8, 4.7, 1],  # falls at every step, but nearly all in one
            [1, 2, 3, 4, 5],  # rises
            [3, 3, 3, 3, 3],
        ]
    ).T
    assert single_tokens.monogenic(curves, 5, 0.3).tolist() == [True, False, False, False, False, False]
    assert single_tokens.polygenic(curves, 1, 0.5).tolist() == [False, False, True, False, False, False]
    total, share = single_tokens.largest_drop_share(curves)
    np.testing.assert_allclose(total, [7.9, 7.6, 4, 4, -4, 0])
    np.testing.assert_allclose(share[2:4], [0.25, 0.925])
    assert np.isnan(share[4:]).all()
    table, counts = single_tokens.token_curves(curves, above=5, below=0.3, drop=1, share=0.5)
    assert counts["predictions"] == 6 and counts["fell"] == 4
    assert counts["monogenic"] == 1 and counts["polygenic"] == 1
    assert counts["sharp"] == 1 and counts["not_monotone"] == 0, (
        "of the first two, one holds 74 % of its fall in one step, the other 78 %"
    )
    table["index"] = np.arange(100, 106)
    ids = np.arange(200)
    assert single_tokens.examples(table, ids, 3, drop=1) == ([100, 103], [102])
    ids[103] = ids[100]
    assert single_tokens.examples(table, ids, 3, drop=1) == ([100], [102]), "each token id once"
