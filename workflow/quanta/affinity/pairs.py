"""Some pairs of tokens, where the matrix of all would be too large."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from quanta.affinity import cosine
from quanta.arrays import Array, Float, Float32, Int


class Pairs:
    """Cosines of features (N, feature), for an N too large for the matrix of all of them.

    `features` may be memory-mapped: it is read by tiles.

    Raises:
        QuantaError: a row is zero or not finite.
    """

    def __init__(self, features: Float32[Array, "token feature"], tile: int = 4096) -> None:
        self.features, self.tile, self.length = features, tile, cosine.lengths(features)

    def _tiles(self) -> Iterator[tuple[int, Array]]:
        for begin in range(0, len(self.features), self.tile):
            yield begin, np.asarray(self.features[begin : begin + self.tile])

    def among(self, tokens: Int[Array, " chosen"]) -> Float32[Array, "chosen chosen"]:
        """Cosines of some tokens, with a unit diagonal."""
        unit = (np.asarray(self.features[tokens]) / self.length[tokens, None]).astype(np.float32)
        found = np.clip(unit @ unit.T, -1, 1)
        np.fill_diagonal(found, 1)
        return np.asarray(found)

    def sums(self, one: Any) -> Float[Array, "cluster cluster"]:
        """Sums of the cosines of all pairs of two clusters, a token with itself too; `one` is `spectral.one_hot`."""
        total = np.zeros((one.shape[0], self.features.shape[1]))
        for begin, part in self._tiles():
            end = begin + len(part)
            total += one[:, begin:end] @ (part / self.length[begin:end, None])
        return np.asarray(total @ total.T)


def among(cosines: "Array | Pairs", tokens: Int[Array, " chosen"]) -> Float[Array, "chosen chosen"]:
    """Cosines of some tokens, from the matrix of all or from features."""
    return cosines.among(tokens) if isinstance(cosines, Pairs) else np.asarray(cosines[tokens][:, tokens])
