"""The shape of a GPT-NeoX: what it computes and how many parameters it has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


def parameters(size: Mapping[str, Any]) -> int:
    """Non-embedding parameters of a GPT-NeoX shape: 12 d² + 13 d a layer and the final layer norm's 2 d."""
    width, layers = int(size["width"]), int(size["layers"])
    return layers * (12 * width**2 + 13 * width) + 2 * width


@dataclass(frozen=True)
class Shape:
    """A GPT-NeoX of Pythia's kind: width, layers, heads, rows of the padded unembedding."""

    width: int
    layers: int
    heads: int
    vocabulary: int = 50304

    @property
    def non_embedding(self) -> int:
        """Parameters without embeddings: 12 l d² weights, 13 l d + 2 d biases and norms (paper.md's numbers)."""
        return self.layers * (12 * self.width**2 + 13 * self.width) + 2 * self.width

    @property
    def products(self) -> int:
        """Weights of the blocks that a token is multiplied with."""
        return 12 * self.layers * self.width**2

    @property
    def parameters(self) -> int:
        """All of them."""
        return self.non_embedding + 2 * self.vocabulary * self.width


# the sizes of the Pythia suites, from their model cards; the padded vocabulary grows with tensor parallelism
SHAPES = {
    "14m": Shape(128, 6, 4),
    "31m": Shape(256, 6, 8),
    "70m": Shape(512, 6, 8),
    "160m": Shape(768, 12, 12),
    "410m": Shape(1024, 24, 16),
    "1b": Shape(2048, 16, 8),
    "1.4b": Shape(2048, 24, 16),
    "2.8b": Shape(2560, 32, 32),
    "6.9b": Shape(4096, 32, 32, 50432),
    "12b": Shape(5120, 36, 40, 50688),
}
