import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.affinity.cosine import angular
from quanta.clustering import assignment, kmeans, membership, spectral
from quanta.errors import QuantaError
from sklearn.cluster import SpectralClustering
from sklearn.manifold import spectral_embedding
from support import close_labels


def nested_cosines(seed=0, size=12):
    """Cosines of 8 groups, in 4 pairs, in 2 halves, each level apart from the next: k = 2, 4 and 8 have one answer."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(8), rng.integers(size, 2 * size, 8)))
    cosine = np.zeros((len(group), len(group)))
    for level, value in ((4, 0.4), (2, 0.7), (1, 0.97)):
        same = group[:, None] // level == group[None, :] // level
        cosine[same] = value
    noise = rng.normal(0, 0.01, cosine.shape)
    cosine = np.clip(cosine + (noise + noise.T) / 2, -1, 1)
    np.fill_diagonal(cosine, 1)
    return cosine, group


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_equal_sklearns_from_our_one_decomposition(seed):
    cosine, group = nested_cosines(seed)
    vectors, _ = spectral.embedding(angular(cosine), 8)
    labels = assignment.cluster(vectors, [2, 4, 8], restarts=10, seed=0)
    for k in (2, 4, 8):
        ours = labels.loc[labels["n_clusters"] == k, "label"].to_numpy()
        theirs = SpectralClustering(k, affinity="precomputed", random_state=0, n_init=10).fit_predict(angular(cosine))
        assert close_labels(ours, theirs), k
        assert close_labels(ours, group // (8 // k)), k


def groups_of_any_degree(seed):
    """Six groups, one dense and five sparse, within which the degrees of tokens differ by factors of thousands."""
    rng = np.random.default_rng(seed)
    own = np.repeat(np.arange(6), [40, 30, 20, 20, 20, 20])
    degree = np.where(own == 0, 1, 0.1) * rng.lognormal(0, 1.5, len(own))
    similarity = np.outer(degree, degree) * np.where(own[:, None] == own[None, :], 1, 0.1)
    similarity /= similarity.max()
    np.fill_diagonal(similarity, 1)
    return similarity, own


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rows_over_the_root_of_the_degree_give_sklearns_labels_and_bare_rows_do_not(seed):
    """Without the division k-means tells tokens of high degree from those of low degree."""
    similarity, own = groups_of_any_degree(seed)
    vectors, _ = spectral.embedding(similarity.copy(), 6)
    theirs = SpectralClustering(6, affinity="precomputed", random_state=0, n_init=10).fit_predict(similarity)
    assert close_labels(theirs, own)
    assert close_labels(assignment.assign(vectors, [6], seed=0)[6], theirs)
    bare = dict(kmeans.sweep(vectors, [6], seed=0))[6].labels
    assert not close_labels(bare, theirs)


def test_embedding_spans_sklearns():
    cosine, _ = nested_cosines()
    vectors, values = spectral.embedding(angular(cosine), 5)
    theirs = spectral_embedding(angular(cosine), n_components=5, drop_first=False, random_state=0)
    ours = assignment.scaled_rows(vectors)
    for column in range(1, 5):
        assert abs(np.corrcoef(ours[:, column], theirs[:, column])[0, 1]) > 1 - 1e-6
    assert (np.diff(values) <= 0).all() and abs(values[0] - 1) < 1e-12


def test_embedding_are_eigenvectors_of_the_normalised_affinity():
    similarity = angular(nested_cosines()[0])
    np.fill_diagonal(similarity, 0)
    degree = similarity.sum(1)
    normalised = similarity / np.sqrt(degree[:, None] * degree[None, :])
    vectors, values = spectral.embedding(similarity.copy(), 6)
    np.testing.assert_allclose(normalised @ vectors, vectors * values, atol=1e-10)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-10)
    np.testing.assert_allclose(vectors[:, 0], np.sqrt(degree / degree.sum()), atol=1e-10)
    largest = np.abs(vectors).argmax(0)
    assert (vectors[largest, np.arange(6)] > 0).all()


def test_a_smaller_decomposition_is_a_slice_of_the_largest():
    similarity = angular(nested_cosines()[0])
    large, values = spectral.embedding(similarity.copy(), 8)
    small, fewer = spectral.embedding(similarity.copy(), 3)
    np.testing.assert_allclose(fewer, values[:3], atol=1e-12)
    np.testing.assert_allclose(small, large[:, :3], atol=1e-8)


def test_a_list_of_cluster_numbers_does_not_change_any_of_its_clusterings():
    vectors, _ = spectral.embedding(angular(nested_cosines()[0]), 8)
    together = assignment.cluster(vectors, [3, 5, 8], restarts=2, seed=4)
    for k in (3, 5, 8):
        alone = assignment.cluster(vectors, [k], restarts=2, seed=4)
        assert together[together["n_clusters"] == k].reset_index(drop=True).equals(alone)


def test_clusters_do_not_depend_on_the_order_of_tokens():
    cosine, _ = nested_cosines()
    order = np.random.default_rng(9).permutation(len(cosine))
    plain = assignment.cluster(spectral.embedding(angular(cosine), 8)[0], [8], restarts=10, seed=0)["label"].to_numpy()
    mixed = cosine[np.ix_(order, order)]
    other = assignment.cluster(spectral.embedding(angular(mixed), 8)[0], [8], restarts=10, seed=0)["label"].to_numpy()
    assert close_labels(plain[order], other)


def test_an_unconnected_graph_is_refused():
    blocks = np.kron(np.eye(2), np.ones((5, 5)))
    with pytest.raises(QuantaError, match="not connected"):
        spectral.embedding(blocks, 3)


@given(labels=st.lists(st.integers(-3, 6), min_size=1, max_size=40))
def test_labels_are_by_falling_size_then_first_token(labels):
    renamed = membership.by_size(np.array(labels))
    assert close_labels(renamed, labels)
    sizes = np.bincount(renamed)
    assert (sizes > 0).all() and (np.diff(sizes) <= 0).all()
    first = [int(np.flatnonzero(renamed == k)[0]) for k in range(len(sizes))]
    assert all(first[k] < first[k + 1] for k in range(len(sizes) - 1) if sizes[k] == sizes[k + 1])
