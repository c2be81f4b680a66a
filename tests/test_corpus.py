import gzip
import json
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from quanta import corpus, storage
from quanta.errors import QuantaError
from support import names, script

TEXTS = [f"def f_{i}(x):\n    return x + {i}\n\n\nclass A{i}:\n    pass\n" for i in range(60)]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)  # all but lone surrogates, which are no UTF-8


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


# --------------------------------------------------------------------------------------------------- sources


@given(share=st.floats(0.01, 0.99), source=st.text(min_size=1, max_size=20), texts=st.tuples(ANY_TEXT, ANY_TEXT))
def test_the_split_depends_on_the_source_alone(share, source, texts):
    documents = [corpus.Document(source, text) for text in texts]
    table = pd.concat([one_document(d, share) for d in documents])
    assert table["split"].nunique() == 1
    assert table["split"].iloc[0] == corpus.split_of(source, share)
    if corpus.split_of(source, share) == "heldout":
        assert corpus.split_of(source, min(share * 1.5, 1)) == "heldout", "a larger share keeps what was held out"


def one_document(document, share):
    split = corpus.split_of(document.source, share)
    others = (corpus.Document(f"other-{i}", "x") for i in range(10_000))
    other = next(d for d in others if corpus.split_of(d.source, share) != split)
    return corpus.documents_table([document, other], share).iloc[:1]


def test_the_share_that_is_held_out_is_the_one_asked_for():
    held = [corpus.split_of(f"numpy/file{i}.py", 0.2) == "heldout" for i in range(5000)]
    assert abs(np.mean(held) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 5000)


def test_a_corpus_without_a_document_for_a_split_is_refused():
    with pytest.raises(QuantaError, match="none of them for the split 'heldout'"):
        corpus.documents_table([], 0.5)
    whole = corpus.documents_table([corpus.Document("a", "text")], 1)
    assert whole["split"].tolist() == ["heldout"]


def test_short_and_repeated_documents_are_left_out():
    given_texts = ["aaaa", "bb", "aaaa", "cccc", "cccc ", "cccc", "\ud800aaa"]
    found = corpus.distinct([corpus.Document(str(i), text) for i, text in enumerate(given_texts)], 3)
    assert [d.source for d in found] == ["0", "3", "4", "6"]


OPENERS = {
    "plain.jsonl": lambda path: path.open("wb"),
    "packed.jsonl.gz": lambda path: gzip.GzipFile(path, "wb"),
    "packed.jsonl.zst": lambda path: zstandard.open(path, "wb"),
}


@pytest.mark.parametrize("name", OPENERS)
def test_json_lines_are_read_plain_and_compressed(tmp_path, name):
    texts = ["one", "two\nlines", "€ and\u2028separators", ""]
    with OPENERS[name](tmp_path / name) as stream:
        stream.write("".join(json.dumps({"text": t, "meta": {}}, ensure_ascii=False) + "\n" for t in texts).encode())
    found = list(corpus.jsonl_documents(tmp_path / name, "text"))
    assert [d.text for d in found] == texts
    assert [d.source for d in found] == [f"{name}:{i}" for i in range(1, 5)]
    assert len(list(corpus.jsonl_documents(tmp_path / name, "text", limit=2))) == 2


@pytest.mark.parametrize(
    "line", ["", "{", "[1]", '"text"', '{"content": "x"}', '{"text": 3}', '{"text": null}', '{"text": "x"']
)
def test_a_bad_line_is_named_with_its_number(tmp_path, line):
    path = tmp_path / "texts.jsonl"
    path.write_text(f'{{"text": "fine"}}\n{{"text": "fine too"}}\n{line}\n')
    with pytest.raises(QuantaError, match=r"texts\.jsonl, line 3") as caught:
        list(corpus.jsonl_documents(path, "text"))
    assert "corpus.jsonl.field" in caught.value.mend and "'text'" in caught.value.expected


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "cut.jsonl.zst", "latin.jsonl"])
def test_a_file_that_ends_early_or_is_no_utf8_is_named(tmp_path, name):
    path = tmp_path / name
    if name == "latin.jsonl":
        path.write_bytes(b'{"text": "caf\xe9"}\n')
    else:
        rng = np.random.default_rng(0)
        with OPENERS["packed.jsonl" + path.suffix](path) as stream:
            for _ in range(300):
                stream.write(json.dumps({"text": rng.bytes(200).hex()}).encode() + b"\n")
        path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(QuantaError, match=f"{name}, after line") as caught:
        list(corpus.jsonl_documents(path, "text"))
    assert "fetch the file again" in caught.value.mend


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_all_frames_of_a_compressed_file_are_read(tmp_path, suffix):
    """Large files are often written in frames, by several threads or by appending."""
    line = [json.dumps({"text": f"{i} " * 400}).encode() + b"\n" for i in range(2000)]
    pack = gzip.compress if suffix == "gz" else zstandard.ZstdCompressor().compress
    path = tmp_path / f"frames.jsonl.{suffix}"
    path.write_bytes(b"".join(pack(b"".join(line[i : i + 7])) for i in range(0, 2000, 7)))
    found = [d.text for d in corpus.jsonl_documents(path, "text")]
    assert found == [f"{i} " * 400 for i in range(2000)]


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(QuantaError, match=r"absent\.jsonl is not a file"):
        list(corpus.jsonl_documents(tmp_path / "absent.jsonl", "text"))


def test_python_sources_are_the_files_of_a_distribution_in_an_order_free_of_content():
    documents = list(corpus.python_sources([metadata.distribution("threadpoolctl")]))
    assert [d.source for d in documents] == ["threadpoolctl/threadpoolctl.py"]
    many = [d.source for d in corpus.python_sources([metadata.distribution("networkx")])]
    assert len(many) > 300 and len(set(many)) == len(many) and many != sorted(many)
    assert all(source.startswith("networkx/networkx/") and source.endswith(".py") for source in many)
    mixed = corpus.python_sources([metadata.distribution("threadpoolctl"), metadata.distribution("networkx")])
    assert [d.source for d in mixed if d.source.startswith("networkx")] == many


# -------------------------------------------------------------------------------------------------- manifest


FILES = {f"{name}/{i}.py": f"# {name}, file {i}\n" + "x = 1\n" * i for name in ("one", "two") for i in range(40)}
VERSIONS = {"one": "1.0", "two": "2.0+cpu"}


def of_files(files):
    return [corpus.Document(source, text) for source, text in files.items()]


@pytest.fixture(scope="module")
def trained():
    """The corpus that models were trained on, and its manifest."""
    table = corpus.documents_table(of_files(FILES), 0.3)
    return table.set_index("source"), corpus.manifest(table, VERSIONS)


def test_a_manifest_comes_back_from_its_file(trained, tmp_path):
    # digits alone, an exponent, a version that looks like a number: text all the same
    manifest = trained[1].copy()
    manifest.loc[0, "sha256"], manifest.loc[1, "sha256"] = "0000000000000012", "12345678901234e5"
    storage.write_table(tmp_path / "manifest.csv", manifest)
    found = corpus.read_manifest(tmp_path / "manifest.csv")
    pd.testing.assert_frame_equal(found, manifest, check_dtype=False)
    assert found["source"].is_monotonic_increasing and found["characters"].sum() == sum(map(len, FILES.values()))
    assert set(found["version"]) == set(VERSIONS.values())


@pytest.mark.parametrize(("old", "new"), [("training", "taining"), ("heldout", "training"), ("one/1.py", "one/0.py")])
def test_a_damaged_manifest_is_refused(trained, tmp_path, old, new):
    path = tmp_path / "manifest.csv"
    storage.write_table(path, trained[1])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(QuantaError, match="fetch the file anew"):
        corpus.read_manifest(path)


def test_the_same_files_have_the_split_of_the_manifest(trained, caplog):
    table, manifest = trained
    found, different = corpus.agree(of_files(FILES), manifest, VERSIONS, 1)
    pd.testing.assert_frame_equal(found.set_index("source"), table)
    assert different.empty and not [r for r in caplog.records if r.levelname == "WARNING"]
    swapped = manifest.assign(split=manifest["split"].map({"heldout": "training", "training": "heldout"}))
    found, _ = corpus.agree(of_files(FILES), swapped, VERSIONS, 1)
    assert (found.set_index("source")["split"] != table["split"]).all(), "no hash but the manifest decides"


@given(data=st.data())
def test_no_text_is_held_out_that_the_manifest_does_not_hold_out(trained, data):
    table, manifest = trained
    sources = st.sampled_from([*FILES, "one/new.py", "three/new.py"])
    texts = st.sampled_from([*FILES.values(), "changed", "new"])
    files = FILES | data.draw(st.dictionaries(sources, texts, max_size=20))
    for gone in data.draw(st.lists(st.sampled_from(list(FILES)), max_size=20)):
        files.pop(gone, None)
    found, different = corpus.agree(of_files(files), manifest, VERSIONS, 0.01)
    assert found["source"].tolist() == [source for source in files if files[source] == FILES.get(source)]
    assert found["split"].tolist() == table.loc[found["source"], "split"].tolist()
    known = set(FILES.values())
    expected = {source: "absent" for source in FILES if source not in files}
    expected |= {source: "changed" for source in FILES if source in files and files[source] != FILES[source]}
    expected |= {source: "new" for source in files if source not in FILES and files[source] not in known}
    assert dict(different.to_numpy().tolist()) == expected and different["source"].is_monotonic_increasing


def test_each_distribution_that_differs_is_named_once_with_its_first_files(trained, caplog):
    files = {source: text for source, text in FILES.items() if source.startswith("one")}
    files |= {f"one/{i}.py": "changed" for i in range(5)} | {"one/more.py": "new"}
    corpus.agree(of_files(files), trained[1], {"one": "1.1"}, 0.01)
    one, two = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert one == (
        "one (1.0; here: 1.1): left out are 5 changed (one/0.py, one/1.py, one/2.py, …), 1 new (one/more.py)"
    )
    assert two.startswith(
        "two (2.0+cpu; here: not in this one): left out are 40 absent (two/0.py, two/1.py, two/10.py, …)"
    )


def test_too_little_agreement_is_refused_with_the_versions_that_mend_it(trained):
    table, manifest = trained
    held = table.loc[table["split"] == "heldout", "text"].str.len()
    one = held[held.index.str.startswith("one")].sum() / held.sum()
    files = {source: text for source, text in FILES.items() if source.startswith("one")}
    found, _ = corpus.agree(of_files(files), manifest, {"one": "1.0"}, one)
    assert (found["split"] == "heldout").any()
    with pytest.raises(QuantaError) as caught:
        corpus.agree(of_files(files), manifest, {"one": "1.0"}, one + 0.001)
    assert caught.value.mend == "pip install two==2.0" and "corpus.minimum_agreement" in caught.value.expected
    training = {source: text for source, text in FILES.items() if table["split"][source] == "training"}
    with pytest.raises(QuantaError, match="0 of the"):
        corpus.agree(of_files(training), manifest, VERSIONS, 0.0)


def test_a_run_goes_on_where_a_distribution_of_the_manifest_is_missing(tmp_path):
    settings = {"source": "python", "minimum_characters": 500, "heldout_share": 0.2}
    settings["python"] = {"distributions": ["threadpoolctl", "networkx"]}
    versions = {name: metadata.version(name) for name in ("threadpoolctl", "networkx")}

    def texts(folder, manifest, settings, versions):
        made = names(texts=tmp_path / folder / "texts.parquet", sources=tmp_path / folder / "sources.json",
                     manifest=[] if manifest else tmp_path / folder / "manifest.csv",
                     differences=tmp_path / folder / "differences.csv" if manifest else [])  # fmt: skip
        params = names(corpus=json.dumps(settings), versions=json.dumps(versions), containment=0.5, documents=None,
                       minimum_agreement=0.5)  # fmt: skip
        script("texts")(names(manifest=manifest), made, params)
        return pd.read_parquet(tmp_path / folder / "texts.parquet")

    table = texts("there", [], settings, versions)
    path = tmp_path / "there/manifest.csv"
    pd.testing.assert_frame_equal(texts("same", str(path), settings, versions), table)
    assert storage.read_table(tmp_path / "same/differences.csv").empty
    row = path.read_text().splitlines()[-1].replace("threadpoolctl", "no-such-package")
    path.write_text(path.read_text() + row + "\n")
    settings["python"]["distributions"].append("no-such-package")
    again = texts("here", str(path), settings, versions | {"no-such-package": "not installed"})
    pd.testing.assert_frame_equal(again, table)
    differences = storage.read_table(tmp_path / "here/differences.csv")
    assert differences.to_numpy().tolist() == [[row.split(",")[0], "absent"]]


# --------------------------------------------------------------------------------------------------- scripts


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


# --------------------------------------------------------------------------------------- parts, Parquet, repeats


def test_the_part_of_the_corpus_is_kept_from_the_line_to_the_table(tmp_path):
    path = tmp_path / "pile.jsonl"
    rows = [{"text": f"text {i}", "meta": {"pile_set_name": name}} for i, name in enumerate(["Github", "ArXiv"])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(corpus.documents_of(path, "text", subset="meta.pile_set_name"))
    assert [d.subset for d in found] == ["Github", "ArXiv"]
    table = corpus.documents_table(found, 1)
    _, documents = corpus.encode(corpus.train_tokenizer(["text 0 1"], 300), table, context=3, pieces="all")
    assert documents.groupby("source")["subset"].unique().map(list).tolist() == [["Github"], ["ArXiv"]]
    with pytest.raises(QuantaError, match=r"None under 'meta\.source'") as caught:
        list(corpus.documents_of(path, "text", subset="meta.source"))
    assert "line 1" in caught.value.where and "corpus.jsonl.subset" in caught.value.mend


def test_parquet_is_read_as_json_lines_are(tmp_path):
    import pandas as pd

    path = tmp_path / "part.parquet"
    pd.DataFrame({"text": ["a", "b"], "set": ["x", "y"], "other": [1, 2]}).to_parquet(path)
    found = list(corpus.documents_of(path, "text", subset="set"))
    assert [(d.source, d.text, d.subset) for d in found] == [("part.parquet:1", "a", "x"), ("part.parquet:2", "b", "y")]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(QuantaError, match=r"part\.parquet: "):
        list(corpus.documents_of(path, "text"))


def test_repeated_documents_are_kept_on_demand():
    documents = [corpus.Document(str(i), text) for i, text in enumerate(["a", "", "a", "b"])]
    assert [d.source for d in corpus.distinct(documents, 0)] == ["0", "1", "3"]
    assert [d.source for d in corpus.distinct(documents, 0, repeated=True)] == ["0", "1", "2", "3"]
