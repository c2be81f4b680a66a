import numpy as np
import pytest
from quanta.clustering import assignment, kmeans, membership
from quanta.errors import QuantaError
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits


def blobs(n=600, clusters=40, dimension=40, noise=0.35, seed=0):
    rng = np.random.default_rng(seed)
    own = rng.choice(clusters, n, p=(p := np.arange(1, clusters + 1) ** -1.2) / p.sum())
    return rng.standard_normal((clusters, dimension))[own] + noise * rng.standard_normal((n, dimension)), own


def test_inertia_is_that_of_thirty_restarts_or_better():
    rows, _ = blobs(noise=1.0)
    for k, partition in kmeans.sweep(rows, [5, 10, 20, 40], seed=0):
        reference = KMeans(k, n_init=30, random_state=0).fit(rows[:, :k].copy()).inertia_
        assert partition.inertia <= 1.005 * reference


def test_partition_is_a_fixed_point_of_lloyd():
    """Kept distances must not drift from true ones: each point lies with its nearest centre, each centre is its mean."""
    rows, _ = blobs(noise=0.8)
    for k, partition in kmeans.sweep(rows, [7, 25], seed=1):
        points = rows[:, :k]
        distances = ((points[:, None] - partition.centres[None]) ** 2).sum(axis=2)
        own = distances[np.arange(len(points)), partition.labels]
        assert (own <= distances.min(axis=1) + 1e-4).all()
        means = np.stack([points[partition.labels == c].mean(axis=0) for c in range(k)])
        np.testing.assert_allclose(partition.centres, means, atol=1e-10)
        assert partition.inertia == pytest.approx(own.sum(), rel=1e-10)


def test_every_cluster_has_a_point():
    rows, _ = blobs(n=120)
    for k, partition in kmeans.sweep(rows, [10, 30, 40], seed=2):
        assert set(partition.labels) == set(range(k))


def test_labels_do_not_depend_on_threads():
    rows, _ = blobs(n=2000, noise=1.0)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append([p.labels for _, p in kmeans.sweep(rows, [10, 40], seed=0)])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("seed", range(4))
def test_breathing_lowers_the_inertia_of_the_very_same_start(monkeypatch, seed):
    """Of 80 clusters there is one fresh start, whose centres are drawn before anything breathes."""
    rows, _ = blobs(n=900, clusters=80, dimension=80, noise=0.8, seed=seed)
    better = dict(kmeans.sweep(rows, [80], seed=seed))[80].inertia
    monkeypatch.setattr(kmeans._State, "breathe", lambda *arguments: None)
    plain = dict(kmeans.sweep(rows, [80], seed=seed))[80].inertia
    assert better < plain * (1 - 1e-4)


def planted(first, groups, size=12):
    """Tight groups on a line, and a state whose centres are points of the groups that `first` names.

    A group without a centre is nearer to the one before it than to any other.
    """
    rng = np.random.default_rng(0)
    own = np.repeat(np.arange(groups), size)
    spreads = np.full(groups, 0.4)
    spreads[-1] /= 3  # two centres of this group are the two least useful of all
    line = 10 * (np.arange(groups) - groups / 2) - 3.0 * ~np.isin(np.arange(groups), first)
    points = line[own][:, None] * [1, 0] + spreads[own][:, None] * rng.standard_normal((len(own), 2))
    state = kmeans._State(points)
    begun = [points[own == group][first[:place].count(group)] for place, group in enumerate(first)]
    state.add(np.array(begun))
    state.lloyd()
    return state, own


def test_a_missing_centre_is_found_by_breathing_alone():
    """Steps of Lloyd cannot move one of two centres of a group to the group that has none. One breath does."""
    state, own = planted([0, 0, 1, 2, 3, 4, 6, 7], groups=8)
    stuck = state.nearest.sum()
    assert state.lloyd() == stuck and adjusted_rand_score(own, state.labels) < 1
    state.breathe(np.random.default_rng(0), 1)
    assert adjusted_rand_score(own, state.labels) == 1
    assert state.nearest.sum() < stuck / 5


def test_of_two_centres_that_stand_in_for_each_other_one_stays():
    """Two groups have two centres each, two have none. One breath that takes away two takes one of each pair."""
    state, own = planted([*range(1, 7), 8, 9, 10, 12, 13, 14, 0, 0, 15, 15], groups=16)
    least = np.argsort(state.usefulness())[:2]
    assert set(own[state.labels == least[0]]) == set(own[state.labels == least[1]]) == {15}
    state.breathe(np.random.default_rng(0), 1)
    assert adjusted_rand_score(own, state.labels) == 1


def test_a_breath_lowers_the_inertia_or_is_undone():
    """Without clear groups and from a good solution, most breaths would make it worse."""
    state = kmeans._State(np.random.default_rng(0).standard_normal((300, 6)))
    rng, undone = np.random.default_rng(1), 0
    state.seed(12, rng)
    state.lloyd()
    for _ in range(40):
        before = state.copy()
        state.breathe(rng, 1)
        if state.nearest.sum() >= before[-1].sum():
            undone += 1
            for part, old in zip(state.copy(), before, strict=True):
                np.testing.assert_array_equal(part, old)
    assert undone >= 10


def test_usefulness_is_what_the_inertia_rises_by_without_a_centre():
    rows, _ = blobs(n=200, clusters=12, dimension=12, noise=0.8)
    state = kmeans._State(rows)
    state.seed(9, np.random.default_rng(0))
    inertia, useful = state.nearest.sum(), state.usefulness()
    for cluster in range(9):
        others = np.delete(state.centres, cluster, axis=0)
        without = ((rows[:, None] - others[None]) ** 2).sum(axis=2).min(axis=1).sum()
        assert useful[cluster] == pytest.approx(without - inertia, rel=1e-3, abs=1e-2)


def test_a_cluster_that_lost_its_points_takes_the_one_that_is_worst_off():
    rows, _ = blobs(n=100, clusters=4, dimension=3, noise=0.1)
    rows[7] = 50.0
    state = kmeans._State(rows)
    state.add(np.array([rows[0], rows[1], [900.0, 900.0, 900.0], [-900.0, 900.0, 0.0]]))
    state.lloyd()
    assert (np.bincount(state.labels, minlength=4) > 0).all()
    assert (state.labels == state.labels[7]).sum() == 1


def test_further_centres_are_drawn_where_points_are_far_from_any():
    """Ten points far from a thousand that lie together: drawn evenly, one in a hundred would be seen."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([0.01 * rng.standard_normal((1000, 12)), 100 * np.eye(12)[:10]])
    state = kmeans._State(rows)
    state.seed(11, rng)
    assert len(set(state.labels[1000:])) == 10


def test_a_k_begins_with_the_clusters_of_the_one_before():
    """Without fresh starts and without breathing, one more cluster splits a few and leaves the others as they were."""
    rows = np.random.default_rng(0).standard_normal((800, 41))
    found = dict(kmeans.sweep(rows, [40, 41], seed=0, rounds=0))
    alone = dict(kmeans.sweep(rows, [41], seed=0, rounds=0))[41]
    before = found[40].labels
    assert adjusted_rand_score(before, found[41].labels) > 3 * adjusted_rand_score(before, alone.labels)


def test_centres_are_the_means_of_the_labels_given_back_however_early_lloyd_ends(monkeypatch):
    lloyd = kmeans._State.lloyd
    monkeypatch.setattr(kmeans._State, "lloyd", lambda self, most=1, tolerance=0: lloyd(self, 1, tolerance))
    rows = np.random.default_rng(0).standard_normal((300, 6))
    partition = dict(kmeans.sweep(rows, [6], seed=0, rounds=0))[6]
    means = np.stack([rows[partition.labels == c].mean(axis=0) for c in range(6)])
    np.testing.assert_allclose(partition.centres, means, atol=1e-10)


def test_more_clusters_than_distinct_rows_is_an_error():
    rows = np.repeat(np.random.default_rng(0).standard_normal((6, 8)), 5, axis=0)
    assert [k for k, _ in kmeans.sweep(rows, [6], seed=0)] == [6]
    with pytest.raises(QuantaError, match="distinct rows"):
        list(kmeans.sweep(rows, [8], seed=0))


@pytest.mark.parametrize("ks", [[5, 3], [3, 3], [99], []])
def test_list_must_rise_within_the_columns(ks):
    with pytest.raises(QuantaError, match="rising"):
        list(kmeans.sweep(np.eye(20), ks, seed=0))


def test_assignments_without_centres_find_separate_clusters():
    own = np.repeat(np.arange(5), [40, 25, 20, 10, 5])
    clean = np.eye(5)[own] / np.sqrt(np.bincount(own))[own][:, None]
    vectors = np.linalg.qr(clean + 0.002 * np.random.default_rng(0).standard_normal(clean.shape))[0]
    assert adjusted_rand_score(own, assignment.cluster_qr(vectors)) == 1
    assert adjusted_rand_score(own, assignment.discretize(vectors, seed=0)) == 1


def test_membership_is_one_hot_and_may_hold_clusters_that_are_absent():
    found = membership.one_hot(np.array([2, 0, 2]), 4, np.float32)
    assert found.shape == (4, 3) and found.dtype == np.float32
    assert found.toarray().tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert membership.one_hot(np.array([2, 0, 2])).shape == (3, 3)
