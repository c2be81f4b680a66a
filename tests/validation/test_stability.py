import numpy as np
import pandas as pd
import pytest
from quanta.affinity import cosine, loss_curves
from quanta.calibration import planted
from quanta.catalogue import composition
from quanta.clustering import assignment, main_line, membership, spectral
from quanta.errors import QuantaError
from quanta.validation import agreement, lineage, stability


def test_jaccard_of_equal_and_of_split_clusters():
    own = np.array([0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(membership.jaccard(own, own), np.eye(2))
    split = np.array([0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(membership.jaccard(own, split)[0], [0.5, 0.5, 0])


def clear(n=240, strength=0.9):
    x = planted.draw(planted.Settings(n_tokens=n, alpha=0.3, n_quanta=12, strength=strength), np.random.default_rng(0))
    return x, np.clip(x.features @ x.features.T, -1, 1)


def test_planted_clusters_are_stable_and_noise_is_not():
    scores = []
    for strength in (0.9, 0.0):
        _, cosines = clear(strength=strength)
        labels = main_line.cluster_like_data(cosines, [12], seed=0)
        anew, (vectors, _) = main_line.of_cosines(cosines), spectral.embedding(cosine.angular(cosines), 12)
        table, draws = stability.resample(anew, vectors, labels, (0.01, 0.1), draws=4, seed=0)
        big = np.bincount(labels[12]) > 8
        scores.append(table.loc[big, ["stability_halves", "stability_seeds"]].mean())
        assert list(draws["kind"]) == ["half", "seed"] * 2
    assert (scores[0] > 0.75).all() and (scores[0] > scores[1] + 0.2).all()


@pytest.mark.parametrize("method", ["kmeans", "restarts", "cluster_qr", "discretize"])
def test_halves_and_seeds_are_clustered_as_the_data_are(method):
    """Seeds of a method without randomness find the same clusters; of another method they would not."""
    _, cosines = clear(strength=0.5)
    how = assignment.Assignment(method, restarts=3)
    vectors, _ = spectral.embedding(cosine.angular(cosines), 12)
    labels = how(vectors, [12], seed=0)
    np.testing.assert_array_equal(labels[12], assignment.assign(vectors, [12], method=method, restarts=3, seed=0)[12])
    anew = main_line.of_cosines(cosines, how)
    table, draws = stability.resample(anew, vectors, labels, (0.01, 0.1), how, draws=2, seed=0)
    if method == "cluster_qr":
        assert (table["stability_seeds"] == 1).all() and draws.loc[1, "ari"] == 1
    [half] = stability.halves(240, 1, seed=0)
    part, _ = spectral.embedding(cosine.angular(cosines[np.ix_(half, half)]), 6)
    alone = assignment.assign(part, [6], method=method, restarts=3, seed=0, rounds=stability.FEW_ROUNDS)
    np.testing.assert_array_equal(anew(half, [6], seed=0, rounds=stability.FEW_ROUNDS)[6], alone[6])


def test_halves_of_many_tokens_are_clustered_in_batches_as_the_whole_is(monkeypatch):
    """The spread over halves is that of the estimator whose spread is asked for."""
    monkeypatch.setattr(assignment, "FULL_SWEEP", 200)
    batches = []
    plain = assignment._in_batches
    monkeypatch.setattr(
        assignment, "_in_batches", lambda points, k, **how: batches.append(len(points)) or plain(points, k, **how)
    )
    _, cosines = clear()
    labels = main_line.cluster_like_data(cosines, [8], seed=0)
    vectors, _ = spectral.embedding(cosine.angular(cosines), 8)
    stability.resample(main_line.of_cosines(cosines), vectors, labels, (0.01, 0.1), draws=2, seed=0)
    stability.half_slopes(cosines, [8], (0.01, 0.1), draws=1, seed=0)
    assert batches == [240, 120, 240, 120]


def test_skill_tells_clusters_from_tokens():
    """Two skills that predict one token: split they are skills, as they are not if the split is by chance."""
    x, cosines = clear()
    one_target = np.zeros(len(cosines), dtype=int)
    real = composition.skill(cosines, np.unique(x.quantum, return_inverse=True)[1], one_target)
    chance = composition.skill(cosines, np.random.default_rng(0).integers(0, 6, len(cosines)), one_target)
    assert np.nanmin(real) > 0.95 and np.abs(chance - 0.5).max() < 0.1


def test_skill_of_a_target_of_its_own_is_not_known():
    cosines = np.eye(6) * 0.5 + 0.5
    scores = composition.skill(cosines, np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 1, 1]))
    assert np.isnan(scores[2]) and scores[0] == 0.5


def test_tree_follows_the_tokens():
    labels = {2: np.array([0, 0, 0, 0, 1, 1]), 3: np.array([0, 0, 1, 1, 2, 2])}
    tree = lineage.tree(labels)
    assert tree["parent_label"].tolist() == [0, 0, 1] and (tree["share_of_child"] == 1).all()
    assert tree["share_of_parent"].tolist() == [0.5, 0.5, 1.0]


def test_lineage_finds_a_renaming_back():
    own = np.random.default_rng(0).integers(0, 5, 100)
    left = pd.DataFrame({"token": np.arange(100), "label": own})
    right = pd.DataFrame({"token": np.arange(100), "label": (own + 2) % 5}).iloc[::-1]
    found = lineage.lineage(left, right.iloc[:80])
    assert (found["right"] == (found["left"] + 2) % 5).all() and (found["score"] == 1).all()
    assert found["tokens"].sum() == 80


def test_lineage_of_strangers_is_an_error():
    one = pd.DataFrame({"token": [1, 2], "label": [0, 0]})
    with pytest.raises(QuantaError, match="no token in common"):
        lineage.lineage(one, one.assign(token=[3, 4]))
    with pytest.raises(QuantaError, match="twice"):
        lineage.lineage(one.assign(token=[1, 1]), one)


def test_half_samples_have_the_variance_of_the_whole():
    """The delete-half jackknife on a mean: its deviation is the mean's standard error."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    halves = np.array([rng.permutation(values)[:200].mean() for _ in range(400)])
    found = stability.half_sample_interval(values.mean(), halves)
    assert found["standard_deviation"] == pytest.approx(values.std() / 20, rel=0.15)
    assert stability.half_sample_interval(1.0, np.array([np.nan, 2.0]))["interval"] is None


def test_halves_of_whole_texts_have_the_variance_of_the_whole():
    """Of tokens that are alike within a text: halves of whole texts deviate as corpora drawn anew do, halves of tokens by less."""
    rng = np.random.default_rng(0)
    text = np.repeat(np.arange(60), rng.integers(5, 15, 60))

    def drawn():
        return rng.normal(size=60)[text] + rng.normal(size=len(text))

    true = np.std([drawn().mean() for _ in range(2000)])
    found = {True: [], False: []}
    for seed in range(60):
        values = drawn()
        for by_text, kept in found.items():
            halves = stability.halves(len(text), 40, seed=seed, groups=text if by_text else None)
            kept.append(np.var([values[half].mean() for half in halves], ddof=1))
    assert np.sqrt(np.mean(found[True])) == pytest.approx(true, rel=0.15)
    assert np.sqrt(np.mean(found[False])) < 0.6 * true


def test_tokens_learned_together_correlate():
    rng = np.random.default_rng(0)
    when = rng.integers(1, 7, 60)
    losses = np.where(np.arange(8)[None] >= when[:, None], 0.05, 5.0) * np.exp(0.1 * rng.standard_normal((60, 8)))
    matrix = loss_curves.loss_curves(loss_curves.Evidence(losses=losses))
    same = (when[:, None] == when[None, :]) & ~np.eye(60, dtype=bool)
    assert matrix[same].min() > matrix[np.abs(when[:, None] - when[None, :]) > 2].max()


def test_an_affinity_agrees_with_itself():
    _, cosines = clear(n=120)
    found = agreement.agreement(cosines, cosines, 8, seed=0)
    assert found["rank_correlation"] == pytest.approx(1) and found["adjusted_rand"] == 1
    assert found["neighbours_shared"] == 10


@pytest.mark.parametrize("choice", sorted(loss_curves.CHOICES))
def test_choices_need_their_evidence(choice):
    with pytest.raises(QuantaError, match=choice):
        loss_curves.CHOICES[choice](loss_curves.Evidence())


def test_clusters_of_a_relative_are_found_again_above_chance():
    rng = np.random.default_rng(0)
    own = np.sort(rng.integers(0, 8, 400))
    other = np.where(np.arange(400) < 300, 7 - own, rng.integers(0, 8, 400))
    table = lineage.found_again(own, other, seed=0)
    kept = table[table["size"].cumsum() < 300]
    assert (kept["match"] == 7 - kept["label"]).all() and (kept["score"] > 3 * kept["score_by_chance"]).all()
    assert (table["size"] == np.bincount(own)).all() and (
        table["tokens"] <= table[["size", "match_size"]].min(axis=1)
    ).all()
    alone = lineage.found_again(own, rng.permutation(own), seed=1)
    assert abs(alone["score"].mean() - alone["score_by_chance"].mean()) < 0.03


def test_a_cluster_without_a_partner_has_no_match():
    table = lineage.found_again(np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 0, 0, 0, 0]), seed=0)
    assert table["match"].notna().tolist() == [True, False, False]
    assert table["score"].tolist() == [0.5, 0, 0]


def test_agreement_of_two_clusterings_is_told_at_each_number_that_both_have():
    rng = np.random.default_rng(0)
    own = {k: rng.integers(0, k, 400) for k in (2, 5, 9)}
    left = membership.as_table(own)
    renamed = membership.as_table({2: 1 - own[2], 5: (own[5] + 2) % 5, 7: own[9] % 7})
    found = agreement.of_labels(left, renamed)
    assert found["n_clusters"].tolist() == [2, 5] and np.allclose(found["adjusted_rand"], 1)
    chance = agreement.of_labels(left, membership.as_table({k: rng.permutation(one) for k, one in own.items()}))
    assert chance["adjusted_rand"].abs().max() < 0.05
