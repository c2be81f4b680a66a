import numpy as np
import pytest
from quanta import kmeans
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


def test_breathing_only_lowers_the_inertia():
    rows, _ = blobs(noise=1.0)
    plain, better = (dict(kmeans.sweep(rows, [20], seed=3, rounds=r))[20].inertia for r in (0, 8))
    assert better <= plain * (1 + 1e-9)


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
    assert adjusted_rand_score(own, kmeans.cluster_qr(vectors)) == 1
    assert adjusted_rand_score(own, kmeans.discretize(vectors, seed=0)) == 1
