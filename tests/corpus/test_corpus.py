import json
import shutil
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.catalogue import composition, context_rules, contexts
from quanta.config import members as settings
from quanta.corpus import decoding, encoding, vocabulary
from quanta.errors import QuantaError
from quanta.storage import files as storage_files
from spellings import BEGINNINGS, KINDS, saved
from support import ANY_TEXT, ROOT, names, script, settled, tokens_of
from tokenizers import Tokenizer, models, pre_tokenizers

ANOTHER = "some words <|endoftext|> more of them, é\n"
TEXTS = [f"def f_{i}(x):\n    return x + {i}\n\n\nclass A{i}:\n    pass\n" for i in range(60)]


@pytest.fixture(scope="module")
def tokenizer():
    return vocabulary.train_tokenizer(TEXTS, 300)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    vocabulary.save_tokenizer(tokenizer, path)
    return path


# ------------------------------------------------------------------------------------------------- tokenizer


@given(text=ANY_TEXT)
def test_any_text_comes_back_from_its_tokens(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


@given(text=st.text(st.characters(max_codepoint=127, exclude_characters="\\"), max_size=80))
def test_texts_of_tokens_join_to_the_text(tokenizer, text):
    texts = decoding.Texts(tokenizer)
    assert "".join(texts.of(i) for i in tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_texts_of_single_bytes_special_tokens_and_padding(tokenizer):
    texts = decoding.Texts(tokenizer)
    euro = tokenizer.encode("€", add_special_tokens=False).ids
    assert [texts.of(i) for i in euro] == ["\\xe2", "\\x82", "\\xac"]
    assert texts.of(tokenizer.token_to_id(vocabulary.END_OF_TEXT)) == vocabulary.END_OF_TEXT
    assert texts.of(50_303) == "<50303>"
    assert texts.of(tokenizer.encode("\n", add_special_tokens=False).ids[0]) == "\n"


def test_training_is_deterministic_and_fills_the_vocabulary(tokenizer):
    assert tokenizer.get_vocab_size() == 300
    assert vocabulary.train_tokenizer(TEXTS, 300).to_str() == tokenizer.to_str()


@given(text=ANY_TEXT)
def test_transformers_loads_the_saved_tokenizer_and_gives_the_same_ids(tokenizer, loaded, text):
    ids = loaded(text, add_special_tokens=False)["input_ids"]
    assert ids == tokenizer.encode(text, add_special_tokens=False).ids
    assert loaded.eos_token == vocabulary.END_OF_TEXT


@pytest.fixture(scope="module")
def loaded(folder):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def test_a_damaged_tokenizer_is_named(folder, tmp_path):
    assert vocabulary.load_tokenizer(folder).get_vocab_size() == 300
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:-40])
    for broken in (tmp_path, tmp_path / "absent"):
        with pytest.raises(QuantaError, match=r"tokenizer\.json"):
            vocabulary.load_tokenizer(broken)


def altered(folder, target, change):
    """A copy of the tokenizer of one folder in another, with its file changed as plain data."""
    content = json.loads((folder / "tokenizer.json").read_text())
    change(content)
    target.mkdir(parents=True)
    (target / "tokenizer.json").write_text(json.dumps(content))
    return target


def swap(content):
    vocabulary = content["model"]["vocab"]
    vocabulary["Ġ"], vocabulary["a"] = vocabulary["a"], vocabulary["Ġ"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swap, "model.vocab.a is "),
        (lambda content: content["model"]["merges"].reverse(), "model.merges.0."),
        (lambda content: content.update(normalizer={"type": "Lowercase"}), "normalizer is absent in the one and"),
        (lambda content: content["pre_tokenizer"].update(add_prefix_space=True), "pre_tokenizer.add_prefix_space is false"),
        (lambda content: content["added_tokens"].append(content["added_tokens"][0] | {"id": 300, "content": "<x>"}),
         "added_tokens.1 is absent"),
    ],
)  # fmt: skip
def test_models_of_several_tokenizers_are_refused_with_the_first_difference(folder, tmp_path, change, words):
    """Of one size, so that every id has an embedding: the losses would look plausible."""
    one, other = altered(folder, tmp_path / "small/step0", lambda content: None), tmp_path / "large/step0"
    altered(folder, other, change)
    with pytest.raises(QuantaError) as caught:
        vocabulary.check_alike([one, other])
    assert caught.value.where == f"{one} and {other}" and words in caught.value.found
    with pytest.raises(QuantaError):
        script("models/tokenizers")(names(folders=[one, other]), names(compared=tmp_path / "made.json"), names())
    assert not (tmp_path / "made.json").exists()


def pad(content):
    content["padding"] = {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                          "pad_type_id": 0, "pad_token": vocabulary.END_OF_TEXT}  # fmt: skip


def cut(content):
    content["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}


def pairs_as_text(content):
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]


@pytest.mark.parametrize(
    "change",
    [pad, cut, pairs_as_text, lambda content: content.update(post_processor=None, decoder=None),
     lambda content: content["added_tokens"][0].update(special=False)],
)  # fmt: skip
def test_what_changes_no_id_makes_no_other_tokenizer(folder, tmp_path, change):
    one, other = folder, altered(folder, tmp_path / "large", change)
    assert vocabulary.check_alike([one, other]) == []
    texts = [TEXTS[0], "a", ANOTHER]
    ours, theirs = (
        vocabulary.load_tokenizer(place).encode_batch(texts, add_special_tokens=False) for place in (one, other)
    )
    assert [encoding.ids for encoding in ours] == [encoding.ids for encoding in theirs]


def test_models_without_a_tokenizer_are_named_once_in_the_log(folder, tmp_path, caplog):
    bare = [tmp_path / "a", tmp_path / "b"]
    for path in bare:
        path.mkdir()
    script("models/tokenizers")(
        names(folders=[*bare, folder]), names(compared=tmp_path / "made.json"), names(named='[["a"], ["b"], ["c"]]')
    )
    assert json.loads((tmp_path / "made.json").read_text()) == {
        "chat": [],
        "compared": 1,
        "without": [str(path) for path in bare],
    }
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert str(bare[0]) in warning and str(bare[1]) in warning


# ------------------------------------------------------------------------------------------------- documents


def table_of(texts):
    return pd.DataFrame({"source": [f"s{i}" for i in range(len(texts))], "split": "heldout", "text": texts})


@given(texts=st.lists(ANY_TEXT, min_size=1, max_size=8), context=st.integers(8, 20), batch=st.integers(1, 4))
def test_all_pieces_together_are_the_whole_text(tokenizer, texts, context, batch):
    whole = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    tokens, documents = encoding.encode(tokenizer, table_of(texts), context=context, pieces="all", batch=batch)
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
    tokens, documents = encoding.encode(tokenizer, table_of(texts), context=context, pieces="first")
    assert documents["source"].tolist() == [f"s{i}" for i in range(len(texts))]
    for index, text in enumerate(texts):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokens.document(index).tolist() == ids[:context]


def test_limits_keep_the_first_documents_or_spread_ones(tokenizer):
    table = table_of(TEXTS)
    _, every = encoding.encode(tokenizer, table, context=16, pieces="all")
    first, kept = encoding.encode(tokenizer, table, context=16, pieces="all", limit_documents=10, batch=2)
    assert len(kept) == first.n_documents == 10 and kept["source"].tolist() == every["source"].tolist()[:10]
    spread, kept = encoding.encode(tokenizer, table, context=16, pieces="all", limit_documents=10, spread=True)
    assert spread.n_documents == 10
    place = [every.index[(every["source"] == r.source) & (every["start"] == r.start)][0] for r in kept.itertuples()]
    assert place[0] == 0 and place[-1] == len(every) - 1 and np.ptp(np.diff(place)) <= 1
    some, _ = encoding.encode(tokenizer, table, context=16, pieces="all", limit_tokens=100, batch=1)
    assert 100 <= len(some.ids) < len(first.ids) + 200


def test_ids_are_stored_as_narrow_as_the_vocabulary_allows(tokenizer):
    tokens, _ = encoding.encode(tokenizer, table_of(["a"]), context=8, pieces="all")
    assert tokens.ids.dtype == np.uint16 and tokens.offsets.dtype == np.int64


@pytest.mark.parametrize(
    ("ids", "offsets"),
    [(10, [0, 4, 9]), (10, [0, 6, 4, 10]), (10, [1, 10]), (10, [0]), (9, [0, 4, 10])],
)
def test_tokens_that_disagree_with_their_offsets_are_refused(tmp_path, ids, offsets):
    np.save(tmp_path / "tokens.npy", np.zeros(ids, dtype=np.uint16))
    np.save(tmp_path / "offsets.npy", np.array(offsets, dtype=np.int64))
    with pytest.raises(QuantaError, match=r"tokens\.npy: \d+ tokens, while .*offsets\.npy runs"):
        encoding.load_tokens(tmp_path / "tokens.npy", tmp_path / "offsets.npy")
    np.save(tmp_path / "offsets.npy", np.array([0, 4, ids], dtype=np.int64))
    assert encoding.load_tokens(tmp_path / "tokens.npy", tmp_path / "offsets.npy").lengths.tolist() == [4, ids - 4]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The corpus stage from a JSON Lines file, by its scripts."""
    folder = tmp_path_factory.mktemp("corpus")
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps({"body": text}) + "\n" for text in [*TEXTS, TEXTS[0]]))
    settings = {"source": "jsonl", "jsonl": {"path": str(path), "field": "body"}}
    settings |= {"minimum_characters": 5, "heldout_share": 0.3}
    script("corpus/texts")(
        names(manifest=[]),
        names(texts=folder / "texts.parquet", sources=folder / "sources.json", manifest=[], differences=[]),
        names(corpus=json.dumps(settings), versions="{}", containment=None, documents=None),
    )
    script("corpus/tokenizer")(
        names(texts=folder / "texts.parquet", model=[]),
        names(tokenizer=folder / "tokenizer/tokenizer.json", config=folder / "tokenizer/tokenizer_config.json"),
        names(vocabulary=300),
    )
    script("corpus/tokens")(
        names(texts=folder / "texts.parquet", tokenizer=folder / "tokenizer/tokenizer.json"),
        names(tokens=folder / "tokens.npy", offsets=folder / "offsets.npy", documents=folder / "documents.parquet"),
        names(
            split="heldout",
            context=16,
            pieces="all",
            documents=None,
            limit_tokens=None,
            take="first",
            special_tokens="text",
        ),
    )
    return folder


def test_the_first_documents_are_taken_of_the_held_out_ones(tmp_path):
    """And they are those that all texts would give."""
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    settings = {"source": "jsonl", "jsonl": {"path": str(path), "field": "text"}, "minimum_characters": 5}

    def held_out(documents):
        folder = tmp_path / str(documents)
        script("corpus/texts")(
            names(manifest=[]),
            names(texts=folder / "texts.parquet", sources=folder / "sources.json", manifest=[], differences=[]),
            names(corpus=json.dumps(settings | {"heldout_share": 0.2}), versions="{}", containment=None, documents=documents),
        )  # fmt: skip
        table = pd.read_parquet(folder / "texts.parquet")
        return table.loc[table["split"] == "heldout", "source"].tolist()

    assert held_out(4) == held_out(None)[:4]


def test_texts_that_are_trained_on_are_not_cut_by_the_number_of_those_that_are_not():
    first = {"take": "first", "documents": 10}
    given = {"source": "hub", "hub": {"members": [{"name": n, "repository": n} for n in "ab"], "final_step": 1}}
    others = {"models": given, "dynamics": {"model": None}, "qdg": {"model": "a"}}
    assert settings.texts_needed(settled(corpus=first)) is None
    assert settings.texts_needed(settled(corpus=first, **others)) == 10
    assert settings.texts_needed(settled(corpus=first | {"take": "spread"}, **others)) is None


def test_texts_of_a_data_set_are_read_as_its_pin_says(tmp_path):
    """Which is an input of its own: another pin makes the corpus anew."""
    for name in ("a", "b"):
        (tmp_path / f"fetched/{name}.jsonl").parent.mkdir(exist_ok=True)
        (tmp_path / f"fetched/{name}.jsonl").write_text(json.dumps({"text": name}) + "\n")
    files = [{"path": f"{name}.jsonl"} for name in "ba"]
    pin = {"repository": "x/y", "revision": "main", "commit": "c" * 40, "files": files}
    storage_files.write_json(tmp_path / "elsewhere.json", pin)
    settings = {"source": "hub", "jsonl": {"field": "text"}, "minimum_characters": 0, "heldout_share": 1}
    script("corpus/texts")(
        names(manifest=[], file=tmp_path / "fetched", pin=tmp_path / "elsewhere.json"),
        names(texts=tmp_path / "t.parquet", sources=tmp_path / "sources.json", manifest=[], differences=[]),
        names(corpus=json.dumps(settings), versions="{}", containment=None, documents=None),
    )
    assert pd.read_parquet(tmp_path / "t.parquet")["text"].tolist() == ["b", "a"]
    assert json.loads((tmp_path / "sources.json").read_text())["files"] == files


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
    assert found["file"] == "texts.jsonl" and found["sha256"] == storage_files.file_hash(made / "texts.jsonl")
    table = pd.read_parquet(made / "texts.parquet")
    assert found["texts"] == table["split"].value_counts().to_dict()
    of_a_card = script("models/export").__globals__["_origin"]
    assert of_a_card(found) == f"texts.jsonl (SHA-256 {found['sha256'][:16]}…)"


def test_held_out_tokens_are_the_held_out_texts(made):
    table = pd.read_parquet(made / "texts.parquet")
    tokens = encoding.load_tokens(made / "tokens.npy", made / "offsets.npy")
    documents = pd.read_parquet(made / "documents.parquet")
    tokenizer = vocabulary.load_tokenizer(made / "tokenizer")
    held = table[table["split"] == "heldout"]
    assert tokenizer.decode(tokens.ids.tolist()) == "".join(held["text"])
    assert list(documents["source"].unique()) == held["source"].tolist()


def test_the_tokenizer_is_trained_without_the_held_out_texts(made):
    table = pd.read_parquet(made / "texts.parquet")
    training = table.loc[table["split"] == "training", "text"]
    assert vocabulary.load_tokenizer(made / "tokenizer").to_str() == vocabulary.train_tokenizer(training, 300).to_str()


def test_the_tokenizer_of_given_models_is_taken_as_it_is(folder, tmp_path):
    script("corpus/tokenizer")(
        names(texts="unused", model=[str(folder)]),
        names(tokenizer=tmp_path / "tokenizer.json", config=tmp_path / "tokenizer_config.json"),
        names(vocabulary=None),
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert json.loads((tmp_path / name).read_text()) == json.loads((folder / name).read_text())


# ------------------------------------------------------------------------- beginnings and special tokens


@pytest.mark.parametrize("kind", KINDS)
def test_a_beginning_is_what_a_call_of_the_tokenizer_puts_there(kind, tmp_path):
    folder = saved(tmp_path, kind)
    assert vocabulary.beginning_of(folder, "auto")[0] == BEGINNINGS[kind]
    assert vocabulary.beginning_of(folder, "never")[0] == []


@pytest.mark.parametrize(
    ("name", "kind", "ids"),
    [
        ("LlamaTokenizer", "metaspace", [1]),
        ("GemmaTokenizer", "byte_fallback", [1]),
        ("BertTokenizer", "wordpiece", [1]),
        ("GPTNeoXTokenizerFast", "byte_level", []),
        ("GPT2Tokenizer", "byte_level", []),
        ("Qwen2Tokenizer", "byte_level", []),
    ],
)
def test_a_beginning_is_that_of_the_class_that_a_model_names(name, kind, ids, tmp_path):
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} if ids else {"bos_token": "<|endoftext|>"}
    folder = saved(tmp_path, kind, tokenizer_class=name, **({} if kind == "wordpiece" else special))
    assert vocabulary.beginning_of(folder, "auto")[0] == ids


def test_the_embedded_family_has_nothing_before_a_text(tmp_path):
    for file in [
        *(ROOT / "resources/family/tokenizer").glob("*.json"),
        ROOT / "resources/family/neox-7k/step8192/config.json",
    ]:
        shutil.copy(file, tmp_path)
    assert vocabulary.beginning_of(tmp_path, "auto")[0] == []


def test_always_takes_the_token_that_the_tokenizer_names(tmp_path):
    folder = saved(tmp_path / "named", "byte_level", bos_token="<|endoftext|>")
    assert vocabulary.beginning_of(folder, "auto")[0] == []
    assert vocabulary.beginning_of(folder, "always")[0] == [0]
    with pytest.raises(QuantaError, match="names no beginning-of-text token"):
        vocabulary.beginning_of(saved(tmp_path / "unnamed", "byte_level"), "always")
    assert vocabulary.beginning_of(saved(tmp_path / "by itself", "metaspace"), "always")[0] == [1]


def test_the_script_writes_the_beginning_that_models_read(tmp_path):
    folder, output = saved(tmp_path / "model", "metaspace"), tmp_path / "beginning.json"
    script("corpus/beginning")(names(model=folder), names(beginning=output), names(beginning="auto"))
    assert json.loads(output.read_text()) == {
        "ids": [1], "tokens": ["<s>"], "why": "a call of the tokenizer puts it there"
    }  # fmt: skip
    np.save(tmp_path / "tokens.npy", np.array([5, 6, 7], np.uint16))
    np.save(tmp_path / "offsets.npy", np.array([0, 3]))
    paths = tmp_path / "tokens.npy", tmp_path / "offsets.npy"
    assert encoding.load_tokens(*paths, output).beginning == (1,)
    assert encoding.load_tokens(*paths).beginning == ()
    script("corpus/beginning")(names(model=[]), names(beginning=output), names(beginning="auto"))
    assert json.loads(output.read_text())["ids"] == [], "models that are trained here"


@pytest.mark.parametrize(
    ("kind", "special"),
    [("byte_level", "<|endoftext|>"), ("metaspace", "</s>"), ("wordpiece", "[SEP]"), ("unigram", "</s>")],
)
def test_a_special_token_spelled_in_a_text_is_text_unless_it_is_parsed(kind, special):
    tokenizer = KINDS[kind]()
    number, text = tokenizer.token_to_id(special), f"the cat{special}the mat"
    plain, _ = encoding.encode(tokenizer, table_of([text]), context=99, pieces="all")
    parsed, _ = encoding.encode(tokenizer, table_of([text]), context=99, pieces="all", parse_special=True)
    assert number not in plain.ids and number in parsed.ids
    again, _ = encoding.encode(tokenizer, table_of([text]), context=99, pieces="all")
    assert (again.ids == plain.ids).all(), "the tokenizer is not left changed"


def test_without_special_tokens_the_switch_alters_nothing(tokenizer):
    one, other = (
        encoding.encode(tokenizer, table_of(TEXTS), context=16, pieces="all", parse_special=parse)[0]
        for parse in (False, True)
    )
    assert one.ids.tobytes() == other.ids.tobytes() and one.offsets.tobytes() == other.offsets.tobytes()


# ---------------------------------------------------------------------------------- tokens as people read them

SHOWN = {
    "byte_level": ["the", " cat", " sat", ",", " ", "walking", "\n", "x", "\\xc3", "\\xa9"],
    "metaspace": [" the", " cat", " ", "s", "a", "t", ",", " ", "w", "a", "l", "k", "ing", "\n", "x", "\\xc3", "\\xa9"],
    "byte_fallback": ["t", "h", "e", " cat", " ", "s", "a", "t", ",", " ", "w", "a", "l", "k", "ing", "\n", "x", "\\xc3", "\\xa9"],
    "wordpiece": [" the", " cat", " sat", ",", " walking", "[UNK]"],
    "unigram": [" the", " cat", " ", "s", "a", "t", ",", " ", "walk", "ing", "\n", "x", "<unk>"],
    "word_ends": ["the ", "cat ", "sat ", ", ", "walking ", "x", "<unk>"],
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_shown_as_people_read_them(kind):
    tokenizer = KINDS[kind]()
    texts = decoding.Texts(tokenizer)
    ids = tokenizer.encode("the cat sat, walking\nxé", add_special_tokens=False).ids
    assert [texts.of(i) for i in ids] == SHOWN[kind]


@pytest.mark.parametrize("kind", KINDS)
@given(
    words=st.lists(
        st.sampled_from(["the", "cat", "walking", "and", "talking", "on", ",", "."]), min_size=1, max_size=12
    )
)
def test_strings_of_tokens_join_to_the_text_of_every_kind(kind, words):
    """As the tokenizer's own decoder joins them, but for blanks at the ends and before punctuation."""
    tokenizer = kind_of(kind)
    texts, ids = decoding.Texts(tokenizer), tokenizer.encode(" ".join(words), add_special_tokens=False).ids
    shown = "".join(texts.of(i) for i in ids)
    if kind in ("byte_level", "byte_fallback"):
        assert shown == " ".join(words)
    plain = [text.strip().replace(" .", ".").replace(" ,", ",") for text in (shown, tokenizer.decode(ids))]
    assert plain[0] == plain[1]


@cache
def kind_of(kind):
    return KINDS[kind]()


def test_pieces_within_words_and_runs_of_blanks_have_no_marks():
    """Of WordPiece, of word ends, and of added tokens that stand for several blanks."""
    pieces = kind_of("wordpiece")
    inner = [word for word in pieces.get_vocab() if word.startswith("##")]
    assert {decoding.Texts(pieces).of(pieces.token_to_id(word)) for word in inner} == {word[2:] for word in inner}
    blanks = kind_of("byte_fallback")
    shown = [decoding.Texts(blanks).of(i) for i in blanks.encode("a    b", add_special_tokens=False).ids]
    assert shown == ["a", "    ", "b"]


@pytest.mark.parametrize("kind", ["byte_level", "metaspace", "byte_fallback"])
def test_parts_of_a_character_are_bytes_and_whole_where_all_of_them_are_shown(kind):
    """In contexts of the page; a target that is part of a character is its bytes in hexadecimal."""
    tokenizer = kind_of(kind)
    texts, ids = decoding.Texts(tokenizer), tokenizer.encode("x€é", add_special_tokens=False).ids
    single = ["\\xe2", "\\x82", "\\xac", "\\xc3", "\\xa9"]
    assert [texts.of(i) for i in ids][-5:] == single
    assert texts.joined(ids).lstrip() == "x€é"
    assert texts.joined(ids[:-1]).endswith("x€\\xc3") and texts.joined(ids[-3:]) == "\\xacé"
    found = contexts.context(tokens_of([ids]), texts, 0, len(ids) - 1)
    assert found["before"].endswith("x€\\xc3") and found["target"] == "\\xa9" and found["after"] == ""


def test_descriptions_show_parts_of_a_character_as_bytes():
    tokenizer = kind_of("byte_level")
    ids = tokenizer.encode("xé xé xé xé", add_special_tokens=False).ids
    tokens, last = tokens_of([ids]), [i for i, token in enumerate(ids) if token == ids[2]]
    places = pd.DataFrame({"document": 0, "position": last})
    labels = pd.DataFrame({"n_clusters": 1, "token": range(len(last)), "label": 0})
    selection = places.assign(token=range(len(last)), token_id=ids[2], loss_nats=0.01)
    texts = decoding.Texts(tokenizer)
    rules = context_rules.conditions(selection, tokens, texts).names
    assert {"the target is ‘\\xa9’", "the token before it is ‘\\xc3’"} <= set(rules)
    documents = pd.DataFrame({"document": [0], "source": ["a"]})
    assert composition.content(labels, selection, documents, texts)["target"].tolist() == ["\\xa9"]


def test_a_tokenizer_without_a_decoder_is_read_by_its_other_parts():
    """As files that were converted by hand are."""
    for kind, expected in (("byte_level", " cat"), ("unigram", " cat"), ("wordpiece", " cat"), ("word_ends", "cat ")):
        whole = json.loads(kind_of(kind).to_str()) | {"decoder": None}
        bare = Tokenizer.from_str(json.dumps(whole))
        ids = bare.encode("the cat", add_special_tokens=False).ids
        assert decoding.Texts(bare).of(ids[1]) == expected, kind
    words = Tokenizer(models.WordLevel({"the": 0, "cat": 1, ".": 2}, unk_token="the"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    assert [decoding.Texts(words).of(i) for i in range(3)] == [" the", " cat", "."]
