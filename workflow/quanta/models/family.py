"""The table of models and steps. `pretrained` makes it; the stages that only read it do not import torch."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

FAMILY_COLUMNS = ("model", "step", "non_embedding_parameters", "revision", "sha256")
# the hub's label of a step is not always the optimiser's count of steps; a commit only where the hub was asked
FURTHER_COLUMNS = ("seed", "optimiser_step", "commit")


def in_order(members: Sequence[Sequence[Any]], family: pd.DataFrame) -> list[tuple[str, int]]:
    """(model, step) pairs in the order of the family's table: by size, then by step."""
    wanted = {(str(model), int(step)) for model, step in members}
    return [pair for pair in zip(family["model"], family["step"].astype(int), strict=True) if pair in wanted]
