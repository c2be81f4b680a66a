"""The quantization model: exact sums against brute force, limits, and the simulation that must agree with them."""

import mpmath
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.errors import QuantaError
from quanta.theory import accounts, closed_form, published_exponents

alphas = st.floats(0.05, 2.0)


@given(alpha=alphas, n_quanta=st.integers(1, 400), share=st.floats(0, 1))
def test_finite_sum_is_the_brute_force_sum(alpha, n_quanta, share):
    n = int(share * n_quanta)
    p = np.arange(1, n_quanta + 1) ** -(alpha + 1.0)
    p /= p.sum()
    by_hand = 0.3 * p[:n].sum() + 2.0 * p[n:].sum()
    assert np.isclose(closed_form.loss(n, alpha, n_quanta=n_quanta, before=2.0, after=0.3), by_hand, rtol=1e-9)
    assert np.allclose(closed_form.frequencies(alpha, n_quanta), p, rtol=1e-10)


@given(alpha=alphas, n_quanta=st.integers(2, 300), share=st.floats(0, 1))
def test_loss_by_frequency_is_the_brute_force_sum(alpha, n_quanta, share):
    n = int(share * n_quanta)
    p = np.arange(1, n_quanta + 1) ** -(alpha + 1.0)
    p /= p.sum()
    by_hand = 0.1 * p[:n].sum() - (p[n:] * np.log(p[n:])).sum()
    assert np.isclose(
        closed_form.loss_by_frequency(n, alpha, n_quanta=n_quanta, after=0.1), by_hand, rtol=1e-7, atol=1e-11
    )


def test_entropy_of_infinitely_many_quanta_is_that_of_the_zeta_function():
    for alpha in (0.1, 0.4, 1.0):
        s = mpmath.mpf(alpha + 1)
        entropy = -s * mpmath.zeta(s, derivative=1) / mpmath.zeta(s) + mpmath.log(mpmath.zeta(s))
        assert np.isclose(closed_form.loss_by_frequency(0, alpha), float(entropy), rtol=1e-10)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.8])
def test_many_quanta_reach_the_asymptote(alpha):
    n = np.array([1e2, 1e4, 1e6])
    error = np.abs(closed_form.loss(n, alpha) / closed_form.loss_asymptote(n, alpha) - 1)
    assert (np.diff(error) < 0).all()
    assert error[-1] < 1e-5
    assert np.isclose(closed_form.unlearned_share(0, alpha), 1)


@pytest.mark.parametrize("resource", closed_form.RESOURCES)
@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.8])
def test_local_slope_is_the_derivative_and_ends_at_the_exponent(resource, alpha):
    for n_quanta in (500, closed_form.INFINITE):
        n = np.array([3.0, 30.0, 300.0])
        h = 1e-5
        power = 1.0 if resource == "parameters" else alpha + 1
        shares = [closed_form.unlearned_share(n * np.exp(sign * h), alpha, n_quanta) for sign in (1, -1)]
        numeric = -(np.log(shares[0]) - np.log(shares[1])) / (2 * h * power)
        assert np.allclose(closed_form.local_slope(n, alpha, resource, n_quanta=n_quanta), numeric, rtol=1e-4)
    assert np.isclose(closed_form.local_slope(1e7, alpha, resource), closed_form.exponent(resource, alpha), rtol=1e-4)


def test_few_quanta_are_steeper_than_the_asymptote():
    # the paper's figure: measured exponents lie above the asymptote for small α because 500 tasks are finitely many
    for alpha in (0.1, 0.2, 0.4):
        finite = closed_form.slope_over(5, 100, alpha, "parameters", n_quanta=500)
        infinite = closed_form.slope_over(5, 100, alpha, "parameters")
        assert finite > infinite
    excess = [closed_form.slope_over(5, 100, alpha, "parameters", n_quanta=500) - alpha for alpha in (0.1, 0.4, 0.8)]
    assert excess[0] > excess[1] > excess[2]


def test_slope_over_a_range_lies_between_its_local_slopes():
    low, high = closed_form.local_slope(np.array([5.0, 200.0]), 0.4, "data", n_quanta=500)
    assert low < closed_form.slope_over(5, 200, 0.4, "data", n_quanta=500) < high


@given(alpha=alphas)
def test_data_exponent_follows_from_the_parameter_exponent(alpha):
    assert np.isclose(
        closed_form.data_exponent(closed_form.exponent("parameters", alpha)), closed_form.exponent("data", alpha)
    )


@pytest.mark.parametrize("growth", [0.0, 0.5, 1.0])
def test_dearer_quanta_divide_the_exponent(growth):
    sizes = np.geomspace(1e8, 1e12, 20)
    n = closed_form.quanta_of_parameters(sizes, cost=3.0, growth=growth)
    slope = closed_form.fitted_slope(sizes, closed_form.loss(n, 0.5))
    assert np.isclose(slope, closed_form.exponent("parameters", 0.5, growth), rtol=0.01)
    spent = 3.0 * (np.arange(1, int(n[0]) + 1) ** growth).sum() if n[0] < 1e7 else None
    assert spent is None or np.isclose(spent, sizes[0], rtol=0.01)


def test_learning_by_frequency_agrees_with_the_exact_sum():
    rng = np.random.default_rng(1)
    sizes = [100, 1000, 10_000, 100_000]
    drawn = closed_form.simulate_data(sizes, 0.4, 500, threshold=10, draws=200, rng=rng)
    exact = closed_form.expected_data_loss(sizes, 0.4, 500, threshold=10)
    spread = drawn.std(axis=0) / np.sqrt(len(drawn)) + 1e-12
    assert (np.abs(drawn.mean(axis=0) - exact) < 4 * spread).all()
    # the paper's sharp rule n(D), a step where the exact sum has a slope, stays within a third of it
    sharp = closed_form.unlearned_share(closed_form.quanta_of_samples(sizes, 0.4, threshold=10, n_quanta=500), 0.4, 500)
    assert np.allclose(sharp[:3], exact[:3], rtol=0.33)


def test_learner_that_counts_comes_near_the_one_that_knows():
    capacities = [1, 3, 10, 30, 100]
    found = closed_form.simulate_parameters(capacities, 0.4, 500, samples=10**7, rng=np.random.default_rng(2))
    best = closed_form.loss(np.array(capacities), 0.4, n_quanta=500)
    assert (found >= best - 1e-12).all()
    assert np.allclose(found, best, rtol=1e-3)


def test_multilinear_model_has_its_published_exponent():
    time = np.geomspace(1e3, 1e5, 30)
    slope = closed_form.fitted_slope(time, accounts.multilinear_loss(time, 0.6, n_quanta=200_000))
    assert np.isclose(slope, 0.6 / 1.6, rtol=0.03)
    assert np.isclose(accounts.multilinear_loss(np.zeros(1), 0.6, n_quanta=50, initial=0.01)[0], 0.99**2)


def test_accounts_agree_where_they_claim_the_same():
    table = accounts.account_table([0.3, 0.6])
    wide = table.pivot(index=["alpha", "resource"], columns="account", values="exponent")
    assert np.allclose(wide["quantization"].dropna(), wide["multilinear"][wide["quantization"].notna()])
    assert (table["source"].str.contains("arXiv")).all()
    compute = table[table["resource"] == "compute"].set_index("alpha")["exponent"]
    # compute buys time and parameters at once: below both exponents
    assert (compute < 0.3 / 1.3).iloc[0]


def test_published_pairs_and_the_curve():
    table, counts = published_exponents.residuals(published_exponents.read_exponents(published_exponents.PUBLISHED))
    assert counts["pairs"] == 14
    kaplan = table[table["source"] == "Kaplan et al. 2020"].iloc[0]
    assert (kaplan["alpha_n"], kaplan["alpha_d"]) == (0.076, 0.095)
    assert np.isclose(kaplan["predicted_alpha_d"], 0.076 / 1.076)
    assert counts["within_factor"] == int((np.abs(table["log_ratio"]) <= np.log(1.5)).sum())
    everything, wide = published_exponents.residuals(
        table.drop(columns=["predicted_alpha_d", "log_ratio", "within"]), factor=100
    )
    assert wide["within_factor"] == 14
    assert everything["within"].all()


def test_own_exponents_stand_beside_the_published_ones(tmp_path):
    own = tmp_path / "own.csv"
    pd.DataFrame({"source": ["us"], "task": ["x"], "alpha_n": [0.5], "alpha_d": [1 / 3]}).to_csv(own, index=False)
    table, _ = published_exponents.residuals(published_exponents.read_exponents(published_exponents.PUBLISHED, own))
    mine = table[table["file"] == "own.csv"]
    assert len(table) == 15
    assert np.isclose(mine["log_ratio"].iloc[0], 0)


def test_bad_input_is_named(tmp_path):
    with pytest.raises(QuantaError, match="α = 0"):
        closed_form.loss(3, 0.0)
    with pytest.raises(QuantaError, match="0 quanta"):
        closed_form.frequencies(0.4, 0)
    with pytest.raises(QuantaError, match="resource 'money'"):
        closed_form.exponent("money", 0.4)
    with pytest.raises(QuantaError, match="first < last < K"):
        closed_form.slope_over(5, 500, 0.4, "data", n_quanta=500)
    with pytest.raises(QuantaError, match="positive losses"):
        closed_form.fitted_slope(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    wrong = tmp_path / "wrong.csv"
    pd.DataFrame({"source": ["a", "b"], "task": "x", "alpha_n": [0.1, 0.2], "alpha_d": [0.1, -0.2]}).to_csv(
        wrong, index=False
    )
    with pytest.raises(QuantaError, match=r"row 2.*\n.*positive"):
        published_exponents.read_exponents(wrong)
