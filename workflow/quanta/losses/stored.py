"""The losses of a model as they are kept, one a token of the corpus; read, checked, summed by document.

Apart from `forward`, which computes them, so that the stages that only read them do not import torch.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from quanta.arrays import Array, Float32
from quanta.corpus.encoding import Tokens
from quanta.errors import QuantaError
from quanta.storage import files


def check_losses(losses: Array, tokens: Tokens, documents: range, where: str) -> None:
    """Losses are one a token, NaN at the first token of a document and nowhere else, never negative or infinite.

    Raises:
        QuantaError: they are not; the first offending document and position are named.
    """
    begin, end = int(tokens.offsets[documents.start]), int(tokens.offsets[documents.stop])
    if len(losses) != end - begin:
        raise QuantaError(where, f"{len(losses)} losses", f"{end - begin}, as the offsets say", files.RERUN)
    expected = tokens.predicted()[begin:end]
    wrong = np.flatnonzero((np.isfinite(losses) & (losses >= 0)) != expected)
    if len(wrong):
        document, position = tokens.place(np.array([begin + wrong[0]]))
        raise QuantaError(
            where,
            f"{losses[wrong[0]]} at document {document[0]}, position {position[0]} ({len(wrong)} such places)",
            "a finite loss everywhere but at the first token of a document",
            f"if the model is sound, {files.RERUN}",
        )


def read_losses(path: str, tokens: Tokens) -> Float32[Array, " token"]:
    """Read one model's losses and check them against the offsets.

    Raises:
        QuantaError: see `check_losses`.
    """
    losses = files.read_array(path, dtype="float32", shape=(len(tokens.ids),), why="one loss a token of the corpus")
    check_losses(losses, tokens, range(tokens.n_documents), str(path))
    return losses


def by_document(losses: Array, tokens: Tokens) -> pd.DataFrame:
    """Columns document, loss_sum_nats, n_predictions: all that means and their bootstrap need."""
    index, _ = tokens.place(np.arange(len(losses)))
    known = tokens.predicted()
    sums = np.bincount(index[known], weights=losses[known].astype(np.float64), minlength=tokens.n_documents)
    counts = np.bincount(index[known], minlength=tokens.n_documents)
    return pd.DataFrame({"document": np.arange(tokens.n_documents), "loss_sum_nats": sums, "n_predictions": counts})


def by_subset(losses: Array, tokens: Tokens, subsets: Sequence[str]) -> pd.DataFrame:
    """Columns subset, n_predictions, mean_loss_nats (NaN where nothing is predicted); `subsets` has one a document."""
    table = by_document(losses, tokens).assign(subset=list(subsets))
    sums = table.groupby("subset", sort=True)[["loss_sum_nats", "n_predictions"]].sum().reset_index()
    means = sums["loss_sum_nats"] / sums["n_predictions"].where(sums["n_predictions"] > 0)
    return sums[["subset", "n_predictions"]].assign(mean_loss_nats=means)
