import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.errors import QuantaError
from quanta.rank_frequency import size_law, zipf
from support import counted_as_nominal


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


def texts_of_clusters(seed, n_texts=120):
    """Tokens of texts that keep to a few of 60 clusters of a Zipf law, in two clusterings; labels, and the text of each token."""
    rng = np.random.default_rng(seed)
    p = np.arange(1, 61) ** -1.0
    parts, coarse = [], np.arange(60) // 2
    for length in rng.integers(5, 25, n_texts):
        own = rng.choice(60, 3, p=p / p.sum())
        parts.append(rng.choice(own, length))
    fine = np.concatenate(parts)
    text = np.repeat(np.arange(n_texts), [len(part) for part in parts])
    token = np.arange(len(fine))
    tables = [
        pd.DataFrame({"n_clusters": k, "token": token, "label": own}) for k, own in ((60, fine), (30, coarse[fine]))
    ]
    return pd.concat(tables, ignore_index=True), text


def test_intervals_of_the_slope_hold_its_mean_as_often_as_they_say():
    """Of 200 corpora, for the mean of the slope over corpora. Tokens of a text go together: drawn singly they give too little."""
    number = 200
    fits = {True: [], False: []}
    for seed in range(number):
        labels, text = texts_of_clusters(seed)
        for by_text in fits:
            n = len(text)
            found = zipf.fit_envelope(
                labels, np.arange(n) % 7, (4 / n, 25 / n), draws=60, seed=seed, groups=text if by_text else None
            )["envelope_slope"]
            assert found["ranks"] == [4, 25]
            fits[by_text].append((found["value"], *found["interval"]))
    values, low, high = np.array(fits[True]).T
    assert counted_as_nominal(int(((low < values.mean()) & (values.mean() < high)).sum()), number)
    _, low, high = np.array(fits[False]).T
    assert ((low < values.mean()) & (values.mean() < high)).sum() < 0.75 * number


def test_the_slope_of_a_draw_is_that_of_the_envelope_over_all_numbers_of_clusters():
    """Large clusters from one clustering, the rest from another: neither alone has the envelope's slope."""
    few, many = [4000, 200, 200, 200, 200, 200], [1000] * 5
    labels = pd.concat([labels_with(few, 6), labels_with(many, 5)])
    drawn = zipf.bootstrap_slopes(labels, 1, 5, draws=40, seed=0)
    wanted = zipf.slope(zipf.envelope([np.array(few), np.array(many)]), 1, 5)
    alone = [zipf.slope(np.array(sizes), 1, 5) for sizes in (few, many)]
    assert abs(drawn.mean() - wanted) < 0.1 and min(abs(drawn.mean() - other) for other in alone) > 0.5


def test_draws_of_tokens_deviate_as_the_law_of_counts_says():
    """Two clusters at one number of clusters: the slope is log(n2/n1)/log 2, of a binomial pair."""
    n, share = 4000, 0.7
    labels = labels_with([round(n * share), n - round(n * share)])
    drawn = zipf.bootstrap_slopes(labels, 1, 2, draws=1000, seed=0)
    expected = 1 / np.log(2) / np.sqrt(n * share * (1 - share))
    assert drawn.std() == pytest.approx(expected, rel=0.1)


def test_the_power_law_is_told_for_every_seed_of_k_means():
    rng = np.random.default_rng(0)
    one, other = (np.repeat(np.arange(40), rng.zipf(2.0, 40).clip(max=400)) for _ in range(2))
    labels = pd.DataFrame({"n_clusters": 40, "token": np.arange(len(one)), "label": one})
    fit = zipf.fit_envelope(labels, one, (0.001, 0.1), draws=5, seed=3, show=40, again=[other])["power_law"]
    told = fit["over_seeds"]
    assert told["n_seeds"] == 2 == len(told["p_value"]) and told["p_value"][0] == fit["p_value"]
    assert told["alpha"][1] == size_law.fit_sizes(zipf.sizes(other), seed=3)["alpha"] != told["alpha"][0]


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
    fit = size_law.fit_sizes(sizes[sizes < 10**6], draws=30)
    assert abs(fit["gamma"] - 2) < 3 * fit["standard_error"] and fit["p_value"] > 0.1
    assert fit["alpha"] == pytest.approx(1 / (fit["gamma"] - 1) - 1)


def test_maximum_likelihood_refuses_a_lump():
    sizes = np.random.default_rng(0).poisson(40, 400)
    fit = size_law.fit_sizes(sizes, draws=30)
    assert fit["p_value"] < 0.1 or fit["n_clusters"] < 100


def test_equal_clusters_have_no_law():
    assert size_law.fit_sizes(np.full(50, 7))["gamma"] is None


def test_all_tokens_in_one_cluster_is_said():
    with pytest.raises(QuantaError, match="one cluster"):
        zipf.fit_envelope(labels_with([30]), np.arange(30), (0.05, 0.5), draws=10, seed=0)


def test_sizes_by_rank_of_some_tokens_have_a_slope_with_an_interval_by_texts():
    sizes = [64, 32, 21, 16, 13]  # 64 over the rank
    label = np.concatenate([np.repeat([7, 1, 3, 9, 5], sizes), np.full(30, -1)])
    rng = np.random.default_rng(0)
    alone = zipf.fit_sizes_by_rank(label, draws=40, seed=0, groups=np.arange(len(label)))
    assert alone["clusters"] == 5 and alone["tokens"] == sum(sizes) and alone["value"] == pytest.approx(-1, abs=0.02)
    texts = zipf.fit_sizes_by_rank(label, draws=40, seed=0, groups=rng.permutation(len(label)) // 20)
    assert texts["value"] == alone["value"] and alone["interval"][0] < alone["value"] < alone["interval"][1]
    few = zipf.fit_sizes_by_rank(np.array([0, 0, 1, -1]), draws=40, seed=0, groups=np.arange(4))
    assert few == {"clusters": 2, "tokens": 3, "value": None, "interval": None}
