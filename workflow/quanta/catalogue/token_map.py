"""Tokens on a plane, near ones near: for the page."""

import numpy as np

from quanta.arrays import Array, Float
from quanta.errors import QuantaError
from quanta.streams import Purpose, integer

LAYOUT_DIMENSIONS = 64
PERPLEXITY = 30.0


def layout(embedding: Array, *, seed: int) -> Float[Array, "token 2"]:
    """Two-dimensional layout of the spectral embedding by t-SNE (van der Maaten and Hinton 2008), started from its PCA.

    Rows are the first 64 eigenvectors after the constant one, scaled to unit length. Coordinates have no unit; distances
    between far groups mean nothing.

    Raises:
        QuantaError: there are fewer than four tokens.
    """
    n = len(embedding)
    if n < 4:
        raise QuantaError("qdg/embedding.npy", f"{n} tokens", "at least four", "select more tokens")
    rows = np.asarray(embedding[:, 1 : LAYOUT_DIMENSIONS + 1] / np.asarray(embedding)[:, :1], dtype=np.float32)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    state = integer(seed, Purpose.TOKEN_MAP)
    perplexity = min(PERPLEXITY, (n - 1) / 3)
    init = "pca" if rows.shape[1] > 1 else "random"
    from sklearn.manifold import TSNE  # two seconds, which the page need not wait

    return np.asarray(TSNE(2, perplexity=perplexity, init=init, random_state=state, n_jobs=1).fit_transform(rows))
