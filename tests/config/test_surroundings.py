import json
import shutil
from importlib import metadata
from types import SimpleNamespace

import pytest
import torch
from gguf_files import TOKENS, small_llama, unknown_type, write_gguf
from quanta.config import preflight
from quanta.corpus import packages
from quanta.errors import QuantaError
from quanta.storage import files
from safetensors.torch import save_file
from support import ROOT, settled
from tokenizers import Tokenizer, models

LOCK = ROOT / "envs/requirements.lock"


def test_a_distribution_that_is_missing_is_named_with_the_command_that_installs_it():
    with pytest.raises(QuantaError) as caught:
        packages.find_distributions(["numpy", "no-such-package"], {"no-such-package": "1.2"})
    assert "corpus.python.distributions" in caught.value.where and "'no-such-package'" in caught.value.found
    assert caught.value.mend == "pip install no-such-package==1.2"


def test_another_version_than_the_locked_one_is_refused():
    pins = packages.locked_versions(LOCK)
    with pytest.raises(QuantaError) as caught:
        packages.find_distributions(["networkx"], pins | {"networkx": "1.0"})
    error = caught.value
    assert error.found == f"networkx {metadata.version('networkx')} is installed" and "networkx 1.0" in error.expected
    assert "pip install networkx==1.0" in error.mend and "corpus.python.versions: any" in error.mend
    assert packages.find_distributions(["networkx"], {})[0].version == metadata.version("networkx")


def test_names_of_distributions_compare_as_pip_compares_them():
    assert packages.normalise("Scikit_Learn") == packages.normalise("scikit.learn") == "scikit-learn"


def check(tmp_path, **changes):
    preflight.check(settled(**changes), tmp_path / "results/mini", lock=LOCK)


def test_the_default_configuration_finds_what_it_needs(tmp_path):
    check(tmp_path)


def test_a_lock_of_other_versions_stops_the_run_unless_any_will_do(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("networkx==1.0\n")
    corpus = {"python": {"distributions": ["networkx"]}}
    with pytest.raises(QuantaError, match=r"networkx 1\.0, as in the lock file"):
        preflight.check(settled(corpus=corpus), tmp_path, lock=lock)
    corpus["python"]["versions"] = "any"
    preflight.check(settled(corpus=corpus), tmp_path, lock=lock)


def test_a_package_that_is_not_installed_is_named_with_the_way_to_have_it(tmp_path):
    with pytest.raises(QuantaError, match="'no-such-package' is not installed") as caught:
        check(tmp_path, corpus={"python": {"distributions": ["no-such-package"]}})
    assert "pip install" in caught.value.mend


def test_where_a_manifest_says_what_was_trained_on_packages_may_differ_or_be_missing(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("networkx==1.0\n")
    config = settled(corpus={"python": {"distributions": ["networkx", "no-such-package"]}})
    preflight.check(config, tmp_path, lock=lock, manifest=True)
    found = packages.find_distributions(["networkx", "no-such-package"], {}, all_needed=False)
    assert [distribution.name for distribution in found] == ["networkx"]


def test_a_file_of_texts_that_is_not_there_is_named(tmp_path):
    with pytest.raises(QuantaError, match=r"absent\.jsonl is not a file or folder") as caught:
        check(tmp_path, corpus={"source": "jsonl", "jsonl": {"path": "absent.jsonl"}})
    assert "corpus.jsonl.path" in caught.value.where


def test_a_disk_without_room_is_refused_with_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=123_000_000))
    with pytest.raises(QuantaError) as caught:
        check(tmp_path)
    needed = preflight.estimated_bytes(settled()) / 1e9
    assert "0.1 GB free" in caught.value.found and f"about {needed:.1f} GB" in caught.value.expected
    assert "qdg.tokens" in caught.value.mend


def test_the_estimate_counts_what_grows():
    base = preflight.estimated_bytes(settled())
    n = 2000
    assert base > 4 * n * n + 2 * 4 * n * 32769, "the affinity and the features alone"
    assert preflight.estimated_bytes(settled(qdg={"tokens": 4000})) > base + 4 * 3 * n * n
    assert preflight.estimated_bytes(settled(corpus={"documents": 4000})) > base + 4 * 2000 * 256 * 2
    sparse = {"graph": "neighbours", "tokens": 100_000, "rank_shares": [0.0002, 0.002]}
    assert preflight.estimated_bytes(settled(qdg=sparse)) < base + 2 * 4 * 100_000 * 32769 + 4 * n * n + 3e8
    exact = preflight.estimated_bytes(settled(qdg={"mode": "exact"}))
    assert exact > base, "exact gradients are larger than their sketches"


def test_versions_of_the_corpus_are_those_installed():
    found = packages.versions(settled())
    assert found["scikit-learn"] == metadata.version("scikit-learn") and len(found) == 7
    assert packages.versions(settled(corpus={"source": "jsonl", "jsonl": {"path": "x"}})) == {}


# -------------------------------------------------------------------------------------------- given models


def checkpoint(folder, *, rows=40, width=8, tokens=("a", "b"), **settings):
    """A folder in Hugging Face format with an embedding of zeros."""
    folder.mkdir(parents=True)
    embedding, block = torch.zeros(rows, width), torch.zeros(width, width)
    save_file({"embed_tokens.weight": embedding, "layers.0.weight": block}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"vocab_size": rows, "model_type": "llama", **settings}))
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=tokens[0]))
    tokenizer.save(str(folder / "tokenizer.json"))


def given(tmp_path, **changes):
    folder = {"path": str(tmp_path / "given")}
    config = {"source": "folder", "folder": folder}
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n')
    corpus = {"source": "jsonl", "jsonl": {"path": str(tmp_path / "texts.jsonl")}}
    return settled(models=config, corpus=corpus, dynamics={"model": None}, qdg={"model": "small"}, **changes)


def test_given_models_are_looked_at_before_any_job(tmp_path):
    checkpoint(tmp_path / "given/small")
    preflight.check(given(tmp_path), tmp_path / "results/mini", lock=LOCK)
    checkpoint(tmp_path / "given/large", quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(QuantaError, match=r"large/config\.json: quantised weights \(bitsandbytes, 8 bits\)"):
        preflight.check(given(tmp_path), tmp_path / "results/mini", lock=LOCK)
    shutil.rmtree(tmp_path / "given/large")
    checkpoint(tmp_path / "given/large", tokens=("a", "c"))
    with pytest.raises(QuantaError, match=r"tokenizers that differ: model\.vocab\.c is 1 in the one and absent"):
        preflight.check(given(tmp_path), tmp_path / "results/mini", lock=LOCK)
    shutil.rmtree(tmp_path / "given/large")
    checkpoint(tmp_path / "given/large", rows=1)
    with pytest.raises(QuantaError, match="'b' with the id 1, while the embedding has 1 rows"):
        preflight.check(given(tmp_path), tmp_path / "results/mini", lock=LOCK)


def test_gguf_files_are_looked_at_before_any_job(tmp_path):
    for name in ("small", "large"):
        (tmp_path / "given" / name).mkdir(parents=True)
        write_gguf(tmp_path / "given" / name / "a.gguf", small_llama())
    preflight.check(given(tmp_path), tmp_path / "results/mini", lock=LOCK)
    write_gguf(tmp_path / "given/large/a.gguf", small_llama(), tokens=[*TOKENS[:-1], "ab"])
    with pytest.raises(QuantaError, match=r"large/a\.gguf and .*small/a\.gguf: tokenizers that differ"):
        preflight.check(given(tmp_path), tmp_path / "results/mini", lock=LOCK)
    unknown_type(tmp_path / "given/large/a.gguf")
    with pytest.raises(QuantaError, match=r"a\.gguf: weights of the type Q1_0"):
        preflight.check(given(tmp_path), tmp_path / "results/mini", lock=LOCK)


def test_a_checkpoint_that_the_run_has_taken_may_be_gone(tmp_path):
    for step in (1, 2):
        checkpoint(tmp_path / f"given/small/step{step}")
    (tmp_path / "texts.jsonl").write_text('{"text": "a"}\n')
    config = settled(
        models={"source": "folder", "folder": {"path": str(tmp_path / "given")}},
        corpus={"source": "jsonl", "jsonl": {"path": str(tmp_path / "texts.jsonl")}},
        dynamics={"model": "small", "further": [], "steps": [1, 2]},
        qdg={"model": "small"},
    )
    shutil.rmtree(tmp_path / "given/small/step1")
    with pytest.raises(QuantaError, match="no checkpoint of step 1"):
        preflight.check(config, tmp_path / "run", lock=LOCK)
    (tmp_path / "run/models/small/step1").mkdir(parents=True)
    preflight.check(config, tmp_path / "run", lock=LOCK)


def cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def adapter(folder):
    (folder / "config.json").unlink()
    (folder / "adapter_config.json").write_text("{}")


@pytest.mark.parametrize(
    ("change", "found", "mend"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), r"tokenizer\.json: no such file", "save_pretrained"),
        (lambda f: (f / "tokenizer.json").write_text("{"), r"tokenizer\.json: cannot be loaded", "tokenizer.json"),
        (lambda f: (f / "config.json").write_text('{"a": '), r"config\.json: no JSON object", "fetch"),
        (lambda f: (f / "config.json").write_text('{"model_type": "no-such"}'), "model type 'no-such', which", "newer"),
        (
            lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"),
            "no .*, but pytorch_model.bin",
            "pickled",
        ),
        (lambda f: (f / "model.safetensors").write_text("version https://git-lfs…"), "pointer of Git LFS", "fetch"),
        (cut_off, r"cut off: \d+ bytes of \d+", "fetch the file again"),
        (adapter, "an adapter", "merge_and_unload"),
    ],
)
def test_a_checkpoint_that_no_job_could_load_is_named_before_any_job(tmp_path, change, found, mend):
    checkpoint(tmp_path / "given/small")
    change(tmp_path / "given/small")
    with pytest.raises(QuantaError, match=found) as caught:
        preflight.check(given(tmp_path), tmp_path / "results/mini", lock=LOCK)
    assert mend in caught.value.mend


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no documents"),
        (b'[{"text": "a"}]', "a JSON array"),
        ('{"text": "a"}\n'.encode("utf-16"), "text in UTF-16"),
        (b'{"content": "a", "id": 1}\n', "line 1: no 'text', but 'content', 'id'"),
        (b'{"text": 1}\n', "'text' holds a int"),
    ],
)
def test_the_first_document_is_read_before_any_job(tmp_path, content, found):
    checkpoint(tmp_path / "given/small")
    config = given(tmp_path)
    (tmp_path / "texts.jsonl").write_bytes(content)
    with pytest.raises(QuantaError, match=found):
        preflight.check(config, tmp_path / "results/mini", lock=LOCK)


@pytest.mark.parametrize(("number", "fits"), [(0, False), (1, True), (None, True)])
def test_a_run_without_a_place_for_one_job_is_refused(number, fits):
    """Snakemake waits for ever."""
    if fits:
        preflight.check_places(number)
    else:
        with pytest.raises(QuantaError, match="--cores"):
            preflight.check_places(number)


def test_a_chat_model_is_named_before_any_job(tmp_path):
    checkpoint(tmp_path / "given/small")
    assert preflight.notes(given(tmp_path), tmp_path) == []
    checkpoint(tmp_path / "given/large-instruct")
    (line,) = preflight.notes(given(tmp_path), tmp_path)
    assert line.startswith("large-instruct looks like a chat model: it is named large-instruct.")


def test_the_disk_holds_the_weights_of_given_models(tmp_path):
    checkpoint(tmp_path / "given/small", rows=40)
    before = preflight.estimated_bytes(given(tmp_path))
    checkpoint(tmp_path / "given/large", rows=10_040)
    after = preflight.estimated_bytes(given(tmp_path))
    assert after - before >= 4 * (10_040 * 8 + 64)
