"""The corpora that configurations name on the hub, in their published formats, over loopback: pinned, fetched, read."""

import io
import json

import pandas as pd
import pyarrow
import pytest
import zstandard
from huggingface_hub import constants
from loopback import Hub
from pyarrow import parquet
from quanta.config import schema
from quanta.config.members import texts_needed
from quanta.config.plan import Plan, canonical
from support import OVER_PYTHIA, SCHEMA, names, over_default, read, script

PARTS = ["Pile-CC", "Github", "ArXiv", "Wikipedia (en)"]
PILE = [{"text": f"Document {i} of the Pile. " * 9, "meta": {"pile_set_name": PARTS[i % 4]}} for i in range(12)]
STORIES = [{"text": f"Once upon a time there was a cat with {i} hats. " * 6} for i in range(12)]
# blank lines, headings, and paragraphs in tokens with blanks around punctuation
ARTICLES = [
    {"text": text}
    for i in range(8)
    for text in (
        "",
        f" = Article {i} = \n",
        "",
        f" Article {i} is about the number @{i}@ , which . " * 8 + "\n",
        " = = Section = = \n",
    )
]
OTHER = [{"text": "of another split " * 20, "meta": {"pile_set_name": "Pile-CC"}}]


def rows_of(rows):
    """A Parquet file with the columns of the rows; an object is a struct."""
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), stream, row_group_size=5)
    return stream.getvalue()


def lines_of(rows):
    """JSON Lines, compressed in one frame."""
    return zstandard.compress("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


PLAIN = [{"text": row["text"]} for row in OTHER]
PUBLISHED = {
    "NeelNanda/pile-10k": {
        "README.md": b"#", "dataset_infos.json": b"{}",
        "data/train-00000-of-00001-4746b8785c874cc7.parquet": rows_of(PILE),
    },
    "monology/pile-uncopyrighted": {
        "README.md": b"#", "train/00.jsonl.zst": lines_of(OTHER), "train/01.jsonl.zst": lines_of(OTHER),
        "val.jsonl.zst": lines_of(OTHER), "test.jsonl.zst": lines_of(PILE),
    },
    "Salesforce/wikitext": {
        "README.md": b"#",
        **{
            f"{name}/{split}-00000-of-00001.parquet": rows_of(ARTICLES if (name, split) == ("wikitext-103-raw-v1", "validation") else PLAIN)
            for name in ("wikitext-103-raw-v1", "wikitext-103-v1", "wikitext-2-raw-v1", "wikitext-2-v1")
            for split in ("train", "validation", "test")
        },
    },
    "roneneldan/TinyStories": {
        "README.md": b"#", "TinyStories-valid.txt": b"text", "TinyStories_all_data.tar.gz": b"tar",
        "data/train-00000-of-00004-2d5a1467fff1081b.parquet": rows_of(PLAIN),
        "data/validation-00000-of-00001-869c898b519ad725.parquet": rows_of(STORIES),
    },
}  # fmt: skip
EXPECTED = {
    "NeelNanda/pile-10k": (PILE, True),
    "monology/pile-uncopyrighted": (PILE, True),
    "Salesforce/wikitext": (ARTICLES[3::5], False),
    "roneneldan/TinyStories": (STORIES, False),
}
NAMED = ["pythia-laptop", "pythia-hour", "pythia-day", "hub-example", "tinystories"]


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_TOKEN", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.address)
        for repository, files in PUBLISHED.items():
            running.add(repository, "main", files, kind="dataset")
        yield running


def settled(name):
    base = schema.over(over_default(read("pythia.yaml")), read(f"{name}.yaml"))
    return schema.settle(base if name in OVER_PYTHIA else over_default(read(f"{name}.yaml")), SCHEMA)


def test_every_configuration_whose_texts_are_on_the_hub_is_looked_at():
    from support import ROOT

    found = {
        path.stem
        for path in (ROOT / "config").glob("*.yaml")
        if read(path.name).get("corpus", {}).get("source") == "hub"
    }
    assert found == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
def test_the_texts_of_a_tier_are_pinned_fetched_and_read_with_their_parts(name, hub, tmp_path):
    config = settled(name)
    plan, wanted = Plan(config), config["corpus"]["hub"]
    fetched = names(folder=tmp_path / "fetched", pin=tmp_path / "fetched.pin.json")
    script("corpus/fetch_texts")(
        names(),
        fetched,
        names(
            corpus=canonical(wanted),
            lock=tmp_path / "hub.lock.json",
            store=tmp_path / "store",
            patience=plan.patience(),
        ),
    )
    pin = json.loads((tmp_path / "fetched.pin.json").read_text())
    assert len(pin["files"]) == 1 and pin["commit"] == hub.revisions["dataset", wanted["repository"]]["main"]
    asked = {request["path"].split("/resolve/")[1] for request in hub.asked("/resolve/")}
    assert len(asked) == 1, "no other file of the data set is fetched"

    out = names(texts=tmp_path / "texts.parquet", sources=tmp_path / "sources.json", manifest=[], differences=[])
    script("corpus/texts")(
        names(file=fetched.folder, pin=fetched.pin, manifest=[]),
        out,
        names(
            corpus=plan.texts_settings(),
            versions="{}",
            documents=texts_needed(config),
            containment=None,
            minimum_agreement=None,
        ),
    )
    found, (expected, parts) = pd.read_parquet(out.texts), EXPECTED[wanted["repository"]]
    assert found["text"].tolist() == [row["text"] for row in expected], "in the file's order"
    assert found["subset"].tolist() == [row["meta"]["pile_set_name"] if parts else "" for row in expected]
    assert plan.subsets == parts and set(found["split"]) == {"heldout"}
    sources = json.loads((tmp_path / "sources.json").read_text())
    assert sources["repository"] == wanted["repository"] and sources["texts"] == {"heldout": len(expected)}
