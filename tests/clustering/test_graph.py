"""A graph of neighbours and average linkage: both find planted groups, and every path through the main line takes them."""

from types import SimpleNamespace

import numpy as np
import pytest
from quanta.clustering import assignment, graph, main_line, membership
from quanta.errors import QuantaError
from quanta.validation import stability
from sklearn.metrics import adjusted_rand_score

WAYS = [assignment.Assignment(graph=name) for name in ("angular", "neighbours", "linkage")]


def planted(sizes: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of groups of these sizes, and the groups."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(len(sizes)), sizes)
    rows = rng.normal(size=(len(sizes), 60))[group] + 0.5 * rng.normal(size=(len(group), 60))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = (rows @ rows.T).astype(np.float32)
    return np.clip((cosines + cosines.T) / 2, -1, 1), group


def test_a_graph_has_an_edge_where_either_is_a_nearest_neighbour_of_the_other() -> None:
    cosines, _ = planted((12, 8, 5))
    found = graph.nearest(cosines, 3)
    order = np.argsort(-(cosines - 3 * np.eye(25)), axis=1)[:, :3]
    near = np.zeros((25, 25), dtype=bool)
    np.put_along_axis(near, order, True, axis=1)
    np.testing.assert_array_equal(found == 1, near | near.T)
    assert (found == found.T).all() and (np.diag(found) == 0).all() and np.unique(found).tolist() == [0, graph.FAINT, 1]


@pytest.mark.parametrize("how", WAYS, ids=lambda how: how.graph)
def test_each_way_finds_planted_groups_by_size(how: assignment.Assignment) -> None:
    cosines, group = planted((30, 24, 18))
    found = main_line.cluster_like_data(cosines, [2, 3], how, seed=0)
    assert adjusted_rand_score(group, found[3]) == 1 and set(found) == {2, 3}
    assert np.bincount(found[3]).tolist() == [30, 24, 18]


def test_linkage_keeps_a_frequent_group_whole_where_neighbours_cut_it() -> None:
    """A graph of nearest neighbours makes clusters of like size."""
    cosines, group = planted((200, 9, 8, 7, 6))
    scores = {
        how.graph: adjusted_rand_score(group, main_line.cluster_like_data(cosines, [5], how, seed=0)[5]) for how in WAYS
    }
    assert scores["linkage"] > 0.99 and scores["neighbours"] < 0.5


def test_linkage_has_no_seed_and_its_halves_are_clustered_as_the_whole_is() -> None:
    cosines, _ = planted((30, 24, 18))
    how = assignment.Assignment(graph="linkage")
    labels = {3: main_line.cluster_like_data(cosines, [3], how, seed=0)[3]}
    assert how.seedless and (main_line.cluster_like_data(cosines, [3], how, seed=9)[3] == labels[3]).all()
    cluster = main_line.of_cosines(cosines, how)
    half = stability.halves(len(cosines), 1, seed=0)[0]
    expected = main_line.cluster_like_data(cosines[np.ix_(half, half)], [3], how, seed=0)[3]
    assert (cluster(half, [3], seed=0, rounds=1, whole=72)[3] == expected).all()
    scores, draws = stability.resample(cluster, np.zeros((72, 3)), labels, (0.01, 0.5), how, draws=4, seed=0)
    assert (scores["stability_seeds"] == 1).all() and draws.loc[draws["kind"] == "seed", "ari"].eq(1).all()


def test_a_way_that_does_not_exist_is_named_and_params_without_one_are_the_paper_s() -> None:
    with pytest.raises(QuantaError, match="angular, neighbours, linkage"):
        graph.weights(np.eye(3), "magic")
    given = SimpleNamespace(method="kmeans", rows="unit", restarts=3)
    assert assignment.Assignment.of(given) == assignment.Assignment("kmeans", "unit", 3)
    assert assignment.Assignment.of(SimpleNamespace(**vars(given), graph="linkage")).seedless
    assert "graph" not in assignment.MAIN.as_json() and WAYS[1].as_json()["graph"] == "neighbours"
    assert membership.by_size(np.array([1, 0, 0])).tolist() == [1, 0, 0]
