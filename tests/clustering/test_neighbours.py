import numpy as np
import pytest
from quanta.affinity import cosine as affinity_cosine
from quanta.affinity import pairs as affinity_pairs
from quanta.calibration import planted
from quanta.clustering import assignment, main_line, membership, neighbours, spectral
from quanta.errors import QuantaError
from support import close_labels


@pytest.fixture(scope="module")
def data():
    return planted.draw(planted.Settings(n_tokens=500, alpha=0.2, strength=0.7), np.random.default_rng(0))


def test_neighbours_are_the_nearest_whatever_the_tile(data):
    cosines = data.features @ data.features.T - 3 * np.eye(500)
    expected = -np.sort(-cosines, axis=1)[:, :7]
    for tile in (64, 1000):
        index, cosine = neighbours.nearest(data.features, 7, tile=tile)
        np.testing.assert_allclose(cosine, expected, atol=1e-5)
        assert (index != np.arange(500)[:, None]).all()


def test_all_neighbours_are_the_dense_path(data):
    """With every token a neighbour the operator is the dense one but for the curvature of arcsin at negative cosines."""
    cosines = np.clip(data.features @ data.features.T, -1, 1)
    cosines = (cosines + cosines.T) / 2
    unit = affinity_cosine.unit_rows(data.features)
    graph = neighbours.graph(*neighbours.nearest(data.features, 499), linear=True)
    _, values, _ = neighbours.embedding(graph, 30, unit=unit)
    expected = spectral.embedding(affinity_cosine.angular(cosines), 30)[1]
    np.testing.assert_allclose(values, expected, rtol=0.01)


@pytest.fixture(scope="module")
def clear():
    """Groups of 15 to 60 tokens, cosine about 0.9 within and about 0 between them; their features and true labels."""
    rng = np.random.default_rng(1)
    truth = rng.permutation(np.repeat(np.arange(12), rng.integers(15, 60, 12)))
    rows = np.eye(12, 60, dtype=np.float32)[truth] + rng.normal(0, 0.04, (len(truth), 60)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), truth


@pytest.mark.parametrize("neighbours_of_each", [10, 40, None])
def test_few_neighbours_and_all_pairs_find_the_same_clear_clusters(clear, neighbours_of_each):
    features, truth = clear
    cosines = np.clip(features @ features.T, -1, 1)
    dense = main_line.cluster_like_data((cosines + cosines.T) / 2, [12], seed=0)[12]
    number = neighbours_of_each or len(truth) - 1
    sparse = neighbours.cluster(features, [12], neighbours=number, seed=0)[12]
    assert close_labels(dense, truth) and close_labels(sparse, truth)


def test_graph_is_symmetric_and_positive(data):
    graph = neighbours.graph(*neighbours.nearest(data.features, 10))
    assert abs(graph - graph.T).max() == 0 and graph.data.min() > 0 and graph.diagonal().max() == 0


def test_eigenvectors_solve_the_equation_of_the_dense_matrix(data):
    graph = neighbours.graph(*neighbours.nearest(data.features, 10))
    vectors, values, components = neighbours.embedding(graph, 8, tolerance=1e-9)
    dense = graph.toarray() + 0.5
    np.fill_diagonal(dense, 0)
    root = np.sqrt(dense.sum(axis=1))
    np.testing.assert_allclose((dense / root[:, None] / root) @ vectors, vectors * values, atol=1e-7)
    assert values[0] == pytest.approx(1) and components >= 1


def test_bad_input_is_named(data):
    with pytest.raises(QuantaError, match="neighbours of"):
        neighbours.nearest(data.features, 500)
    spoiled = data.features.copy()
    spoiled[9] = 0
    with pytest.raises(QuantaError, match="token 9"):
        neighbours.nearest(spoiled, 5)


def test_halves_are_clustered_from_features_as_they_are_alone(data):
    tokens = np.arange(0, 500, 2)
    some = neighbours.of_features(data.features, 20)(tokens, [5, 10], seed=3, rounds=1)
    alone = neighbours.cluster(data.features[tokens], [5, 10], neighbours=20, seed=3, rounds=1)
    assert all((some[k] == alone[k]).all() for k in (5, 10))


@pytest.mark.parametrize("tile", [64, 1000])
def test_pairs_from_features_are_those_of_the_matrix(data, tile):
    cosines = np.clip(data.features @ data.features.T, -1, 1)
    pairs = affinity_pairs.Pairs(3 * data.features, tile)
    chosen = np.array([3, 77, 4, 499])
    np.testing.assert_allclose(pairs.among(chosen), cosines[np.ix_(chosen, chosen)], atol=1e-6)
    one = membership.one_hot(np.arange(500) % 7)
    np.testing.assert_allclose(pairs.sums(one), one @ cosines @ one.T.toarray(), rtol=1e-4, atol=1e-2)


def test_many_tokens_are_clustered_in_batches_about_as_well(data, monkeypatch):
    vectors, _ = spectral.embedding(affinity_cosine.angular(np.clip(data.features @ data.features.T, -1, 1)), 20)
    whole = assignment.assign(vectors, [8, 20], seed=0)
    monkeypatch.setattr(assignment, "FULL_SWEEP", 100)
    batches = assignment.assign(vectors, [8, 20], seed=0)
    rows = assignment.scaled_rows(vectors)

    def inertia(labels, k):
        return sum(
            ((part := rows[labels == i, :k]) - part.mean(axis=0)).var(axis=0).sum() * len(part) for i in range(k)
        )

    for k in (8, 20):
        assert sorted(set(batches[k])) == list(range(k)) and inertia(batches[k], k) < 1.25 * inertia(whole[k], k)
