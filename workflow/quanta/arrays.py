"""Array types for signatures that carry shapes: `Float[Array, "token feature"]`."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped, UInt

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]
else:
    Array = np.ndarray


__all__ = ["Array", "Bool", "Float", "Float32", "Int", "Shaped", "UInt"]
