import numpy as np
import pytest
from quanta.affinity import cosine
from quanta.calibration import planted
from quanta.clustering import assignment, spectral
from quanta.errors import QuantaError
from scipy.linalg import subspace_angles
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score


def make(n=240, seed=0, **settings):
    x = planted.draw(planted.Settings(n_tokens=n, **settings), np.random.default_rng(seed))
    cosines = np.clip(x.features @ x.features.T, -1, 1)
    return cosine.angular((cosines + cosines.T) / 2), x


def test_subspace_is_that_of_the_full_decomposition():
    similarity, _ = make()
    weights = similarity.copy()
    np.fill_diagonal(weights, 0)
    root = np.sqrt(weights.sum(axis=1))
    values, vectors = np.linalg.eigh(weights / root[:, None] / root[None, :])
    ours, found = spectral.embedding(similarity.copy(), 12)
    np.testing.assert_allclose(found, values[::-1][:12], atol=1e-12)
    assert np.sin(subspace_angles(ours, vectors[:, ::-1][:, :12]).max()) < 1e-6


def test_devices_agree():
    """The path for a GPU, run on the CPU by way of torch's other name for it."""
    similarity, _ = make()
    one = spectral.embedding(similarity.copy(), 6)
    two = spectral.embedding(similarity.copy(), 6, device="cpu:0")
    np.testing.assert_allclose(one[1], two[1], atol=1e-12)
    np.testing.assert_allclose(one[0], two[0], atol=1e-8)


def test_first_k_vectors_serve_every_k():
    similarity, _ = make()
    large, small = (spectral.embedding(similarity.copy(), k)[0] for k in (20, 5))
    np.testing.assert_allclose(large[:, :5], small, atol=1e-8)


def test_clusters_are_those_of_scikit_learn_on_clear_data():
    similarity, x = make(alpha=0.8, strength=0.9, n_quanta=12)
    k = len(np.unique(x.quantum))
    theirs = SpectralClustering(k, affinity="precomputed", random_state=0).fit_predict(similarity)
    vectors, _ = spectral.embedding(similarity, k)
    for method in ("kmeans", "restarts", "cluster_qr"):
        ours = assignment.assign(vectors, [k], method=method)[k]
        assert adjusted_rand_score(x.quantum, ours) >= adjusted_rand_score(x.quantum, theirs) - 0.02


def test_permuting_tokens_permutes_labels():
    similarity, _ = make(alpha=0.6, strength=0.9, n_quanta=10)
    order = np.random.default_rng(1).permutation(len(similarity))
    labels = assignment.assign(spectral.embedding(similarity.copy(), 10)[0], [6, 10])
    moved = assignment.assign(spectral.embedding(similarity[np.ix_(order, order)], 10)[0], [6, 10])
    for k in (6, 10):
        assert adjusted_rand_score(labels[k][order], moved[k]) > 0.95


def test_duplicating_every_token_doubles_sizes():
    similarity, _ = make(n=160, alpha=0.6, strength=0.95, n_quanta=8)
    twice = np.repeat(np.repeat(similarity, 2, axis=0), 2, axis=1)
    one, two = (assignment.assign(spectral.embedding(s, 8)[0], [8])[8] for s in (similarity, twice))
    np.testing.assert_array_equal(2 * np.bincount(one), np.bincount(two))


def test_labels_are_by_falling_size():
    similarity, _ = make()
    table = assignment.cluster(spectral.embedding(similarity, 30)[0], [10, 30])
    for _, part in table.groupby("n_clusters"):
        assert (np.diff(np.bincount(part["label"])) <= 0).all()
    assert list(table["n_clusters"].unique()) == [10, 30]


def test_disconnected_graph_is_named():
    blocks = np.kron(np.eye(3), np.ones((10, 10)))
    with pytest.raises(QuantaError, match="3 components"):
        spectral.embedding(blocks, 6)


def test_equal_eigenvalues_are_named():
    """Copies of one token make an eigenvalue of high multiplicity: a subspace cut inside of it is arbitrary."""
    similarity = np.full((40, 40), 0.5)
    values = spectral.embedding(similarity, 10)[1]
    assert spectral.degenerate(values, [1, 5, 9]) == [5, 9]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a.__setitem__((3, 5), 0.1), r"at \(3, 5\)"),
        (lambda a: a.__setitem__((3, 5), np.nan), "nan"),
        (lambda a: a.__setitem__((slice(None), slice(None)), -a), "negative"),
    ],
)
def test_bad_affinities_are_refused(spoil, message):
    similarity, _ = make(n=30)
    spoil(similarity)
    with pytest.raises(QuantaError, match=message):
        spectral.embedding(similarity, 3)


def test_token_without_neighbours_is_named():
    similarity, _ = make(n=30)
    similarity[7] = similarity[:, 7] = 0
    with pytest.raises(QuantaError, match="token 7"):
        spectral.embedding(similarity, 3)


def test_more_clusters_than_vectors_is_an_error():
    similarity, _ = make(n=30)
    vectors, _ = spectral.embedding(similarity, 4)
    with pytest.raises(QuantaError, match="eigenvectors"):
        assignment.assign(vectors, [5])
