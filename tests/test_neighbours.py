import numpy as np
import pytest
from quanta import affinity, neighbours, planted, spectral, stability
from quanta.errors import QuantaError
from sklearn.metrics import adjusted_rand_score


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
    unit = neighbours.unit_rows(data.features)
    graph = neighbours.graph(*neighbours.nearest(data.features, 499), linear=True)
    _, values, _ = neighbours.embedding(graph, 30, unit=unit)
    expected = spectral.embedding(affinity.angular(cosines), 30)[1]
    np.testing.assert_allclose(values, expected, rtol=0.01)


def test_few_neighbours_agree_with_the_dense_path_as_two_seeds_do(data):
    cosines = np.clip(data.features @ data.features.T, -1, 1)
    one, two = (stability.cluster_like_data((cosines + cosines.T) / 2, [20], seed=seed)[20] for seed in (0, 1))
    sparse = neighbours.cluster(data.features, [20], neighbours=30, seed=0)[20]
    assert adjusted_rand_score(one, sparse) > adjusted_rand_score(one, two) - 0.15


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
