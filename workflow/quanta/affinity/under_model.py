"""Gradients and cosines of selected tokens under any model, made as those of the model that is clustered are."""

import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel

from quanta.affinity import cosine, exact
from quanta.arrays import Array, Float32
from quanta.corpus.encoding import Tokens
from quanta.gradients import token_gradients


@dataclass(frozen=True)
class Making:
    """How gradients are made: `features` of a sketch, or exact ones if `memory_bytes` is the memory that they may take."""

    parameters: str
    precision: str
    batch_tokens: int
    features: int
    seed: int
    memory_bytes: int | None = None

    @classmethod
    def of(cls, params: Any) -> "Making":
        """The same from a rule's params of these names."""
        return cls(**{name: getattr(params, name) for name in cls.__dataclass_fields__})

    def sketch(
        self, model: PreTrainedModel, tokens: Tokens, selection: pd.DataFrame, *, label: str = "gradients"
    ) -> Float32[Array, "token feature"]:
        """Sketched gradients (not normalised) of the selected tokens. Errors: see `token_gradients`."""
        found, _ = token_gradients.token_gradients(
            model, tokens, *_places(selection), features=self.features, seed=self.seed, label=label,
            parameters=self.parameters, precision=self.precision, batch_tokens=self.batch_tokens,
        )  # fmt: skip
        return np.asarray(found)

    def cosines(
        self, model: PreTrainedModel, tokens: Tokens, selection: pd.DataFrame, out: Array, *, label: str = "gradients"
    ) -> None:
        """Fill `out` (N, N) with cosines of the selected tokens' gradients, exact or sketched. Errors: see `token_gradients`."""
        if self.memory_bytes is None:
            cosine.cosine([self.sketch(model, tokens, selection, label=label)], out)
            return
        with tempfile.TemporaryDirectory() as scratch:
            exact.exact_cosines(
                model, tokens, *_places(selection), out, memory_bytes=self.memory_bytes, scratch=scratch,
                parameters=self.parameters, precision=self.precision, batch_tokens=self.batch_tokens,
            )  # fmt: skip


def _places(selection: pd.DataFrame) -> tuple[Array, Array]:
    return selection["document"].to_numpy(), selection["position"].to_numpy()
