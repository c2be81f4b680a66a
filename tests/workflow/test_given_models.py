"""Runs of given models: a Llama whose tokenizer puts a token before each text, and models that no run can use."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from architectures import tiny
from quanta.corpus import vocabulary
from repository import copy_of_the_repository, smoke
from spellings import saved
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1800)]

OVER = {
    "run": "given",
    "corpus": {"source": "jsonl", "jsonl": {"path": "texts"}, "heldout_share": 1, "minimum_characters": 1},
    "models": {"source": "folder", "folder": {"path": "checkpoints"}},
    "dynamics": {"model": None, "further": []},
    "losses": {"shards_by_model": []},
    "qdg": {"model": "small", "threshold": 50, "shards": "auto"},
    "parity": {"run": False},
}


@pytest.fixture
def folder(tmp_path):
    """The repository with a folder of text files."""
    target = copy_of_the_repository(tmp_path / "quanta")
    rng = np.random.default_rng(0)
    words = [
        "the",
        "cat",
        "sat",
        "on",
        "the",
        "mat",
        "and",
        "the",
        "other",
        "cats",
        "sat",
        "there",
        "walking",
        "talking",
        "x",
        "y",
    ]
    (target / "texts").mkdir()
    for i in range(120):
        text = " ".join(rng.choice(words, 60)) + f"\nand é is number {i}.\n"
        (target / f"texts/{i:03}.txt").write_text(text, encoding="utf-8")
    return target


def given(target, kind="metaspace", **tokenizer):
    """A random Llama with a tokenizer of a kind."""
    saved(target, kind, **tokenizer)
    rows = vocabulary.load_tokenizer(target).get_vocab_size()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=rows,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=80,
            )
        ).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(4)
    model.save_pretrained(target)
    return model


def own_losses(model, ids, beginning):
    """Of the tokens after the first, from the model's own logits."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([[*beginning, *ids]])).logits[0, len(beginning) : -1]
    return nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none").numpy()


def test_a_model_that_reads_a_token_before_each_text_is_run_with_it(folder):
    model = given(folder / "checkpoints/small", chat_template="{{ messages }}")
    output = smoke(folder, over=OVER)
    results = folder / "results/given"
    beginning = json.loads((results / "corpus/beginning.json").read_text())
    assert beginning["ids"] == [1] and beginning["tokens"] == ["<s>"]

    tokens, offsets = np.load(results / "corpus/tokens.npy").tolist(), np.load(results / "corpus/offsets.npy")
    losses, alike = np.load(results / "losses/small/step0.npy"), []
    assert len(losses) == len(tokens) and 1 not in tokens, "the token has neither position nor loss"
    for begin, end in pairwise(offsets):
        expected = own_losses(model, tokens[begin:end], [1])
        assert np.isnan(losses[begin])
        np.testing.assert_allclose(losses[begin + 1 : end], expected, atol=1e-4)
        alike.append(np.abs(own_losses(model, tokens[begin:end], []) - expected).mean())
    assert np.mean(alike) > 0.05, "without it losses would be others"
    chosen = pd.read_parquet(results / "qdg/tokens.parquet")
    flat = offsets[chosen["document"]] + chosen["position"].to_numpy()
    np.testing.assert_array_equal(losses[flat], chosen["loss_nats"])
    assert (np.linalg.norm(np.load(results / "qdg/features.npy"), axis=1) > 0).all()

    probe = json.loads((results / "models/probe.json").read_text())
    assert probe["architecture"] == "LlamaForCausalLM" and probe["parameter_set"] == "clean"
    assert (results / "models/probe.json").stat().st_mtime < (results / "losses/small/step0.npy").stat().st_mtime
    told = "small looks like a chat model: its tokenizer has a chat template."
    assert told in output[: output.index("Copy small at step 0")], "before the first job"
    assert told in (results / "report/index.html").read_text(encoding="utf-8")
    described = pd.read_parquet(results / "qdg/descriptions.parquet")
    assert not described["target"].str.contains("▁|<0x").any(), "tokens as people read them"


def test_a_model_whose_gradients_are_refused_stops_before_its_losses(folder):
    target = folder / "checkpoints/small"
    saved(target, "metaspace")
    tiny("reformer", vocab_size=vocabulary.load_tokenizer(target).get_vocab_size()).save_pretrained(target)
    output = smoke(folder, over=OVER, fails=True)
    assert "ReformerModelWithLMHead (reformer): gradients of the set 'clean'" in output and "Traceback" not in output
    assert not (folder / "results/given/losses").exists()


def test_models_that_no_run_can_use_are_refused_before_the_first_job(folder):
    """By the one call that all these checks are behind; test_surroundings has every message."""
    given(folder / "checkpoints/small")
    given(folder / "checkpoints/other", "byte_level")
    output = smoke(folder, over=OVER, fails=True)
    assert "tokenizers that differ" in output and "Finished jobid" not in output
    config = folder / "checkpoints/other/config.json"
    settings = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": settings}))
    output = smoke(folder, over=OVER, fails=True)
    assert "quantised weights (bitsandbytes, 8 bits)" in output and "Traceback" not in output
    assert not (folder / "results/given").exists()
    output = smoke(
        folder, "--dry-run", over=OVER | {"corpus": OVER["corpus"] | {"jsonl": {"path": "texts/000.txt"}}}, fails=True
    )
    assert "as plain text does" in output and "put text files into a folder" in output
