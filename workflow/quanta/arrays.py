"""Array types for signatures that carry shapes: `Float[Array, "token feature"]`."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]
else:
    Array = np.ndarray
from typing import Any

__all__ = ["Array", "Bool", "Float", "Float32", "Int", "Shaped", "UInt"]


def evenly(n_tokens: int, size: int) -> Int[Array, " held"]:
    """At most `size` of the tokens, evenly spread, rising: those that a matrix of `size` rows is of."""
    return np.linspace(0, n_tokens - 1, min(size, n_tokens)).round().astype(int)
