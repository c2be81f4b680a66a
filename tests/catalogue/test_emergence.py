import numpy as np
import pandas as pd
import pytest
from quanta.catalogue import contexts, order_of_learning, rank_correlation, when_learned
from quanta.corpus.encoding import Tokens
from quanta.errors import QuantaError
from support import counted_as_nominal


def labels_of(sizes, k=None):
    own = np.repeat(np.arange(len(sizes)), sizes)
    return pd.DataFrame({"n_clusters": k or len(sizes), "token": np.arange(len(own)), "label": own})


def test_a_halving_is_exact_where_the_loss_is_linear_in_the_logarithm_of_the_axis():
    at = np.array([1.0, 10, 100, 1000])
    curve = (8 - np.log10(at) * 2)[:, None]  # at half of 8 at 10^2; at half of 6 at 10^2.5
    assert when_learned.halving(curve, at, np.array([8.0]))[0] == pytest.approx(100)
    assert when_learned.halving(curve, at, 6.0)[0] == pytest.approx(10**2.5)


def test_a_halving_follows_the_units_of_the_axis_and_knows_none_of_the_loss():
    rng = np.random.default_rng(0)
    at, curves = np.array([20.0, 40, 90, 400]), rng.uniform(0, 8, (4, 300))
    found = when_learned.halving(curves, at, 8.0)
    np.testing.assert_allclose(when_learned.halving(curves * 3, at * 7, 24.0), found * 7)
    learned = np.isfinite(found)
    assert (found[learned] >= 20).all() and (found[learned] <= 400).all()
    assert (learned == (curves <= 4).any(axis=0)).all()
    assert ((found == 20) == (curves[0] <= 4)).all()


def test_the_first_crossing_counts_and_step_0_stands_at_1():
    curves = np.array([[8.0, 8.0], [2.0, 6.0], [7.0, 7.0], [1.0, 5.0]])
    found = when_learned.halving(curves, np.array([0, 20, 40, 80]), curves[0])
    assert found[0] == pytest.approx(np.exp(np.log(20) * 4 / 6)) and np.isinf(found[1])


@pytest.mark.parametrize("at", [[10], [10, 10], [20, 10]])
def test_an_axis_that_does_not_rise_is_refused(at):
    with pytest.raises(QuantaError, match="at least two, rising"):
        when_learned.halving(np.ones((len(at), 3)), np.array(at), 2.0)


@pytest.mark.parametrize("n", [1, 2, 5, 8, 31])
def test_the_interval_of_a_median_is_that_of_its_bootstrap(n):
    rng = np.random.default_rng(n)
    places = rng.lognormal(size=n)
    places[: n // 4] = np.inf
    middle, low, high = when_learned.median(places)
    drawn = np.sort(rng.choice(places, (20000, n)), axis=1)[:, (n + 1) // 2 - 1]
    assert middle == np.sort(places)[(n + 1) // 2 - 1]
    assert (drawn <= low).mean() >= 0.05 - 0.01 and (drawn < low).mean() <= 0.05 + 0.01
    assert (drawn <= high).mean() >= 0.95 - 0.01 and (drawn < high).mean() <= 0.95 + 0.01


def test_a_cluster_is_censored_if_more_than_half_of_it_is_never_learned():
    assert np.isinf(when_learned.median(np.array([1, 2, np.inf, np.inf, np.inf]))[0])
    assert when_learned.median(np.array([1, 2, np.inf, np.inf]))[0] == 2


def test_the_table_has_every_cluster_of_every_clustering_with_its_own_tokens():
    labels = pd.concat([labels_of([3, 5]), labels_of([2, 1, 5])])
    places = np.array([1, 2, np.inf, 4, 5, 6, 7, 8.0])
    table = when_learned.learned(labels, {("size", "untrained"): places}).set_index(["n_clusters", "label"])
    assert table["size"].tolist() == [3, 5, 2, 1, 5]
    assert table["rank"].tolist() == [2, 1, 2, 3, 1]
    assert table["learned"].tolist() == [2, 6, 1, np.inf, 6]
    assert table["share_learned"].round(3).tolist() == [0.667, 1, 1, 0, 1]
    assert (table["low"] <= table["learned"]).all() and (table["learned"] <= table["high"]).all()


def test_a_correlation_is_of_ranks_alone():
    rng = np.random.default_rng(1)
    x, y = rng.lognormal(size=40), rng.lognormal(size=40)
    found = rank_correlation.correlate(x, y, draws=200, seed=0)
    y_censored = np.where(y == y.max(), np.inf, y)
    assert rank_correlation.correlate(np.log(x), y_censored**3, draws=200, seed=0) == found
    low, high = found["interval"]
    assert low < found["value"] < high


def test_p_values_are_small_as_often_as_they_say_where_nothing_is_there():
    """Of 200 draws without any order, 5 % within the binomial's 99 %, on both sides."""
    rng = np.random.default_rng(2)
    small = sum(
        rank_correlation.correlate(rng.zipf(1.5, 40), rng.lognormal(size=40), draws=200, seed=i)["p_value"] < 0.05
        for i in range(200)
    )
    assert counted_as_nominal(small, 200, 0.05)


SMALL = np.concatenate(
    [np.full(30, 2), np.full(20, 4), np.arange(5, 25)]
)  # sizes of clusters, half of them of two tokens


def dealt_out(seed):
    """Places of tokens that know nothing of their clusters, some never learned."""
    rng = np.random.default_rng(seed)
    places = rng.lognormal(size=SMALL.sum())
    places[rng.random(len(places)) < 0.1] = np.inf
    return places


def test_without_any_order_small_clusters_look_neither_early_nor_late():
    """The lower of two middle places would make them early; the mean of both ranks does not. p-values are small as they say."""
    own, number = labels_of(SMALL)["label"].to_numpy(), 200
    middle, lower, small = [], [], 0
    for seed in range(number):
        places = dealt_out(seed)
        found = rank_correlation.correlate(SMALL, rank_correlation.middle_ranks(own, places), draws=200, seed=seed)
        middle.append(found["value"])
        small += found["p_value"] <= 0.05
        low = np.array([when_learned.median(part)[0] for part in np.split(places, np.cumsum(SMALL)[:-1])])
        lower.append(rank_correlation.correlate(SMALL, low, draws=1, seed=0)["value"])
    error = np.std(middle) / np.sqrt(number)
    assert abs(np.mean(middle)) < 3 * error < 0.05 < np.mean(lower)
    assert counted_as_nominal(small, number, 0.05)


def test_tokens_dealt_out_anew_say_where_the_correlation_is_without_any_order():
    own = labels_of(SMALL)["label"].to_numpy()
    rng = np.random.default_rng(0)
    anew = np.array([rank_correlation.middle_ranks(own, rng.permutation(dealt_out(0))) for _ in range(400)])
    known = np.array([rank_correlation.correlate(SMALL, row, draws=1, seed=0)["value"] for row in anew[:100]])
    found = rank_correlation.dealt(SMALL, anew)
    assert abs(found["mean"]) < 0.03 and found["interval"][0] < -0.1 and found["interval"][1] > 0.1
    assert rank_correlation.dealt(SMALL, anew[:100])["mean"] == pytest.approx(known.mean())
    given = rng.permutation(SMALL)
    partial = [rank_correlation.correlate(SMALL, row, given=given, draws=1, seed=0)["value"] for row in anew[:50]]
    assert rank_correlation.dealt(SMALL, anew[:50], given=given)["mean"] == pytest.approx(np.mean(partial), abs=0.01)
    assert rank_correlation.dealt(SMALL[:3], anew[:, :3]) is None


def test_ties_at_the_first_point_are_no_order():
    """Nine of ten tokens are there at once: only small clusters can look late. About 0 that is an order, about its centre none."""
    own, number, small, off = labels_of(SMALL)["label"].to_numpy(), 100, 0, 0
    for seed in range(number):
        rng = np.random.default_rng(seed)
        places = np.where(rng.random(SMALL.sum()) < 0.75, 1.0, rng.lognormal(3, 1, SMALL.sum()))
        anew = np.array([rank_correlation.middle_ranks(own, rng.permutation(places)) for _ in range(40)])
        null = rank_correlation.dealt(SMALL, anew)
        middle = rank_correlation.middle_ranks(own, places)
        small += rank_correlation.correlate(SMALL, middle, centre=null["mean"], draws=200, seed=seed)["p_value"] <= 0.05
        off += rank_correlation.correlate(SMALL, middle, draws=200, seed=seed)["p_value"] <= 0.05
    assert null["mean"] < -0.1 and off > 0.25 * number
    assert counted_as_nominal(small, number, 0.05)


def test_middle_ranks_are_medians_of_ranks_and_the_unlearned_share_the_last():
    places = np.array([1.0, 3.0, 2.0, np.inf, np.inf, 5.0])
    group = np.array([0, 0, 2, 2, 3, 3])
    found = rank_correlation.middle_ranks(group, places)
    assert found[[0, 2, 3]].tolist() == [2.0, 3.75, 4.75] and np.isnan(found[1])


def test_intervals_hold_a_planted_order_and_its_p_value_is_small():
    rng = np.random.default_rng(3)
    x = rng.lognormal(size=80)
    found = rank_correlation.correlate(x, np.exp(-np.log(x) + rng.normal(0, 1, 80)), draws=400, seed=0)
    truth = -6 / np.pi * np.arcsin(np.sqrt(0.5) / 2)  # Spearman's ρ of a normal pair of correlation −√½
    assert found["interval"][0] < truth < found["interval"][1] < 0
    assert found["p_value"] < 0.01 and found["kendall"] < 0
    assert order_of_learning.verdict(found) == "Frequent clusters are learned earlier"


def test_what_a_third_quantity_explains_is_gone_when_it_is_given():
    rng = np.random.default_rng(4)
    third = rng.lognormal(size=150)
    size = third * rng.lognormal(0, 0.5, 150)
    by_third = -third * rng.lognormal(0, 0.3, 150)
    plain = rank_correlation.correlate(size, by_third, draws=300, seed=0)
    partial = rank_correlation.correlate(size, by_third, given=third, draws=300, seed=0)
    assert plain["interval"][1] < -0.4
    assert partial["interval"][0] < 0 < partial["interval"][1] or abs(partial["value"]) < 0.15
    own = rank_correlation.correlate(size, -size * rng.lognormal(0, 0.3, 150), given=third, draws=300, seed=0)
    assert own["interval"][1] < -0.3 and own["p_value"] < 0.01


def test_too_few_clusters_or_no_spread_give_no_correlation():
    none = rank_correlation.correlate(np.arange(3), np.arange(3), draws=10, seed=0)
    flat = rank_correlation.correlate(np.ones(9), np.arange(9), draws=10, seed=0)
    assert none["value"] is None and flat["value"] is None
    assert "Too few" in order_of_learning.verdict(none)


def test_within_groups_only_pairs_of_one_group_are_compared():
    group = np.repeat([0, 1, 2], 6)
    size = np.tile(np.arange(6), 3)
    between = rank_correlation.within_groups(size, group.astype(float), group, draws=50, seed=0)
    assert between["value"] is None and between["pairs"] == 0
    against = rank_correlation.within_groups(size, 100.0 * group - size, group, draws=200, seed=0)
    assert against["value"] == -1 and against["pairs"] == 45 and against["p_value"] < 0.02


def test_equal_tokens_keep_a_planted_order_and_leave_small_clusters_out():
    sizes = [40, 30, 20, 10, 6, 3]
    label = labels_of(sizes)["label"].to_numpy()
    places = 1 / np.array(sizes)[label] + np.random.default_rng(0).uniform(0, 1e-3, len(label))
    found = rank_correlation.equal_tokens(label, places, least=5, seed=0)
    assert found["n"] == 5 and found["value"] == pytest.approx(-1)


def asked(labels, values, target, rule_count, *, least, draws):
    """The order of learning along sizes, of as many clusters as the labels have."""
    own = labels["label"].to_numpy()
    grouped = order_of_learning.groupings(
        own, target, np.bincount(target, minlength=12), rule_count, target, np.bincount(target, minlength=12)
    )
    axis = order_of_learning.Axis("size", "one half", values, 1.0)
    inquiry = order_of_learning.Inquiry(least, draws, 0)
    return order_of_learning.order_of_learning(labels, [axis], grouped, target, inquiry, show=len(rule_count))


def test_an_order_of_learning_answers_each_question_of_each_axis_once():
    labels = pd.concat([labels_of([9, 8, 7, 6, 5]), labels_of([20, 15])])
    own = labels_of([9, 8, 7, 6, 5])["label"].to_numpy()
    target, values = np.arange(35) % 6, np.where(np.arange(35) < 9, np.inf, 1.0 + np.arange(35) % 4)
    grouped = order_of_learning.groupings(own, target, np.arange(1, 7), np.arange(5.0), target, np.arange(1, 7))
    axes = [order_of_learning.Axis("size", name, values, 1.0) for name in ("one half", "unigram")]
    inquiry = order_of_learning.Inquiry(1, 20, 0)
    order = order_of_learning.order_of_learning(labels, axes, grouped, target, inquiry, show=5)
    lines = order["correlations"]
    assert len(lines) == len(axes) * len(order_of_learning.QUESTIONS)
    assert [one["n_clusters"] for one in order["by_n_clusters"]] == [2, 5, 2, 5]
    for reference in ("one half", "unigram"):
        for question in order_of_learning.QUESTIONS:
            line = order_of_learning.line_of(order, "size", question, reference=reference)
            assert line["reference"] == reference and line["n"] == (5 if question.groups == "clusters" else 6)
            assert question.groups != "clusters" or line["not_learned"] == 1  # the first cluster, of nine tokens
    assert order_of_learning.typical(np.array([0, 0, 0, 1]), np.array([4, 2, 4, 7])).tolist() == [4, 7]


def test_the_order_of_learning_finds_what_was_planted_and_its_null_does_not():
    """Skills of one target each at random: grouping by target mixes them, grouping by skill shows the order."""
    rng = np.random.default_rng(5)
    sizes = np.sort(rng.integers(5, 60, 40))[::-1]
    labels = labels_of(sizes)
    own = labels["label"].to_numpy()
    values = 1e6 / sizes[own] * rng.lognormal(0, 0.2, len(own))
    order = asked(labels, values, rng.integers(0, 12, len(own)), sizes * 10.0, least=5, draws=100)
    line = order_of_learning.line_of(order, "size")
    assert line["value"] < -0.9 and line["n"] == 40
    assert abs(line["dealt"]["mean"]) < 0.1 and line["value"] < line["dealt"]["interval"][0]
    assert order_of_learning.line_of(order, "size", order_of_learning.BY_RULE)["value"] == pytest.approx(line["value"])
    null = order_of_learning.line_of(order, "size", order_of_learning.NULL)
    assert null["interval"][1] > line["value"] + 0.2


def test_the_order_of_learning_takes_its_p_value_about_the_centre_that_it_tells():
    """Three of four tokens are there at once, so that small clusters alone can look late: the centre is off 0."""
    labels = labels_of(SMALL)
    own = labels["label"].to_numpy()
    rng = np.random.default_rng(3)
    values = np.where(rng.random(len(own)) < 0.75, 1.0, rng.lognormal(3, 1, len(own)))
    target = rng.integers(0, 12, len(own))
    order = asked(labels, values, target, SMALL * 10.0, least=1, draws=200)
    line = order_of_learning.line_of(order, "size")
    middle, centre = rank_correlation.middle_ranks(own, values), line["dealt"]["mean"]
    about = {
        at: rank_correlation.correlate(SMALL, middle, centre=at, draws=200, seed=0)["p_value"] for at in (0.0, centre)
    }
    assert centre < -0.1 and line["p_value"] == about[centre] != about[0.0]


def test_counts_of_bigrams_are_those_of_the_corpus_within_documents():
    tokens = Tokens(np.array([1, 2, 1, 2, 3, 1, 2], dtype=np.uint16), np.array([0, 4, 7]))
    document, position = np.array([0, 0, 1, 1, 0]), np.array([1, 2, 1, 2, 3])
    own, counts = contexts.bigram_counts(tokens, document, position)
    assert counts[own].tolist() == [3, 1, 1, 3, 3]  # (1, 2) thrice; (2, 1); (3, 1); the pair across documents is none
