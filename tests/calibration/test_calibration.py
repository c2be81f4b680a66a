import numpy as np
import pandas as pd
import pytest
from quanta.calibration import estimators, naive_slopes, planted, regression, simulations, toy
from quanta.errors import QuantaError
from quanta.rank_frequency import collisions
from scipy.stats import betabinom, binom
from support import script


@pytest.fixture(scope="module")
def made():
    return simulations.simulate(range(300), 150, seed=0, dimension=64)


@pytest.fixture(scope="module")
def fitted(made):
    return regression.Calibration(made.iloc[:200])


def told(number, seed, *, noise=0.3, tails=3.0, hard=True):
    """Simulations with made-up summaries: α plus an error whose long side points away from 0.4, larger where `hard` says so.

    Each summary is a mix of that, of the hardness and of heavy tails.
    """
    rng = np.random.default_rng(seed)
    alpha = rng.uniform(*planted.PRIOR["alpha"], number)
    level = rng.uniform(0.3, 1.7, number) if hard else np.ones(number)
    error = noise * level * (rng.exponential(size=number) - 1)
    latent = np.stack([alpha + np.sign(alpha - 0.4) * error, level, *rng.standard_t(tails, (4, number))], axis=1)
    summaries = latent @ np.random.default_rng(0).standard_normal((6, 12)) + 0.01 * rng.standard_normal((number, 12))
    known = {"simulation": np.arange(number), "planted_alpha": alpha, "planted_n_tokens": 100}
    return pd.DataFrame(known | {f"s{j}": summaries[:, j] for j in range(12)})


def test_features_of_a_model_with_few_parameters_have_no_deviation_between_sketches(fitted, tmp_path):
    """Nothing is folded where the features have more places than the model has parameters, and the second half is empty."""
    deviation = script("calibration/calibrate").__globals__["_sketch_deviation"]
    rows = np.random.default_rng(0).standard_normal((100, 401)).astype(np.float32)
    np.save(tmp_path / "features.npy", rows)
    assert deviation([str(tmp_path / "features.npy")], np.arange(0, 100, 2), fitted) >= 0
    rows[:, 150:] = 0
    np.save(tmp_path / "features.npy", rows)
    assert deviation([str(tmp_path / "features.npy")], np.arange(0, 100, 2), fitted) is None


def about(count, number, share, known):
    """Whether a count is one that a share gives which was estimated from `known` draws (0.1 % of them are refused)."""
    low, high = betabinom.interval(0.999, number, known * share, known * (1 - share))
    return low <= count <= high


def test_a_simulation_is_its_number_alone(made):
    again = simulations.simulate([7, 3], 150, seed=0, dimension=64).set_index("simulation")
    pd.testing.assert_frame_equal(again.loc[[3, 7]], made.set_index("simulation").loc[[3, 7]])


def test_summaries_do_not_depend_on_the_order_of_tokens():
    """All but the growth of components, whose half is drawn by place, and the spectrum from fixed vectors."""
    x = planted.draw(planted.Settings(n_tokens=200), np.random.default_rng(0)).features
    cosines = np.clip(x @ x.T, -1, 1)
    order = np.random.default_rng(1).permutation(200)
    one, two = simulations.summaries(cosines), simulations.summaries(cosines[np.ix_(order, order)])
    loose = [name for name in one if name.startswith(("growth", "eigenvalue", "denoised", "error_denoised", "kept"))]
    assert {n: one[n] for n in one if n not in loose} == pytest.approx({n: two[n] for n in two if n not in loose})
    assert one["eigenvalue_1"] == pytest.approx(two["eigenvalue_1"], abs=0.01)


def test_growth_takes_a_random_half_whatever_the_order():
    """Pairs of copies side by side: every other token would be one of each pair, and their number would not grow."""
    cosines = np.kron(np.eye(200), np.ones((2, 2)))
    order = np.random.default_rng(0).permutation(400)
    growth = [simulations.summaries(c)["growth_0.5"] for c in (cosines, cosines[np.ix_(order, order)])]
    # of 200 pairs a half of the tokens holds three quarters
    np.testing.assert_allclose(growth, np.log2(4 / 3), atol=0.1)


def test_components_are_those_of_the_graph():
    labels = np.random.default_rng(0).integers(0, 30, 90)
    number, found = simulations._parts(labels[:, None] == labels[None, :])
    assert number == len(np.unique(labels)) == len(set(zip(labels, found, strict=True)))


def test_intervals_cover_as_often_as_they_say(fitted, made):
    """A hundred held-out simulations, on both sides of the nominal rate."""
    covered = fitted.coverage(made.iloc[200:])
    low, high = binom.interval(0.99, len(covered), 0.9)
    assert low <= covered["covered"].sum() <= high
    assert (covered["high"] - covered["low"]).mean() < np.ptp(planted.PRIOR["alpha"])


def test_both_tails_are_as_rare_as_the_level_says():
    """Where the error's long side changes with α and its size with the data, each end of the interval is still right."""
    fitted, rest = regression.Calibration(told(800, 1)), told(1500, 2)
    for level in (0.5, 0.9):
        found = fitted.coverage(rest, level=level)
        for side in (found["value"] < 0.4, found["value"] >= 0.4):
            part = found[side]
            for outside in (part["alpha"] < part["low"], part["alpha"] > part["high"]):
                assert about(outside.sum(), len(part), (1 - level) / 2, 300), (level, outside.mean())
        width = found["high"] - found["low"]
        for part in (found[width < width.quantile(0.3)], found[width > width.quantile(0.7)]):
            assert about(part["covered"].sum(), len(part), level, 200), (level, part["covered"].mean())


def test_hard_data_have_wider_intervals():
    fitted, rest = regression.Calibration(told(800, 1)), told(400, 3)
    width = fitted.coverage(rest).eval("high - low").to_numpy()
    latent = rest[[f"s{j}" for j in range(12)]].to_numpy() @ np.linalg.pinv(
        np.random.default_rng(0).standard_normal((6, 12))
    )
    easy, hard = (width[chosen] for chosen in (latent[:, 1] < 0.7, latent[:, 1] > 1.3))
    assert np.median(hard) > 1.2 * np.median(easy)


def test_the_guess_knows_more_than_the_prior(fitted, made):
    found = fitted.coverage(made.iloc[200:])
    error = np.sqrt(((found["value"] - found["alpha"]) ** 2).mean())
    assert error < 0.75 * found["alpha"].std()


def test_intervals_do_not_leave_the_prior(fitted, made):
    low, high = planted.PRIOR["alpha"]
    found = fitted.coverage(made, level=0.99)
    assert (found["low"] >= low).all() and (found["high"] <= high).all()
    assert (found["low"] == low).any() and (found["high"] == high).any(), "some would"


def test_wider_levels_nest(fitted, made):
    """Strictly, away from the ends of the prior, which cut intervals off."""
    rest = made.iloc[200:].reset_index(drop=True)
    record = rest.iloc[(fitted.coverage(rest)["value"] - 0.4).abs().argmin()].to_dict()
    narrow, wide = (fitted.infer(record, level=level).interval for level in (0.5, 0.95))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize(("known", "tails", "further"), [(400, 3.0, 0), (400, 30.0, 0), (150, 3.0, 60)])
def test_a_share_q_of_the_prior_has_a_p_value_below_q(known, tails, further):
    """Also of few simulations with many summaries, to whose own cloud they lie nearer than others do."""

    def drawn(number, seed):
        table = told(number, seed, tails=tails)
        noise = np.random.default_rng(seed).standard_normal((number, further))
        return pd.concat([table, pd.DataFrame(noise).add_prefix("noise")], axis=1)

    fitted, rest = regression.Calibration(drawn(known, 4)), drawn(3000, 5)
    p_values = fitted.p_values(rest[fitted.names].to_numpy())
    for q in (0.01, 0.1, 0.5):
        assert about((p_values <= q).sum(), 3000, q, known), (q, (p_values <= q).mean())


def test_planted_draws_are_as_rarely_called_unlike_any_other(fitted, made):
    p_values = fitted.p_values(made.iloc[200:][fitted.names].to_numpy())
    for q in (0.01, 0.1, 0.5):
        assert about((p_values <= q).sum(), 100, q, 200), (q, (p_values <= q).mean())


def test_directions_of_little_spread_are_left_out(fitted):
    """What they hold together is a hundredth of the whole; in each of them a distance would be rounding."""
    for cloud, _ in fitted.clouds:
        kept = cloud.axes.shape[1]
        assert 2 < kept < len(fitted.names)
        np.testing.assert_allclose(cloud.axes.T @ cloud.axes, np.eye(kept), atol=1e-9)


def test_each_verdict_is_given_where_it_is_due():
    """Clear summaries measure, those that know nothing of α cannot tell, nor those of no simulation."""
    clear, rest = regression.Calibration(told(400, 6, noise=0.05)), told(200, 7, noise=0.05)
    verdicts = clear.coverage(rest)["verdict"].value_counts()
    assert verdicts[regression.ALIKE] >= 190 and regression.UNLIKE_ALL not in verdicts.head(1)
    nothing = told(400, 6).assign(planted_alpha=np.random.default_rng(0).permutation(told(400, 6)["planted_alpha"]))
    verdicts = regression.Calibration(nothing).coverage(rest)["verdict"].value_counts()
    assert verdicts[regression.WIDE] >= 190 and regression.ALIKE not in verdicts
    far = rest.assign(**{f"s{j}": rest[f"s{j}"] + 100 for j in range(12)})
    assert (clear.coverage(far)["verdict"] == regression.UNLIKE_ALL).all()


def test_data_unlike_any_simulation_cannot_tell(fitted):
    """Two tight clouds at right angles: the interval is still given, with a verdict."""
    x = np.repeat(np.eye(64)[:2], 75, axis=0) + 1e-3 * np.random.default_rng(0).standard_normal((150, 64))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = fitted.infer(simulations.summaries(np.clip(x @ x.T, -1, 1)))
    assert found.verdict == regression.UNLIKE_ALL
    assert found.interval[0] <= found.value <= found.interval[1]


def test_a_table_is_inferred_as_its_rows_are(fitted, made):
    table = fitted.infer_all(made.iloc[200:205])
    for one, row in zip(table, made.iloc[200:205].to_dict(orient="records"), strict=True):
        alone = fitted.infer(row)
        assert one.interval == pytest.approx(alone.interval) and one.verdict == alone.verdict


def test_data_are_compared_at_as_many_tokens_as_are_simulated_and_none_twice():
    cosines = np.arange(144.0).reshape(12, 12)
    part, chosen = regression.thinned(cosines, 5)
    assert len(np.unique(chosen)) == 5
    np.testing.assert_array_equal(part, cosines[np.ix_(chosen, chosen)])
    np.testing.assert_array_equal(regression.thinned(cosines, 12)[0], cosines)
    with pytest.raises(QuantaError, match="simulations of 13"):
        regression.thinned(cosines, 13)
    table = pd.DataFrame({"planted_n_tokens": [100, 100]})
    assert regression.n_tokens(table) == 100
    with pytest.raises(QuantaError, match="one number"):
        regression.n_tokens(pd.DataFrame({"planted_n_tokens": [100, 101]}))


def test_what_is_held_out_is_the_same_however_the_table_is_ordered(made):
    known, rest = regression.split(made.sample(frac=1, random_state=0), 100)
    assert known["simulation"].tolist() == list(range(200)) and rest["simulation"].tolist() == list(range(200, 300))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
def test_a_simple_estimate_has_the_interval_of_its_statistic(threshold):
    """Also where so few pairs collide that the share of triples is below the floor of its logarithm."""
    x = planted.draw(planted.Settings(n_tokens=800, alpha=0.1, strength=0.8), np.random.default_rng(0)).features
    cosines = np.clip(x @ x.T, -1, 1)
    found = estimators.simple_estimates(simulations.summaries(cosines))[f"pairs above {threshold}"]
    [at] = collisions.resolution_curve(cosines, np.array([threshold]), estimators.QUANTA)
    if at["pair_share"] > simulations.FLOOR:
        for ours, theirs in (("value", "alpha"), ("low", "low"), ("high", "high")):
            assert found[ours] == pytest.approx(at[theirs], abs=1e-4)


def test_estimators_stand_in_one_table(fitted, made):
    held_out = made.iloc[200:]
    table = estimators.compare_estimators(held_out, fitted.coverage(held_out)).set_index("estimator")
    assert table.loc["calibrated", "rmse"] == table["rmse"].min()
    np.testing.assert_allclose(table["rmse"] ** 2, table["bias"] ** 2 + table["sd"] ** 2)


def test_true_sizes_beat_the_envelope_at_what_they_measure():
    table = naive_slopes.slopes([1, 2], 150, [5, 10, 20], (0.01, 0.1), seed=0, dimension=64)
    assert np.isfinite(table[["slope", "true_slope"]]).all(axis=None) and (table["slope"] < 0).all()


def test_toy_collisions_are_nearer_than_the_slope():
    row = toy.toy_row(600, 1.5, 1.0, seed=0)
    assert abs(row["alpha_collisions"] - 0.5) < abs(-row["slope"] - 1.5)


def test_too_few_of_anything_is_an_error(made):
    with pytest.raises(QuantaError, match="at least 100"):
        regression.Calibration(made.iloc[:50])
    with pytest.raises(QuantaError, match="at least 40"):
        simulations.summaries(np.eye(20))


@pytest.mark.parametrize("change", [{"strength": 1.5}, {"shared": 0.6, "identity": 0.6}, {"mixed": -0.1}])
def test_settings_that_leave_no_room_are_refused(change):
    with pytest.raises(QuantaError, match="planted settings"):
        planted.draw(planted.Settings(n_tokens=50, **change), np.random.default_rng(0))


def test_planted_features_are_what_they_say():
    """Mean cosine within a quantum is its strength, between quanta of one target the identity, of others the shared part."""
    settings = planted.Settings(
        n_tokens=1500, alpha=0.3, n_quanta=60, dimension=2048, strength=0.5, identity=0.2, shared=0.1
    )
    x = planted.draw(settings, np.random.default_rng(0))
    cosines = x.features @ x.features.T
    same = x.quantum[:, None] == x.quantum[None, :]
    target = x.identity[:, None] == x.identity[None, :]
    np.fill_diagonal(same, False)
    assert cosines[same].mean() == pytest.approx(0.1 + 0.2 + 0.5 * 0.7, abs=0.03)
    assert cosines[target & ~same & ~np.eye(1500, dtype=bool)].mean() == pytest.approx(0.3, abs=0.03)
    assert cosines[~target].mean() == pytest.approx(0.1, abs=0.03)


def test_selection_by_loss_keeps_frequent_quanta():
    rng = np.random.default_rng(0)
    quantum = rng.choice(5000, 20000, p=planted.frequencies(0.2, 5000))
    kept = planted.low_loss(quantum, rng, learned=300, slope=0.5)
    assert kept[quantum < 30].mean() > kept[(quantum > 200) & (quantum < 300)].mean() > 0.5
    assert kept[quantum >= 300].mean() < 0.05
