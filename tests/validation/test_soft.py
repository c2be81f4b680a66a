import numpy as np
import pytest
from quanta.calibration import planted
from quanta.errors import QuantaError
from quanta.validation import soft_factors


def test_factors_find_planted_sizes():
    x = planted.draw(planted.Settings(n_tokens=300, alpha=0.2, n_quanta=6, strength=0.9), np.random.default_rng(0))
    shares = soft_factors.memberships(np.clip(x.features @ x.features.T, -1, 1), 6)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    table = soft_factors.rank_frequency(shares, x.quantum)
    assert table["hard_size"].sum() == 300 and table["soft_size"].sum() == pytest.approx(300)
    np.testing.assert_allclose(table["soft_size"], table["hard_size"], rtol=0.25, atol=4)


def test_a_token_between_two_quanta_belongs_to_both():
    axis = np.eye(12)[:2]
    x = np.concatenate([np.repeat(axis, 30, axis=0), [(axis[0] + axis[1]) / 2**0.5]])
    share = soft_factors.memberships(x @ x.T, 2)[-1]
    assert share.min() > 0.35


def test_as_many_factors_as_tokens_is_an_error():
    with pytest.raises(QuantaError, match="factors"):
        soft_factors.memberships(np.eye(5), 5)
