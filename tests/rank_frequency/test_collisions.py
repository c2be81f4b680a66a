import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.calibration import planted
from quanta.errors import QuantaError
from quanta.rank_frequency import collisions
from support import counted_as_nominal


def cosines_of(x):
    return np.clip(x.features @ x.features.T, -1, 1)


@pytest.mark.parametrize("alpha", [-0.3, 0.0, 0.083, 0.4, 1.5])
@pytest.mark.parametrize("size", [2, 3])
def test_collision_probability_is_the_sum_over_quanta(alpha, size):
    p = planted.frequencies(alpha, 3000)
    assert collisions.collision_probability(alpha, 3000, size) == pytest.approx((p**size).sum(), rel=1e-6)


def test_numbers_of_the_infinite_law():
    """ζ(2(α+1))/ζ(α+1)²: 0.009 at α = 0.083 and 0.129 at 0.4."""
    assert collisions.collision_probability(0.083, np.inf) == pytest.approx(0.009, abs=1e-3)
    assert collisions.collision_probability(0.4, np.inf) == pytest.approx(0.129, abs=1e-3)


@given(st.floats(-0.5, 3), st.integers(50, 5000), st.sampled_from([2, 3]))
def test_inversion_inverts(alpha, n_quanta, size):
    p = collisions.collision_probability(alpha, n_quanta, size)
    assert collisions.invert(p, n_quanta, size) == pytest.approx(alpha, abs=1e-4)


def test_out_of_reach_gives_the_ends():
    assert collisions.invert(0, 1000) == collisions.ALPHAS[0]
    assert collisions.invert(1, 1000) == collisions.ALPHAS[1]


@pytest.mark.parametrize("alpha", [0.1, 0.4, 0.8])
def test_planted_exponent_lies_in_its_interval(alpha):
    """On clear clusters the interval of the pairs is 90 % of the sampling: three of four draws must be inside, at 95 %."""
    inside = 0
    for seed in range(4):
        x = planted.draw(
            planted.Settings(n_tokens=1200, alpha=alpha, n_quanta=5000, strength=0.85), np.random.default_rng(seed)
        )
        [row] = collisions.resolution_curve(cosines_of(x), np.array([0.5]), 5000, level=1.96)
        inside += row["low"] <= alpha <= row["high"]
    assert inside >= 3


def test_counts_are_those_of_a_plain_loop():
    x = planted.draw(planted.Settings(n_tokens=60), np.random.default_rng(0))
    cosines = cosines_of(x)
    counts = collisions.count(cosines, np.array([0.1, 0.4]), block=17)
    pairs = cosines[np.triu_indices(60, 1)]
    assert counts.histogram.sum() == len(pairs)
    assert counts.histogram[counts.centres > 0.4].sum() == pytest.approx((pairs > 0.4).sum(), abs=2)
    np.testing.assert_array_equal(counts.degrees[1], [(np.delete(row, i) > 0.4).sum() for i, row in enumerate(cosines)])


def test_no_quanta_no_excess():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((800, 300))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    null = collisions.empirical_null(collisions.count(x @ x.T, np.array([0.3])))
    assert abs(null.mode) < 0.005 and null.sd == pytest.approx(300**-0.5, rel=0.05)
    assert null.excess < 0.02


def test_sampling_error_is_the_spread_over_samples():
    """No interval narrower than its sampling noise: the U-statistic's error against the spread of fresh samples."""
    shares, errors = [], []
    p = planted.frequencies(0.5, 200)
    for seed in range(200):
        own = np.random.default_rng(seed).choice(200, 300, p=p)
        degrees = np.bincount(own, minlength=200)[own] - 1
        shares.append(degrees.mean() / 299)
        errors.append(collisions.standard_error(degrees))
    assert np.mean(errors) == pytest.approx(np.std(shares), rel=0.25)


def test_intervals_of_the_share_hold_it_as_often_as_they_say_where_texts_keep_to_their_quanta():
    """Of 200 corpora whose texts keep to four quanta each: by text in 90 %, by token far less."""
    p = planted.frequencies(0.5, 300)
    number, shares, errors = 200, [], {"text": [], "token": []}
    for seed in range(number):
        rng = np.random.default_rng(seed)
        lengths = rng.integers(2, 20, 80)
        own = np.concatenate([rng.choice(rng.choice(300, 4, p=p), length) for length in lengths])
        text = np.repeat(np.arange(80), lengths)
        degrees = np.bincount(own, minlength=300)[own] - 1
        shares.append(degrees.mean() / (len(own) - 1))
        errors["text"].append(collisions.standard_error(degrees, text))
        errors["token"].append(collisions.standard_error(degrees))
    off = np.abs(np.array(shares) - np.mean(shares))
    held = {name: int((off < 1.645 * np.array(error)).sum()) for name, error in errors.items()}
    assert counted_as_nominal(held["text"], number)
    assert held["token"] < 0.75 * number


def test_the_curve_takes_the_error_of_whole_texts():
    x = planted.draw(planted.Settings(n_tokens=400, alpha=0.4, strength=0.85), np.random.default_rng(0))
    order = np.argsort(x.quantum, kind="stable")  # texts of one quantum each, nearly
    cosines = cosines_of(x)[np.ix_(order, order)]
    [alone] = collisions.resolution_curve(cosines, np.array([0.5]), 5000)
    [grouped] = collisions.resolution_curve(cosines, np.array([0.5]), 5000, groups=np.arange(400) // 20)
    assert grouped["alpha"] == alone["alpha"] and grouped["high"] - grouped["low"] > 1.5 * (
        alone["high"] - alone["low"]
    )


def test_degrees_give_ranks_and_sizes_back():
    sizes = np.array([120, 60, 40, 30, 24, 20])
    degrees = np.repeat(sizes - 1, sizes)
    rank, size = collisions.degree_law(degrees)
    assert size[0] == 120 and rank[-1] == pytest.approx(6.5)
    assert collisions.alpha_from_degrees(degrees) == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("spoil", [np.nan, np.inf])
def test_cosines_that_are_none_are_named(spoil):
    cosines = np.eye(20)
    cosines[3, 4] = spoil
    with pytest.raises(QuantaError, match=r"\(3, 4\)"):
        collisions.count(cosines, np.array([0.3]))
