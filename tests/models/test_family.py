"""The family that is shipped: whole, small enough, of one corpus, none of whose held-out files was trained on."""

import json
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import torch
from quanta.config import members as settings
from quanta.config import schema
from quanta.corpus import manifests, near_duplicates, readers, vocabulary
from quanta.models import pretrained, weights
from support import ROOT, SCHEMA, over_default

FAMILY = ROOT / "resources/family"


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(FAMILY / "family.csv")


def test_it_is_a_ladder_with_seeds_and_histories(table):
    sizes = table["non_embedding_parameters"].drop_duplicates()
    assert len(sizes) >= 6 and np.log10(sizes.max() / sizes.min()) >= 2.5
    seeds = table.groupby("non_embedding_parameters")["seed"].nunique().sort_index()
    assert (seeds.iloc[: len(seeds) // 2] == 3).all()
    steps = table.groupby("model")["step"].nunique()
    assert (steps > 14).sum() == 2
    assert table.groupby("model")["step"].max().nunique() == 1, "all have seen as many tokens"
    final = table[(table["step"] == table["step"].max()) & (table["seed"] == 0)]
    assert final.sort_values("non_embedding_parameters")["mean_loss_nats"].is_monotonic_decreasing
    assert (table["rounding_nats"] < 1e-3).all()


def test_it_is_small_enough_and_every_weight_is_the_one_of_the_table(table):
    files = [path for path in FAMILY.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 60 * 2**20
    folders = {(path.parent.parent.name, int(path.parent.name[4:])) for path in FAMILY.rglob("model.safetensors")}
    assert folders == set(zip(table["model"], table["step"], strict=True))
    for row in table.itertuples():
        assert weights.weight_hash(FAMILY / row.model / f"step{row.step}") == row.sha256, (row.model, row.step)


def test_the_default_run_takes_it(table, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = schema.settle(over_default({}), SCHEMA)
    assert set(settings.model_names(found)) == set(table["model"])
    wanted = {(model, step) for model in settings.model_names(found) for step in settings.saved_steps(found, model)}
    assert wanted <= set(zip(table["model"], table["step"], strict=True))
    for model, step in wanted:
        assert settings.expected_hash(found, model, step) is not None


def test_its_models_load_with_its_tokenizer(table):
    tokenizer = vocabulary.load_tokenizer(FAMILY / "tokenizer")
    name = table.loc[table["non_embedding_parameters"].idxmax(), "model"]
    model = pretrained.load(FAMILY / name / f"step{table['step'].max()}")
    ids = torch.tensor([tokenizer.encode("import numpy as np\nimport pytest\n\n\ndef test_it():\n    assert").ids])
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
    assert losses.mean() < np.log(tokenizer.get_vocab_size()) / 2, "it has learned something"


def test_no_held_out_file_has_a_near_copy_among_those_trained_on():
    manifest = manifests.read(FAMILY / "manifest.csv")
    names = sorted({source.partition("/")[0] for source in manifest["source"]})
    found = readers.python_sources(metadata.distribution(name) for name in names)
    versions = {name: metadata.version(name) for name in names}
    texts, _ = manifests.agree(found, manifest, versions, 0.9)
    containment = SCHEMA["properties"]["corpus"]["properties"]["duplicate_containment"]["default"]
    sides = texts["split"].groupby(near_duplicates.groups(texts["text"], containment)).nunique()
    assert (sides == 1).all()
    assert {"heldout", "training"} == set(texts["split"])


def test_its_card_names_its_models_and_its_corpus(table):
    card = (FAMILY / "README.md").read_text()
    assert all(f"| {model} |" in card for model in table["model"].unique())
    for row in table[table["step"] == table["step"].max()].itertuples():
        assert f"{row.mean_loss_nats:.3f}" in card
    assert json.loads((FAMILY / "neox-1m/step8192/config.json").read_text())["dtype"] == "float16"
