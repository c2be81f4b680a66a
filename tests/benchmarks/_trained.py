"""The trained model of the benchmarks: neox-450k after 7.5 million tokens of installed Python sources."""

import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from quanta import corpus, losses, models, selection, training
from quanta.corpus import Tokens
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers import models as kinds

FOLDER = Path(tempfile.gettempdir()) / "quanta-benchmark"
DISTRIBUTIONS = ["scipy", "scikit-learn", "pandas", "sympy", "networkx", "numpy"]
STEPS = 3662


def trained() -> tuple[Any, Tokens]:
    """The model and its held-out tokens; made at the first call (some 10 minutes on one core) and kept in `FOLDER`."""
    held, weights = FOLDER / "held.npz", FOLDER / "model" / f"step{STEPS}"
    if not (held.is_file() and weights.is_dir()):
        texts = list(islice(corpus.python_sources(corpus.find_distributions(DISTRIBUTIONS, None)), 3000))
        tokenizer = Tokenizer(kinds.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=1024, special_tokens=[corpus.END_OF_TEXT], initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.train_from_iterator([t.text for t in texts[:600]], trainer)
        table = pd.DataFrame({"source": [t.source for t in texts], "split": "", "text": [t.text for t in texts]})
        settings: dict[str, Any] = {"context": 256, "pieces": "all"}
        tokens, _ = corpus.encode(tokenizer, table[:150], **settings)
        train, _ = corpus.encode(tokenizer, table[150:], **settings, limit_tokens=8_000_000)
        model = models.new_model(models.Size("neox-450k", 96, 4, 6), vocabulary=1024, context=256, seed=0)
        recipe = training.Recipe(STEPS, 8, 256, 3e-3, 100, 0.1, "bfloat16")
        training.train_to_folder(
            model, train.ids, recipe, seed=0, label="neox-450k", save_at=[STEPS], folder=FOLDER / "model"
        )
        np.savez(held, ids=tokens.ids, offsets=tokens.offsets)
    content = np.load(held)
    return models.load(weights), Tokens(content["ids"], content["offsets"])


def chosen(model: Any, tokens: Tokens, n: int, documents: int = 1200) -> pd.DataFrame:
    """N tokens that the model predicts well and not by induction, from the first documents."""
    found = losses.token_losses(model, tokens, range(documents), batch_tokens=8192)
    part = Tokens(tokens.ids[: tokens.offsets[documents]], tokens.offsets[: documents + 1])
    return selection.select(found, part, threshold=0.1, limit=n)
