import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta import corpus, storage
from quanta.errors import QuantaError
from support import ANY_TEXT, names, script

TEXTS = [f"def f_{i}(x):\n    return x + {i}\n\n\nclass A{i}:\n    pass\n" for i in range(60)]


@pytest.fixture(scope="module")
def tokenizer():
    return corpus.train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    corpus.save_tokenizer(tokenizer, path)
    return path


# ------------------------------------------------------------------------------------------------- tokenizer


@given(text=ANY_TEXT)
def test_any_text_comes_back_from_its_tokens(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


@given(text=st.text(st.characters(max_codepoint=127, exclude_characters="\\"), max_size=80))
def test_texts_of_tokens_join_to_the_text(tokenizer, text):
    texts = corpus.Texts(tokenizer)
    assert "".join(texts.of(i) for i in tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_texts_of_single_bytes_special_tokens_and_padding(tokenizer):
    texts = corpus.Texts(tokenizer)
    euro = tokenizer.encode("€", add_special_tokens=False).ids
    assert [texts.of(i) for i in euro] == ["\\xe2", "\\x82", "\\xac"]
    assert texts.of(tokenizer.token_to_id(corpus.END_OF_TEXT)) == corpus.END_OF_TEXT
    assert texts.of(50_303) == "<50303>"
    assert texts.of(tokenizer.encode("\n", add_special_tokens=False).ids[0]) == "\n"


def test_training_is_deterministic_and_fills_the_vocabulary(tokenizer):
    assert tokenizer.get_vocab_size() == 300
    assert corpus.train_tokenizer(TEXTS, 300).to_str() == tokenizer.to_str()


@given(text=ANY_TEXT)
def test_transformers_loads_the_saved_tokenizer_and_gives_the_same_ids(tokenizer, loaded, text):
    ids = loaded(text, add_special_tokens=False)["input_ids"]
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids
    assert loaded.eos_token == corpus.END_OF_TEXT


@pytest.fixture(scope="module")
def loaded(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_a_damaged_tokenizer_is_named(folder, tmp_path):
    assert corpus.load_tokenizer(folder).get_vocab_size() == 300
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:-40])
    for broken in (tmp_path, tmp_path / "absent"):
        with pytest.raises(QuantaError, match=r"tokenizer\.json"):
            corpus.load_tokenizer(broken)


# ------------------------------------------------------------------------------------------------- documents


def table_of(texts):
    return pd.DataFrame({"source": [f"s{i}" for i in range(len(texts))], "split": "heldout", "text": texts})


@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=8), context=st.integers(8, 20), batch=st.integers(1, 4))
def test_all_pieces_together_are_the_whole_text(tokenizer, texts, context, batch):
    whole = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    tokens, documents = corpus.encode(tokenizer, table_of(texts), context=context, pieces="all", batch=batch)
    assert tokens.ids.tolist() == [i for ids in whole for i in ids]
    assert tokens.offsets[0] == 0 and tokens.offsets[-1] == len(tokens.ids)
    assert (tokens.lengths == documents["n_tokens"]).all() and (tokens.lengths <= context).all()
    assert documents["document"].tolist() == list(range(tokens.n_documents))
    for source, part in documents.groupby("source", sort=False):
        ids = whole[int(source[1:])]
        assert part["start"].tolist() == list(range(0, max(len(ids), 1), context))
        for row in part.itertuples():
            assert tokens.document(row.document).tolist() == ids[row.start : row.start + context]


@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=8), context=st.integers(8, 20))
def test_first_pieces_are_one_document_a_text(tokenizer, texts, context):
    tokens, documents = corpus.encode(tokenizer, table_of(texts), context=context, pieces="first")
    assert documents["source"].tolist() == [f"s{i}" for i in range(len(texts))]
    for index, text in enumerate(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokens.document(index).tolist() == ids[:context]


def test_limits_keep_the_first_documents_or_spread_ones(tokenizer):
    table = table_of(TEXTS)
    _, every = corpus.encode(tokenizer, table, context=16, pieces="all")
    first, kept = corpus.encode(tokenizer, table, context=16, pieces="all", limit_documents=10, batch=2)
    assert len(kept) == first.n_documents == 10 and kept["source"].tolist() == every["source"].tolist()[:10]
    spread, kept = corpus.encode(tokenizer, table, context=16, pieces="all", limit_documents=10, spread=True)
    assert spread.n_documents == 10
    place = [every.index[(every["source"] == r.source) & (every["start"] == r.start)][0] for r in kept.itertuples()]
    assert place[0] == 0 and place[-1] == len(every) - 1 and np.ptp(np.diff(place)) <= 1
    some, _ = corpus.encode(tokenizer, table, context=16, pieces="all", limit_tokens=100, batch=1)
    assert 100 <= len(some.ids) < len(first.ids) + 200


def test_ids_are_stored_as_narrow_as_the_vocabulary_allows(tokenizer):
    tokens, _ = corpus.encode(tokenizer, table_of(["a"]), context=8, pieces="all")
    assert tokens.ids.dtype == np.uint16 and tokens.offsets.dtype == np.int64


@pytest.mark.parametrize(
    ("ids", "offsets"),
    [(10, [0, 4, 9]), (10, [0, 6, 4, 10]), (10, [1, 10]), (10, [0]), (9, [0, 4, 10])],
)
def test_tokens_that_disagree_with_their_offsets_are_refused(tmp_path, ids, offsets):
    np.save(tmp_path / "tokens.npy", np.zeros(ids, dtype=np.uint16))
    np.save(tmp_path / "offsets.npy", np.array(offsets, dtype=np.int64))
    with pytest.raises(QuantaError, match=r"tokens\.npy: \d+ tokens, while .*offsets\.npy runs"):
        corpus.load_tokens(tmp_path / "tokens.npy", tmp_path / "offsets.npy")
    np.save(tmp_path / "offsets.npy", np.array([0, 4, ids], dtype=np.int64))
    assert corpus.load_tokens(tmp_path / "tokens.npy", tmp_path / "offsets.npy").lengths.tolist() == [4, ids - 4]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The corpus stage from a JSON Lines file, by its scripts."""
    folder = tmp_path_factory.mktemp("corpus")
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in [*TEXTS, TEXTS[0]]))
    settings = {"source": "jsonl", "jsonl": {"path": str(path), "field": "body"}}
    settings |= {"minimum_characters": 5, "heldout_share": 0.3}
    script("texts")(
        names(manifest=[]),
        names(texts=folder / "texts.parquet", sources=folder / "sources.json", manifest=[], differences=[]),
        names(corpus=json.dumps(settings), versions="{}", containment=None, documents=None),
    )
    script("tokenizer")(
        names(texts=folder / "texts.parquet", model=[]),
        names(tokenizer=folder / "tokenizer/tokenizer.json", config=folder / "tokenizer/tokenizer_config.json"),
        names(vocabulary=300),
    )
    script("tokens")(
        names(texts=folder / "texts.parquet", tokenizer=folder / "tokenizer/tokenizer.json"),
        names(tokens=folder / "tokens.npy", offsets=folder / "offsets.npy", documents=folder / "documents.parquet"),
        names(split="heldout", context=16, pieces="all", documents=None, limit_tokens=None, take="first"),
    )
    return folder


def test_texts_load_with_datasets(made, tmp_path):
    import datasets

    found = datasets.load_dataset(
        "parquet", data_files=str(made / "texts.parquet"), split="train", cache_dir=str(tmp_path)
    )
    assert found.column_names == ["source", "split", "text", "subset"]
    assert found["text"] == TEXTS, "in the file's order, without the repeated one"
    assert set(found["split"]) == {"heldout", "training"}


def test_sources_say_what_was_read(made):
    found = json.loads((made / "sources.json").read_text())
    assert found["file"] == "texts.jsonl" and found["sha256"] == storage.file_hash(made / "texts.jsonl")
    table = pd.read_parquet(made / "texts.parquet")
    assert found["texts"] == table["split"].value_counts().to_dict()
    of_a_card = script("export").__globals__["_origin"]
    assert of_a_card(found) == f"texts.jsonl (SHA-256 {found['sha256'][:16]}…)"


def test_held_out_tokens_are_the_held_out_texts(made):
    table = pd.read_parquet(made / "texts.parquet")
    tokens = corpus.load_tokens(made / "tokens.npy", made / "offsets.npy")
    documents = pd.read_parquet(made / "documents.parquet")
    tokenizer = corpus.load_tokenizer(made / "tokenizer")
    held = table[table["split"] == "heldout"]
    assert tokenizer.decode(tokens.ids.tolist()) == "".join(held["text"])
    assert list(documents["source"].unique()) == held["source"].tolist()


def test_the_tokenizer_is_trained_without_the_held_out_texts(made):
    table = pd.read_parquet(made / "texts.parquet")
    training = table.loc[table["split"] == "training", "text"]
    assert corpus.load_tokenizer(made / "tokenizer").to_str() == corpus.train_tokenizer(training, 300).to_str()


def test_the_tokenizer_of_given_models_is_taken_as_it_is(folder, tmp_path):
    script("tokenizer")(
        names(texts="unused", model=[str(folder)]),
        names(tokenizer=tmp_path / "tokenizer.json", config=tmp_path / "tokenizer_config.json"),
        names(vocabulary=None),
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((folder / name).read_text())


# ------------------------------------------------------------------------------------------- members' tokenizers


def test_a_member_with_another_tokenizer_is_refused_and_the_first_difference_named(tmp_path):
    shared = corpus.train_tokenizer(["one two three four"] * 3, 300)
    other = corpus.train_tokenizer(["quite another text"] * 3, 300)
    assert shared.get_vocab_size() != other.get_vocab_size() or shared.get_vocab() != other.get_vocab()
    corpus.save_tokenizer(shared, tmp_path / "same")
    corpus.save_tokenizer(other, tmp_path / "other")
    assert corpus.check_tokenizer(tmp_path / "same", shared)
    assert not corpus.check_tokenizer(tmp_path / "none", shared), "a member without a tokenizer has nothing to compare"
    with pytest.raises(QuantaError, match=r"other.tokenizer\.json") as caught:
        corpus.check_tokenizer(tmp_path / "other", shared)
    first = next(i for i in range(300) if shared.id_to_token(i) != other.id_to_token(i))
    assert f"id {first} is {other.id_to_token(first)!r}" in caught.value.found


def test_tokenizers_that_differ_beside_the_vocabulary_are_refused_too(tmp_path):
    from tokenizers import normalizers

    shared, other = (corpus.train_tokenizer(["one two"], 300) for _ in range(2))
    other.normalizer = normalizers.Lowercase()
    corpus.save_tokenizer(other, tmp_path)
    with pytest.raises(QuantaError, match="another normalizer"):
        corpus.check_tokenizer(tmp_path, shared)
    longer = corpus.train_tokenizer(["one two"], 300)
    longer.add_tokens(["zz"])
    corpus.save_tokenizer(longer, tmp_path)
    with pytest.raises(QuantaError, match="another added_tokens"):
        corpus.check_tokenizer(tmp_path, shared)
