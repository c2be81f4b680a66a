import gzip
import json
import lzma
from importlib import metadata

import numpy as np
import pandas as pd
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from quanta.config.plan import Plan
from quanta.corpus import encoding, readers, splitting, vocabulary
from quanta.errors import QuantaError
from support import ANY_TEXT, names, script, settled


@given(share=st.floats(0.01, 0.99), source=st.text(min_size=1, max_size=20), texts=st.tuples(ANY_TEXT, ANY_TEXT))
def test_the_split_depends_on_the_source_alone(share, source, texts):
    documents = [splitting.Document(source, text) for text in texts]
    table = pd.concat([one_document(d, share) for d in documents])
    assert table["split"].nunique() == 1
    assert table["split"].iloc[0] == splitting.split_of(source, share)
    if splitting.split_of(source, share) == "heldout":
        assert splitting.split_of(source, min(share * 1.5, 1)) == "heldout", "a larger share keeps what was held out"


def one_document(document, share):
    split = splitting.split_of(document.source, share)
    others = (splitting.Document(f"other-{i}", "x") for i in range(10_000))
    other = next(d for d in others if splitting.split_of(d.source, share) != split)
    return splitting.documents_table([document, other], share).iloc[:1]


def test_the_share_that_is_held_out_is_the_one_asked_for():
    held = [splitting.split_of(f"numpy/file{i}.py", 0.2) == "heldout" for i in range(5000)]
    assert abs(np.mean(held) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 5000)


def test_a_corpus_without_a_document_for_a_split_is_refused():
    with pytest.raises(QuantaError, match="none of them for the split 'heldout'"):
        splitting.documents_table([], 0.5)
    whole = splitting.documents_table([splitting.Document("a", "text")], 1)
    assert whole["split"].tolist() == ["heldout"]


def test_short_and_repeated_documents_are_left_out():
    given_texts = ["aaaa", "bb", "aaaa", "cccc", "cccc ", "cccc", "\ud800aaa"]
    found = splitting.distinct([splitting.Document(str(i), text) for i, text in enumerate(given_texts)], 3)
    assert [d.source for d in found] == ["0", "3", "4", "6"]


OPENERS = {
    "packed.jsonl.xz": lambda path: lzma.open(path, "wb"),  # noqa: SIM115
    "plain.jsonl": lambda path: path.open("wb"),
    "packed.jsonl.gz": lambda path: gzip.GzipFile(path, "wb"),
    "packed.jsonl.zst": lambda path: zstandard.open(path, "wb"),
}


@pytest.mark.parametrize("name", OPENERS)
def test_json_lines_are_read_plain_and_compressed(tmp_path, name):
    texts = ["one", "two\nlines", "€ and\u2028separators", ""]
    with OPENERS[name](tmp_path / name) as stream:
        stream.write("".join(json.dumps({"text": t, "meta": {}}, ensure_ascii=False) + "\n" for t in texts).encode())
    found = list(readers.jsonl_documents(tmp_path / name, "text"))
    assert [d.text for d in found] == texts
    assert [d.source for d in found] == [f"{name}:{i}" for i in range(1, 5)]
    assert len(list(readers.jsonl_documents(tmp_path / name, "text", limit=2))) == 2


@pytest.mark.parametrize(
    "line", ["{", "[1]", '"text"', '{"content": "x"}', '{"text": 3}', '{"text": null}', '{"text": "x"']
)
def test_a_bad_line_is_named_with_its_number(tmp_path, line):
    path = tmp_path / "texts.jsonl"
    path.write_text(f'{{"text": "fine"}}\n{{"text": "fine too"}}\n{line}\n')
    with pytest.raises(QuantaError, match=r"texts\.jsonl, line 3") as caught:
        list(readers.jsonl_documents(path, "text"))
    assert "corpus.jsonl.field" in caught.value.mend and "'text'" in caught.value.expected


@pytest.mark.parametrize("name", OPENERS)
def test_blank_lines_and_a_byte_order_mark_are_no_documents(tmp_path, name):
    """Editors leave them; numbers are those of the lines."""
    lines = ["\ufeff" + json.dumps({"text": "one"}), "", json.dumps({"text": "\ufefftwo"}), " \t\r", ""]
    with OPENERS[name](tmp_path / name) as stream:
        stream.write("\n".join(lines).encode())
    found = [(d.source, d.text) for d in readers.jsonl_documents(tmp_path / name, "text")]
    assert found == [(f"{name}:1", "one"), (f"{name}:3", "\ufefftwo")]


@given(share=st.floats(0.1, 1), number=st.integers(1, 20))
def test_the_first_held_out_documents_are_all_among_those_read(share, number):
    documents = [splitting.Document(f"file:{i}", "text") for i in range(500)]
    read = list(splitting.first_held_out(iter(documents), share, number))
    held = [d for d in read if splitting.split_of(d.source, share) == "heldout"]
    assert read == documents[: len(read)]
    assert len(held) == number or len(read) == 500
    assert len(read) == 500 or read[-1] is held[-1], "and no more are read"
    assert list(splitting.first_held_out(iter(documents), share, None)) == documents


@pytest.mark.parametrize("name", ["cut.jsonl.gz", "cut.jsonl.zst", "cut.jsonl.xz", "latin.jsonl"])
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
        list(readers.jsonl_documents(path, "text"))
    assert "fetch the file again" in caught.value.mend


@pytest.mark.parametrize("suffix", ["gz", "zst", "xz"])
def test_all_frames_of_a_compressed_file_are_read(tmp_path, suffix):
    """Large files are often written in frames, by several threads or by appending."""
    line = [json.dumps({"text": f"{i} " * 400}).encode() + b"\n" for i in range(2000)]
    pack = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress, "xz": lzma.compress}[suffix]
    path = tmp_path / f"frames.jsonl.{suffix}"
    path.write_bytes(b"".join(pack(b"".join(line[i : i + 7])) for i in range(0, 2000, 7)))
    found = [d.text for d in readers.jsonl_documents(path, "text")]
    assert found == [f"{i} " * 400 for i in range(2000)]


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(QuantaError, match=r"absent\.jsonl is not a file"):
        list(readers.jsonl_documents(tmp_path / "absent.jsonl", "text"))


def test_a_file_that_a_distribution_lists_twice_is_read_once(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a.py").write_text("a = 1")
    (tmp_path / "one-1.0.dist-info").mkdir()
    (tmp_path / "one-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: one\nVersion: 1.0\n")
    (tmp_path / "one-1.0.dist-info/RECORD").write_text("one/a.py,,\none/a.py,,\n")
    (distribution,) = metadata.distributions(path=[str(tmp_path)])
    assert [d.source for d in readers.python_sources([distribution])] == ["one/one/a.py"]


def test_python_sources_are_the_files_of_a_distribution_in_an_order_free_of_content():
    documents = list(readers.python_sources([metadata.distribution("threadpoolctl")]))
    assert [d.source for d in documents] == ["threadpoolctl/threadpoolctl.py"]
    many = [d.source for d in readers.python_sources([metadata.distribution("networkx")])]
    assert len(many) > 300 and len(set(many)) == len(many) and many != sorted(many)
    assert all(source.startswith("networkx/networkx/") and source.endswith(".py") for source in many)
    mixed = readers.python_sources([metadata.distribution("threadpoolctl"), metadata.distribution("networkx")])
    assert [d.source for d in mixed if d.source.startswith("networkx")] == many


def test_the_part_of_the_corpus_is_kept_from_the_line_to_the_table(tmp_path):
    path = tmp_path / "pile.jsonl"
    rows = [{"text": f"text {i}", "meta": {"pile_set_name": name}} for i, name in enumerate(["Github", "ArXiv"])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = list(readers.documents_of(path, "text", subset="meta.pile_set_name"))
    assert [d.subset for d in found] == ["Github", "ArXiv"]
    table = splitting.documents_table(found, 1)
    _, documents = encoding.encode(vocabulary.train_tokenizer(["text 0 1"], 300), table, context=3, pieces="all")
    assert documents.groupby("source")["subset"].unique().map(list).tolist() == [["Github"], ["ArXiv"]]
    with pytest.raises(QuantaError, match=r"None under 'meta\.source'") as caught:
        list(readers.documents_of(path, "text", subset="meta.source"))
    assert "line 1" in caught.value.where and "corpus.jsonl.subset" in caught.value.mend


def test_parquet_is_read_as_json_lines_are(tmp_path):
    import pandas as pd

    path = tmp_path / "part.parquet"
    pd.DataFrame({"text": ["a", "b"], "set": ["x", "y"], "other": [1, 2]}).to_parquet(path)
    found = list(readers.documents_of(path, "text", subset="set"))
    assert [(d.source, d.text, d.subset) for d in found] == [("part.parquet:1", "a", "x"), ("part.parquet:2", "b", "y")]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(QuantaError, match=r"part\.parquet: "):
        list(readers.documents_of(path, "text"))


def test_repeated_documents_are_kept_on_demand():
    documents = [splitting.Document(str(i), text) for i, text in enumerate(["a", "", "a", "b"])]
    assert [d.source for d in splitting.distinct(documents, 0)] == ["0", "1", "3"]
    assert [d.source for d in splitting.distinct(documents, 0, repeated=True)] == ["0", "1", "2", "3"]


# ------------------------------------------------------------------------------------ what people have on their disks

LINES = "".join(json.dumps({"text": text}) + "\n" for text in ("one", "two"))


def refused(path, field="text", **how):
    with pytest.raises(QuantaError) as caught:
        list(readers.documents_of(path, field, **how))
    return caught.value


@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.parametrize("array", ['[{"text": "one"},\n{"text": "two"}]', '\n [\n{"text": "one"}]', "[]"])
def test_a_json_array_is_refused_with_the_command_that_makes_lines_of_it(tmp_path, name, array):
    with OPENERS[name](tmp_path / name) as stream:
        stream.write(array.encode())
    error = refused(tmp_path / name)
    assert error.found == "a JSON array" and "one object a line" in error.expected and "jq -c '.[]'" in error.mend


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", OPENERS)
def test_wide_encodings_are_refused_with_the_command_that_converts_them(tmp_path, name, encoding):
    with OPENERS[name](tmp_path / name) as stream:
        stream.write((LINES if name.endswith("jsonl") else "[]").encode(encoding))
    error, wide = refused(tmp_path / name), "UTF-32" if encoding == "utf-32" else "UTF-16"
    assert error.found == f"text in {wide}" and f"iconv -f {wide} -t UTF-8" in error.mend


def test_a_parquet_file_without_the_column_is_refused_with_those_it_has(tmp_path):
    path = tmp_path / "texts.parquet"
    pd.DataFrame({"content": ["one"], "id": [1]}).to_parquet(path)
    error = refused(path)
    assert (
        error.found == "no column 'text', but 'content', 'id'" and error.mend == "set corpus.jsonl.field to one of them"
    )
    assert [d.text for d in readers.documents_of(path, "content")] == ["one"]
    error = refused(path, "content", subset="meta.name")
    assert "no column 'meta'" in error.found and error.mend == "set corpus.jsonl.subset to one of them"


def test_a_folder_of_text_files_has_a_document_a_file(tmp_path, caplog):
    for name, content in {
        "b.txt": b"\xef\xbb\xbftwo", "a.md": "one €".encode(), "deep/c.txt": b"three", ".git/config": b"no",
        "picture.png": b"\x89PNG\xff",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with caplog.at_level("WARNING", logger="quanta"):
        found = [(d.source, d.text) for d in readers.documents_of(tmp_path, "text")]
    assert found == [("a.md", "one €"), ("b.txt", "two"), ("deep/c.txt", "three")]
    assert "picture.png left out" in caplog.text
    assert "set it to null" in refused(tmp_path, subset="meta").mend


def test_a_folder_of_files_of_rows_is_read_one_after_the_other(tmp_path):
    (tmp_path / "part-1.jsonl").write_text(LINES)
    (tmp_path / "part-0.jsonl.xz").write_bytes(lzma.compress(b'{"text": "zero"}\n'))
    pd.DataFrame({"text": ["three"]}).to_parquet(tmp_path / "part-2.parquet")
    (tmp_path / "README.md").write_text("what these are")
    found = [(d.source, d.text) for d in readers.documents_of(tmp_path, "text")]
    assert found == [
        ("part-0.jsonl.xz:1", "zero"), ("part-1.jsonl:1", "one"), ("part-1.jsonl:2", "two"), ("part-2.parquet:1", "three")
    ]  # fmt: skip


def test_a_folder_without_any_text_is_refused(tmp_path):
    assert "no file of text" in refused(tmp_path).found
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    assert "convert the files to UTF-8" in refused(tmp_path).mend


def test_a_data_set_on_the_disk_is_read_in_its_order(tmp_path):
    import datasets

    saved = datasets.Dataset.from_dict({"text": ["one", "two"], "meta": [{"name": "a"}, {"name": "b"}], "id": [1, 2]})
    saved.save_to_disk(tmp_path / "texts")
    found = list(readers.documents_of(tmp_path / "texts", "text", subset="meta.name"))
    assert [(d.source, d.text, d.subset) for d in found] == [("texts:1", "one", "a"), ("texts:2", "two", "b")]
    error = refused(tmp_path / "texts", "body")
    assert error.found == "no column 'body', but 'text', 'meta', 'id'" and "corpus.jsonl.field" in error.mend
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(tmp_path / "both")
    error = refused(tmp_path / "both")
    assert "train, test" in error.found and error.mend == f"set the path to one of them: {tmp_path / 'both/train'}"
    (tmp_path / "texts/dataset_info.json").unlink()
    assert "save_to_disk" in refused(tmp_path / "texts").expected


def test_the_script_says_what_a_folder_held(tmp_path):
    (tmp_path / "texts").mkdir()
    for name in "ab":
        (tmp_path / f"texts/{name}.txt").write_text(f"text {name}")
    settings = {"source": "jsonl", "jsonl": {"path": str(tmp_path / "texts"), "field": "text"}}
    outputs = names(texts=tmp_path / "t.parquet", sources=tmp_path / "s.json", manifest=[], differences=[])
    params = names(
        corpus=json.dumps(settings | {"minimum_characters": 1, "heldout_share": 1}),
        versions="{}", containment=None, documents=None,
    )  # fmt: skip
    hashes = []
    for content in ("text b", "text c"):
        (tmp_path / "texts/b.txt").write_text(content)
        script("corpus/texts")(names(manifest=[]), outputs, params)
        said = json.loads((tmp_path / "s.json").read_text())
        assert (said["folder"], said["files"]) == ("texts", 2)
        hashes.append(said["sha256"])
    assert hashes[0] != hashes[1] and pd.read_parquet(tmp_path / "t.parquet")["text"].tolist() == ["text a", "text c"]


def test_a_changed_file_in_a_folder_of_texts_is_another_corpus(tmp_path):
    (tmp_path / "checkpoints/small").mkdir(parents=True)
    (tmp_path / "checkpoints/small/config.json").write_text("{}")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/a.txt").write_text("one")
    plan = Plan(
        settled(
            corpus={"source": "jsonl", "jsonl": {"path": str(tmp_path / "texts")}},
            models={"source": "folder", "folder": {"path": str(tmp_path / "checkpoints")}},
            dynamics={"model": None},
            qdg={"model": "small"},
        )
    )
    before = plan.texts_folder(None)
    assert plan.texts_given() == [] and before is not None
    (tmp_path / "texts/a.txt").write_text("another")
    assert plan.texts_folder(None) != before
    assert Plan(settled()).texts_folder(None) is None
