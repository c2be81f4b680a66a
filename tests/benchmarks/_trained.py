"""A trained model for benchmarks, neox-450k of the family that comes with the repository, and texts held out from it."""

from pathlib import Path
from typing import Any

import pandas as pd
from quanta.corpus import encoding, packages, readers, vocabulary
from quanta.corpus.encoding import Tokens
from quanta.gradients import selection
from quanta.losses import forward
from quanta.models import pretrained

FAMILY = Path(__file__).resolve().parents[2] / "resources/family"


def trained() -> tuple[Any, Tokens]:
    """The model and its held-out tokens."""
    manifest = pd.read_csv(FAMILY / "manifest.csv")
    held = set(manifest.loc[manifest["split"] == "heldout", "source"])
    names = sorted({source.split("/")[0] for source in held})
    found = packages.find_distributions(names, {})
    texts = [text for text in readers.python_sources(found) if text.source in held]
    table = pd.DataFrame({"source": [t.source for t in texts], "split": "", "text": [t.text for t in texts]})
    tokens, _ = encoding.encode(vocabulary.load_tokenizer(FAMILY / "tokenizer"), table, context=256, pieces="all")
    return pretrained.load(FAMILY / "neox-450k/step8192"), tokens


def chosen(model: Any, tokens: Tokens, n: int, documents: int = 1200) -> pd.DataFrame:
    """N tokens that the model predicts well and not by induction, from the first documents."""
    found = forward.token_losses(model, tokens, range(documents), batch_tokens=8192)
    part = Tokens(tokens.ids[: tokens.offsets[documents]], tokens.offsets[: documents + 1])
    return selection.select(found, part, threshold=0.1, limit=n)[0]
