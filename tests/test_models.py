import json
import shutil

import pandas as pd
import pytest
import torch
from quanta import models
from quanta.errors import QuantaError
from quanta.family import FAMILY_COLUMNS, in_order
from support import names, script

# width, layers, heads of Pythia, and the paper's non-embedding parameters
PYTHIA = {
    "pythia-70m": (512, 6, 8, 18_915_328),
    "pythia-160m": (768, 12, 12, 85_056_000),
    "pythia-410m": (1024, 24, 16, 302_311_424),
    "pythia-1b": (2048, 16, 8, 805_736_448),
    "pythia-1.4b": (2048, 24, 16, 1_208_602_624),
    "pythia-2.8b": (2560, 32, 32, 2_517_652_480),
}


@pytest.mark.parametrize("name", PYTHIA)
def test_non_embedding_parameters_are_the_papers(name):
    width, layers, heads, published = PYTHIA[name]
    with torch.device("meta"):
        model = models.new_model(models.Size(name, width, layers, heads), vocabulary=50304, context=2048, seed=0)
    assert models.non_embedding_parameters(model) == published
    assert published == 12 * layers * width**2 + 13 * layers * width + 2 * width, "the paper's formula"
    assert sum(p.numel() for p in model.parameters()) == published + 2 * 50304 * width


def test_tied_and_positional_embeddings_are_left_out():
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    assert models.non_embedding_parameters(model) == 124_439_808 - 50257 * 768 - 1024 * 768


def new(seed=0, width=16):
    return models.new_model(models.Size("a", width, 2, 2), vocabulary=61, context=32, seed=seed)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_fresh_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = new(0)
    assert torch.equal(torch.get_rng_state(), before), "the global state is left as it was"
    torch.manual_seed(2)
    assert same(one, new(0)) and not same(one, new(1))


def test_a_model_is_loaded_as_it_was_saved(tmp_path):
    model = new()
    model.save_pretrained(tmp_path)
    loaded = models.load(tmp_path)
    assert same(model, loaded) and not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in loaded.parameters())


def test_pickled_weights_alone_are_refused(tmp_path):
    new().save_pretrained(tmp_path)
    weights = new().state_dict()
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(QuantaError, match="no model in Hugging Face format") as caught:
        models.load(tmp_path)
    assert "safetensors" in caught.value.expected and "save_pretrained" in caught.value.mend


def test_pickled_weights_beside_safetensors_are_not_read(tmp_path):
    new(0).save_pretrained(tmp_path)
    torch.save(new(1).state_dict(), tmp_path / "pytorch_model.bin")
    assert same(models.load(tmp_path), new(0))


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    new().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(QuantaError, match="cannot be loaded"):
        models.load(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["weights", "config", "no config"])
def test_a_damaged_folder_is_named(tmp_path, damage):
    new().save_pretrained(tmp_path)
    if damage == "weights":
        path = tmp_path / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "config":
        (tmp_path / "config.json").write_text("{")
    else:
        (tmp_path / "config.json").unlink()
    with pytest.raises(QuantaError, match=str(tmp_path)):
        models.load(tmp_path)
    if damage == "weights":
        with pytest.raises(QuantaError, match=r"model\.safetensors: damaged"):
            models.weight_hash(tmp_path)


def test_the_hash_of_weights_does_not_depend_on_their_files(tmp_path):
    model = new()
    for name, limit in (("whole", "5GB"), ("shards", "8KB"), ("more", "3KB")):
        model.save_pretrained(tmp_path / name, max_shard_size=limit)
    files = [len(list((tmp_path / n).glob("*.safetensors"))) for n in ("whole", "shards", "more")]
    assert files[0] == 1 < files[1] < files[2]
    hashes = {models.weight_hash(tmp_path / n) for n in ("whole", "shards", "more")}
    assert len(hashes) == 1
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1e-3
    model.save_pretrained(tmp_path / "changed")
    model.to(torch.bfloat16).save_pretrained(tmp_path / "rounded")
    assert len(hashes | {models.weight_hash(tmp_path / n) for n in ("changed", "rounded")}) == 3


def member(folder, model, step, net):
    net.save_pretrained(folder / f"{model}{step}")
    return {"model": model, "step": step, "revision": f"step{step}", "folder": folder / f"{model}{step}"}


def test_the_family_is_ordered_by_size_then_step(tmp_path):
    given = [
        member(tmp_path, "large", 5, new(0, 32)),
        member(tmp_path, "small", 20, new(1)),
        member(tmp_path, "small", 3, new(2)),
    ]
    table = models.family_table(given)
    assert tuple(table.columns) == FAMILY_COLUMNS
    assert list(zip(table["model"], table["step"], strict=True)) == [("small", 3), ("small", 20), ("large", 5)]
    assert table["revision"].tolist() == ["step3", "step20", "step5"]
    assert table["sha256"].nunique() == 3
    assert in_order([["large", 5], ["small", 3]], table) == [("small", 3), ("large", 5)]


def test_equal_weights_under_two_names_are_refused_by_name(tmp_path):
    """As when a repository holds the weights of another step."""
    given = [member(tmp_path, "a", 1, new(0)), member(tmp_path, "a", 2, new(0)), member(tmp_path, "b", 1, new(1))]
    with pytest.raises(QuantaError, match="equal weights under a step 1, a step 2") as caught:
        models.family_table(given)
    assert "b" not in caught.value.found.split("under")[1]


# --------------------------------------------------------------------------------------------- folders and hub


def test_a_checkpoint_is_found_in_its_step_or_in_the_folder_itself(tmp_path):
    assert models.checkpoint_folder(tmp_path, 7, only_step=7) == tmp_path
    with pytest.raises(QuantaError, match="no checkpoint of step 8"):
        models.checkpoint_folder(tmp_path, 8, only_step=7)
    for step in (1, 20):
        (tmp_path / f"step{step}").mkdir()
    assert models.checkpoint_folder(tmp_path, 20, only_step=20) == tmp_path / "step20"
    with pytest.raises(QuantaError, match="no checkpoint of step 7") as caught:
        models.checkpoint_folder(tmp_path, 7, only_step=7)
    assert "[1, 20]" in caught.value.expected


def test_adopting_copies_weights_configuration_and_tokenizer_only(tmp_path):
    source = tmp_path / "given/a"
    new().save_pretrained(source)
    for name in ("tokenizer.json", "tokenizer_config.json", "pytorch_model.bin", "own.py"):
        (source / name).write_text("{}")
    target = tmp_path / "run/a/step0"
    target.parent.mkdir(parents=True)
    script("adopt")(names(), names(folder=target), names(path=str(tmp_path / "given"), only_step=0))
    kept = {p.name for p in target.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= kept
    assert not kept & {"pytorch_model.bin", "own.py"}
    assert models.weight_hash(target) == models.weight_hash(source)


def test_the_hub_is_asked_for_one_revision_and_no_pickles_or_code(tmp_path, monkeypatch):
    import huggingface_hub

    asked = {}

    def download(repository, **kwargs):
        asked.update(kwargs, repository=repository)
        new().save_pretrained(kwargs["local_dir"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    models.fetch("EleutherAI/pythia-70m-v0", "step1000", tmp_path / "m")
    assert asked["repository"] == "EleutherAI/pythia-70m-v0" and asked["revision"] == "step1000"
    from fnmatch import fnmatch

    def fetched(name):
        return any(fnmatch(name, pattern) for pattern in asked["allow_patterns"])

    assert fetched("model-00001-of-00002.safetensors") and fetched("config.json") and fetched("tokenizer.json")
    assert not any(fetched(name) for name in ("pytorch_model.bin", "modeling.py", "training_args.bin"))


@pytest.mark.parametrize("outcome", ["unreachable", "pickles only"])
def test_a_hub_that_cannot_serve_is_named_with_repository_and_revision(tmp_path, monkeypatch, outcome):
    import huggingface_hub

    def download(repository, **kwargs):
        if outcome == "unreachable":
            raise OSError("no route to host")
        (tmp_path / "m").mkdir()
        (tmp_path / "m/config.json").write_text("{}")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(QuantaError) as caught:
        models.fetch("a/b", "step1", tmp_path / "m")
    if outcome == "unreachable":
        assert caught.value.where == "hub, a/b at step1" and "models.hub" in caught.value.mend
    else:
        assert "no model in Hugging Face format" in caught.value.found


def test_the_family_script_writes_the_table(tmp_path):
    given = [member(tmp_path, "a", 1, new(0)), member(tmp_path, "a", 2, new(1))]
    listed = [{key: m[key] for key in ("model", "step", "revision")} for m in given]
    script("family")(
        names(folders=[str(m["folder"]) for m in given]),
        names(table=tmp_path / "family.csv"),
        names(members=json.dumps(listed)),
    )
    assert pd.read_csv(tmp_path / "family.csv")["sha256"].tolist() == [models.weight_hash(m["folder"]) for m in given]
    shutil.rmtree(tmp_path / "a1")
