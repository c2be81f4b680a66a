"""Whatever stands in a corpus, and whatever its file is called: nothing breaks, nothing is executed, places are kept."""

import ast
import json
import re
import subprocess

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from quanta.corpus import encoding, readers, vocabulary
from quanta.errors import QuantaError
from repository import command, copy_of_the_repository, environment
from support import ROOT, names, script

HOSTILE = [
    "\x00\x01\x1b[2J\x07\x7f",
    "\u202egnp.exe\u2066\u200f\u2028\u2029\ufeff\u0085",
    "\ud800 lone, and \udfff again",
    "$(touch hacked) `touch hacked` ; touch hacked # && touch hacked",
    "{wildcards.model} {input} {{x}} %s %(x)s ${HOME}",
    "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=2>",
    "'); DROP TABLE documents; --",
    "__import__('os').system('touch hacked')",
    "a\r\nb\rc\n\n\td",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 👩\u200d👩\u200d👧 é\u0301",
    "",
]
ANYTHING = st.one_of(st.text(max_size=60), st.sampled_from(HOSTILE))  # with lone surrogates


def lines(texts, ascii_only):
    """As somebody may have written them: escaped, or raw UTF-8 where that is possible."""
    return b"".join(json.dumps({"text": t}, ensure_ascii=ascii_only).encode("utf-8", "strict") + b"\n" for t in texts)


def sound(text):
    """What UTF-8 can hold of it."""
    return "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text)


@given(texts=st.lists(ANYTHING, max_size=12))
@example(texts=HOSTILE)
def test_every_text_is_read_in_its_place(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "texts.jsonl"
    path.write_bytes(lines(texts, ascii_only=True))
    found = list(readers.jsonl_documents(path, "text"))
    assert [one.source for one in found] == [f"texts.jsonl:{i + 1}" for i in range(len(texts))]
    assert [one.text for one in found] == [sound(text) for text in texts]
    raw = [sound(text) for text in texts]
    path.write_bytes(lines(raw, ascii_only=False))
    assert [one.text for one in readers.jsonl_documents(path, "text")] == raw


@given(line=st.binary(max_size=60))
@settings(max_examples=200)
def test_any_bytes_are_read_or_refused_with_their_line(tmp_path_factory, line):
    path = tmp_path_factory.mktemp("bytes") / "texts.jsonl"
    path.write_bytes(b'{"text": "first"}\n' + line)
    try:
        found = list(readers.jsonl_documents(path, "text"))
    except QuantaError as error:
        assert str(path) in error.where and "line" in error.where
    else:
        assert found[0].text == "first"


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Texts, tokenizer and tokens of hostile documents and of one of ten million characters, by the pipeline's scripts."""
    folder = tmp_path_factory.mktemp("stages")
    plain = [f"def f_{i}(x):\n    return x + {i}  # {HOSTILE[i % len(HOSTILE)]}\n" for i in range(200)]
    texts = [*plain[:100], "x = 1; " * 1_500_000, *plain[100:]]
    path = folder / "texts.jsonl"
    path.write_bytes(lines(texts, ascii_only=True))
    settings = {
        "source": "jsonl", "jsonl": {"path": str(path), "field": "text", "subset": None},
        "minimum_characters": 0, "heldout_share": 0.5, "repeated": "keep",
    }  # fmt: skip
    out = names(texts=folder / "texts.parquet", sources=folder / "sources.json", manifest=[], differences=[])
    params = names(corpus=json.dumps(settings), versions="{}", documents=None, containment=None, minimum_agreement=None)
    script("corpus/texts")(names(file=path, manifest=[]), out, params)
    tokenizer = names(tokenizer=folder / "tokenizer/tokenizer.json", config=folder / "tokenizer/tokenizer_config.json")
    script("corpus/tokenizer")(names(texts=out.texts, model=[]), tokenizer, names(vocabulary=400))
    tokens = names(tokens=folder / "tokens.npy", offsets=folder / "offsets.npy", documents=folder / "documents.parquet")
    common = {
        "split": "heldout",
        "context": 64,
        "pieces": "all",
        "documents": 10_000_000,
        "take": "first",
        "special_tokens": "text",
    }
    script("corpus/tokens")(
        names(texts=out.texts, tokenizer=tokenizer.tokenizer), tokens, names(**common, limit_tokens=None)
    )
    return out, tokenizer, tokens, texts


def test_tokens_of_a_hostile_corpus_are_its_texts_and_keep_their_documents(stages):
    out, tokenizer, tokens, texts = stages
    table = pd.read_parquet(out.texts)
    assert sorted(table["text"]) == sorted(map(sound, texts))
    by_source = {f"texts.jsonl:{i + 1}": sound(text) for i, text in enumerate(texts)}
    found = encoding.load_tokens(tokens.tokens, tokens.offsets)
    documents = pd.read_parquet(tokens.documents)
    model = vocabulary.load_tokenizer(tokenizer.tokenizer.rpartition("/")[0])
    pieces = {}
    for row in documents.itertuples():
        pieces.setdefault(row.source, []).append(np.asarray(found.document(row.document)))
    for source, parts in pieces.items():
        assert model.decode(np.concatenate(parts).tolist()) == by_source[source], source
    held_out = table.loc[table["split"] == "heldout", "source"]
    assert list(pieces) == list(held_out), "in the file's order"


@pytest.mark.workflow
@pytest.mark.timeout(900)
def test_a_file_of_any_name_is_read_and_nothing_in_it_is_executed(tmp_path):
    """The name goes through Snakemake, as an input and as a param, in a clone whose own path is no better."""
    folder = copy_of_the_repository(tmp_path / "clone $(touch hacked) 'of' it")
    name = "te xts'\"\n;$(touch hacked)`touch hacked`%s*.jsonl"
    texts = [f"{HOSTILE[i % len(HOSTILE)]} and document {i}, which is long enough. " * 8 for i in range(60)]
    (folder / name).write_bytes(lines(texts, ascii_only=True))
    over = {
        "corpus": {
            "source": "jsonl", "jsonl": {"path": name, "field": "text"}, "documents": 4, "training_tokens": 6000,
            "heldout_share": 0.5,
        }
    }  # fmt: skip
    (folder / "config/over.yaml").write_text(yaml.safe_dump(over))
    target = "results/smoke/corpus/tokens.npy"
    files = ("--configfile", "config/smoke.yaml", "config/over.yaml")
    done = subprocess.run(
        command("--cores", "2", *files, "--", target),
        cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert len(np.load(folder / "results/smoke/corpus/offsets.npy")) == 5
    assert not list(tmp_path.rglob("hacked"))


def test_no_rule_and_no_module_hands_anything_to_a_shell():
    rules = "".join(path.read_text() for path in [ROOT / "Snakefile", *ROOT.glob("rules/*.smk")])
    assert not re.search(r"^\s*(shell|run):", rules, re.MULTILINE) and "shell(" not in rules
    for path in (ROOT / "workflow").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"os.system", "os.popen", "eval", "exec", "subprocess.getoutput"}, path
                assert not any(keyword.arg == "shell" for keyword in node.keywords), path
