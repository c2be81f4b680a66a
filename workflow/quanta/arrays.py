"""Array types for signatures that carry shapes, `Float[Array, "token feature"]`, and what every package says of arrays."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]
else:
    Array = np.ndarray

__all__ = [
    "BITS_PER_NAT",
    "ENDS_90",
    "ERRORS_90",
    "Array",
    "Bool",
    "Float",
    "Float32",
    "Int",
    "Shaped",
    "UInt",
    "evenly",
    "log_log_fit",
]

BITS_PER_NAT = 1 / np.log(2)
ENDS_90 = (0.05, 0.95)  # quantiles that bound an interval of 90 %
ERRORS_90 = 1.645  # standard errors from its middle to an end, for a normal law


def evenly(n: int, size: int) -> Int[Array, " chosen"]:
    """At most `size` of the indices 0 to n − 1, evenly spread, rising."""
    return np.linspace(0, n - 1, min(size, n)).round().astype(int)


def log_log_fit(x: Array, y: Array, weights: Array | None = None) -> Float[Array, "2 ..."]:
    """Slope and intercept of log y on log x by least squares; of every column of a y of two dimensions.

    `weights` multiply the squared residuals. All of x and y are above 0.
    """
    return np.asarray(np.polyfit(np.log(x), np.log(y), 1, w=None if weights is None else np.sqrt(weights)))
