import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta import zipf
from quanta.errors import QuantaError


def labels_with(sizes, k=None):
    """A table of labels whose clusters have the given sizes."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return pd.DataFrame({"n_clusters": k or len(sizes), "token": np.arange(len(labels)), "label": labels})


@pytest.mark.parametrize(
    ("sizes", "slope"), [([720, 360, 240, 180, 144, 120], -1), ([3600, 900, 400, 225, 144, 100], -2)]
)
def test_slope_of_an_exact_power_law(sizes, slope):
    assert abs(zipf.slope(np.array(sizes), 1, 6) - slope) < 1e-12
    assert abs(zipf.slope(np.array([10**6, *sizes[1:], 10**6]), 2, 6) - slope) < 1e-12, "both ends are inclusive"


def test_envelope_is_the_upper_bound_rank_by_rank():
    assert zipf.envelope([np.array([9, 2, 1]), np.array([5, 4]), np.array([3, 3, 2, 2])]).tolist() == [9, 4, 2, 2]


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=12), min_size=1, max_size=5))
def test_table_holds_every_curve_and_their_envelope(all_sizes):
    tokens = max(sum(sizes) for sizes in all_sizes)
    tables = []
    for k, sizes in enumerate(all_sizes, start=1):
        rest = tokens - sum(sizes)
        tables.append(labels_with([*sizes, rest] if rest else sizes, k))
    table = zipf.rank_frequency(pd.concat(tables))
    curves = {k: part.sort_values("rank")["size"].to_numpy() for k, part in table.groupby("n_clusters")}
    top = curves.pop(zipf.ENVELOPE)
    assert sorted(curves) == list(range(1, len(all_sizes) + 1))
    for curve in curves.values():
        assert curve.sum() == tokens and (np.diff(curve) <= 0).all()
        assert (top[: len(curve)] >= curve).all()
    assert all(any(r < len(c) and c[r] == size for c in curves.values()) for r, size in enumerate(top))
    assert table.groupby("n_clusters")["rank"].min().eq(1).all()


def test_paper_ranks_at_the_papers_number_of_tokens():
    assert zipf.rank_range(10_000, (0.01, 0.1)) == (100, 1000)
    assert zipf.rank_range(5, (0.01, 0.1)) == (1, 1)


def test_fit_finds_the_law_of_the_envelope_and_of_the_null():
    sizes = [720, 360, 240, 180, 144, 120]
    n = sum(sizes)
    labels = pd.concat([labels_with(sizes), labels_with([700, 350, 230, n - 1280], 4)])
    identity = np.repeat(np.arange(4), [n - 3 * 147, 147, 147, 147])
    fits = zipf.fit_envelope(labels, identity, (1 / n, 6 / n), draws=50, seed=0)
    top, null = fits["envelope_slope"], fits["identity_slope"]
    curve = zipf.envelope([np.array(sizes), np.sort([700, 350, 230, n - 1280])[::-1]])
    expected = np.polyfit(np.log(np.arange(1, 7)), np.log(curve), 1)[0]
    assert abs(top["value"] - expected) < 1e-12 and top["ranks"] == [1, 6] and top["n_tokens"] == n
    assert top["interval"][0] < top["value"] < top["interval"][1]
    assert null["n_identities"] == 4 and null["ranks"] == [1, 4] and null["value"] < 0


def test_bootstrap_is_the_seeds_alone():
    labels = labels_with([40, 20, 13, 10])
    one = zipf.bootstrap_slopes(labels, 1, 4, draws=5, seed=1)
    np.testing.assert_array_equal(one, zipf.bootstrap_slopes(labels, 1, 4, draws=5, seed=1))
    assert (one != zipf.bootstrap_slopes(labels, 1, 4, draws=5, seed=2)).any()
    assert abs(np.median(zipf.bootstrap_slopes(labels, 1, 4, draws=200, seed=1)) + 1) < 0.2


def test_a_range_without_two_clusters_is_refused_with_both_ways_out():
    with pytest.raises(QuantaError, match="at least two ranks") as caught:
        zipf.slope(np.array([5, 3, 2]), 3, 30)
    assert "qdg.rank_shares" in caught.value.where and "qdg.n_clusters" in caught.value.mend


def test_maximum_likelihood_finds_a_power_law():
    """p(s) ∝ s^-γ: the fitted γ lies within three standard errors, and the fit is not refused."""
    rng = np.random.default_rng(0)
    sizes = rng.zipf(2.0, 800)
    fit = zipf.power_law(sizes[sizes < 10**6], draws=30)
    assert abs(fit["gamma"] - 2) < 3 * fit["standard_error"] and fit["p_value"] > 0.1
    assert fit["alpha"] == pytest.approx(1 / (fit["gamma"] - 1) - 1)


def test_maximum_likelihood_refuses_a_lump():
    sizes = np.random.default_rng(0).poisson(40, 400)
    fit = zipf.power_law(sizes, draws=30)
    assert fit["p_value"] < 0.1 or fit["n_clusters"] < 100


def test_equal_clusters_have_no_law():
    assert zipf.power_law(np.full(50, 7))["gamma"] is None


def test_all_tokens_in_one_cluster_is_said():
    with pytest.raises(QuantaError, match="one cluster"):
        zipf.fit_envelope(labels_with([30]), np.arange(30), (0.05, 0.5), draws=10, seed=0)
