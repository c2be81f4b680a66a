import numpy as np
import pandas as pd
import pytest
from quanta import calibration, planted
from quanta.errors import QuantaError


@pytest.fixture(scope="module")
def simulations():
    return calibration.simulate(range(260), 150, seed=0, dimension=64)


@pytest.fixture(scope="module")
def fitted(simulations):
    return calibration.Calibration(simulations.iloc[:200])


def test_a_simulation_is_its_number_alone(simulations):
    again = calibration.simulate([7, 3], 150, seed=0, dimension=64).set_index("simulation")
    pd.testing.assert_frame_equal(again.loc[[3, 7]], simulations.set_index("simulation").loc[[3, 7]])


def test_summaries_do_not_depend_on_the_order_of_tokens():
    """All but the growth of components, which takes every other token as its half."""
    x = planted.draw(planted.Settings(n_tokens=200), np.random.default_rng(0)).features
    cosines = np.clip(x @ x.T, -1, 1)
    order = np.random.default_rng(1).permutation(200)
    one, two = calibration.summaries(cosines), calibration.summaries(cosines[np.ix_(order, order)])
    loose = [name for name in one if name.startswith(("growth", "eigenvalue", "denoised", "kept"))]
    assert {n: one[n] for n in one if n not in loose} == pytest.approx({n: two[n] for n in two if n not in loose})
    assert one["eigenvalue_1"] == pytest.approx(two["eigenvalue_1"], abs=0.01)


def test_intervals_cover_as_often_as_they_say(fitted, simulations):
    """Sixty held-out simulations: 90 % nominal must not be refused by a binomial test at 1 %, 47 to 60 of them."""
    covered = fitted.coverage(simulations.iloc[200:])
    assert covered["covered"].sum() >= 47
    width = (covered["high"] - covered["low"]).mean()
    assert width < planted.PRIOR["alpha"][1] - planted.PRIOR["alpha"][0]


def test_the_guess_knows_more_than_the_prior(fitted, simulations):
    found = fitted.coverage(simulations.iloc[200:])
    error = np.sqrt(((found["value"] - found["alpha"]) ** 2).mean())
    assert error < 0.75 * found["alpha"].std()


def test_wider_levels_nest(fitted, simulations):
    record = simulations.iloc[210].to_dict()
    narrow, wide = (fitted.infer(record, level=level).interval for level in (0.5, 0.95))
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]


def test_data_unlike_any_simulation_cannot_tell(fitted):
    """Two tight clouds at right angles: the interval is still given, with a verdict."""
    x = np.repeat(np.eye(64)[:2], 75, axis=0) + 1e-3 * np.random.default_rng(0).standard_normal((150, 64))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    found = fitted.infer(calibration.summaries(np.clip(x @ x.T, -1, 1)))
    assert found.verdict.startswith("cannot tell: no simulation")
    assert found.interval[0] <= found.value <= found.interval[1]


def test_estimators_stand_in_one_table(fitted, simulations):
    held_out = simulations.iloc[200:]
    table = calibration.compare_estimators(held_out, fitted.coverage(held_out)).set_index("estimator")
    assert table.loc["calibrated", "rmse"] == table["rmse"].min()
    np.testing.assert_allclose(table["rmse"] ** 2, table["bias"] ** 2 + table["sd"] ** 2)


def test_true_sizes_beat_the_envelope_at_what_they_measure():
    table = calibration.naive_slopes([1, 2], 150, [5, 10, 20], (0.01, 0.1), seed=0, dimension=64)
    assert np.isfinite(table[["slope", "true_slope"]]).all(axis=None) and (table["slope"] < 0).all()


def test_toy_collisions_are_nearer_than_the_slope():
    row = calibration.toy_row(600, 1.5, 1.0, seed=0)
    assert abs(row["alpha_collisions"] - 0.5) < abs(-row["slope"] - 1.5)


def test_too_few_of_anything_is_an_error(simulations):
    with pytest.raises(QuantaError, match="at least 100"):
        calibration.Calibration(simulations.iloc[:50])
    with pytest.raises(QuantaError, match="at least 40"):
        calibration.summaries(np.eye(20))


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
