import json
import shutil

import pandas as pd
import pytest
import torch
from architectures import LAYERS, WIDTH, tiny
from quanta.errors import QuantaError
from quanta.models import headers, pretrained, training, weights
from quanta.models.family import FAMILY_COLUMNS, FURTHER_COLUMNS, in_order
from quanta.scaling.recurrence import between_seeds
from safetensors.torch import save_file
from support import names, script

# width, layers, heads of Pythia, and the paper's non-embedding parameters
PYTHIA = {
    "pythia-70m": (512, 6, 8, 18_915_328),
    "pythia-160m": (768, 12, 12, 85_056_000),
    "pythia-410m": (1024, 24, 16, 302_311_424),
    "pythia-1b": (2048, 16, 8, 805_736_448),
    "pythia-1.4b": (2048, 24, 16, 1_208_602_624),
    "pythia-2.8b": (2560, 32, 32, 2_517_652_480),
    # the paper says about 6.4·10⁹ of the first; both follow from the formula that the others confirm
    "pythia-6.9b": (4096, 32, 32, 6_444_163_072),
    "pythia-12b": (5120, 36, 40, 11_327_027_200),
}


@pytest.mark.parametrize("name", PYTHIA)
def test_non_embedding_parameters_are_the_papers(name):
    width, layers, heads, published = PYTHIA[name]
    with torch.device("meta"):
        model = training.new_model(
            training.LadderSize(name, width, layers, heads), vocabulary=50304, context=2048, seed=0
        )
    assert pretrained.non_embedding_parameters(model) == published
    assert published == 12 * layers * width**2 + 13 * layers * width + 2 * width, "the paper's formula"
    assert sum(p.numel() for p in model.parameters()) == published + 2 * 50304 * width


def test_tied_and_positional_embeddings_are_left_out():
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    assert pretrained.non_embedding_parameters(model) == 124_439_808 - 50257 * 768 - 1024 * 768


def new(seed=0, width=16):
    return training.new_model(training.LadderSize("a", width, 2, 2), vocabulary=61, context=32, seed=seed)


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
    loaded = pretrained.load(tmp_path)
    assert same(model, loaded) and not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in loaded.parameters())


def test_pickled_weights_alone_are_refused(tmp_path):
    new().save_pretrained(tmp_path)
    weights = new().state_dict()
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(QuantaError, match="no model in Hugging Face format") as caught:
        pretrained.load(tmp_path)
    assert "safetensors" in caught.value.expected and "save_pretrained" in caught.value.mend


def test_pickled_weights_beside_safetensors_are_not_read(tmp_path):
    new(0).save_pretrained(tmp_path)
    torch.save(new(1).state_dict(), tmp_path / "pytorch_model.bin")
    assert same(pretrained.load(tmp_path), new(0))


def test_code_that_comes_with_a_model_is_not_run(tmp_path):
    new().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    with pytest.raises(QuantaError, match="cannot be loaded"):
        pretrained.load(tmp_path)
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
        pretrained.load(tmp_path)
    if damage == "weights":
        with pytest.raises(QuantaError, match=r"model\.safetensors: damaged"):
            weights.weight_hash(tmp_path)


def test_the_hash_of_weights_does_not_depend_on_their_files(tmp_path):
    model = new()
    for name, limit in (("whole", "5GB"), ("shards", "8KB"), ("more", "3KB")):
        model.save_pretrained(tmp_path / name, max_shard_size=limit)
    files = [len(list((tmp_path / n).glob("*.safetensors"))) for n in ("whole", "shards", "more")]
    assert files[0] == 1 < files[1] < files[2]
    hashes = {weights.weight_hash(tmp_path / n) for n in ("whole", "shards", "more")}
    assert len(hashes) == 1
    with torch.no_grad():
        next(model.parameters())[0, 0] += 1e-3
    model.save_pretrained(tmp_path / "changed")
    model.to(torch.bfloat16).save_pretrained(tmp_path / "rounded")
    assert len(hashes | {weights.weight_hash(tmp_path / n) for n in ("changed", "rounded")}) == 3


def member(folder, model, step, net):
    net.save_pretrained(folder / f"{model}{step}")
    return {"model": model, "step": step, "revision": f"step{step}", "folder": folder / f"{model}{step}"}


def test_the_family_is_ordered_by_size_then_step(tmp_path):
    given = [
        member(tmp_path, "large", 5, new(0, 32)),
        member(tmp_path, "small", 20, new(1)),
        member(tmp_path, "small", 3, new(2)),
    ]
    table = pretrained.family_table(given)
    assert tuple(table.columns) == (*FAMILY_COLUMNS, *FURTHER_COLUMNS)
    assert list(zip(table["model"], table["step"], strict=True)) == [("small", 3), ("small", 20), ("large", 5)]
    assert table["revision"].tolist() == ["step3", "step20", "step5"]
    assert table["sha256"].nunique() == 3
    assert in_order([["large", 5], ["small", 3]], table) == [("small", 3), ("large", 5)]


def test_equal_weights_under_two_names_are_refused_by_name(tmp_path):
    """As when a repository holds the weights of another step."""
    given = [member(tmp_path, "a", 1, new(0)), member(tmp_path, "a", 2, new(0)), member(tmp_path, "b", 1, new(1))]
    with pytest.raises(QuantaError, match="equal weights under a step 1, a step 2") as caught:
        pretrained.family_table(given)
    assert "b" not in caught.value.found.split("under")[1]


# --------------------------------------------------------------------------------------------- folders and hub


def test_a_checkpoint_is_found_in_its_step_or_in_the_folder_itself(tmp_path):
    assert weights.checkpoint_folder(tmp_path, 7, only_step=7) == tmp_path
    with pytest.raises(QuantaError, match="no checkpoint of step 8"):
        weights.checkpoint_folder(tmp_path, 8, only_step=7)
    for step in (1, 20):
        (tmp_path / f"step{step}").mkdir()
    assert weights.checkpoint_folder(tmp_path, 20, only_step=20) == tmp_path / "step20"
    with pytest.raises(QuantaError, match="no checkpoint of step 7") as caught:
        weights.checkpoint_folder(tmp_path, 7, only_step=7)
    assert "[1, 20]" in caught.value.expected


def test_rounded_weights_load_and_are_the_nearest_half_precision(tmp_path):
    new().save_pretrained(tmp_path / "full")
    pretrained.rounded(tmp_path / "full", tmp_path / "half", torch.float16)
    full, half = pretrained.load(tmp_path / "full"), pretrained.load(tmp_path / "half")
    for (name, a), (_, b) in zip(full.named_parameters(), half.named_parameters(), strict=True):
        assert torch.equal(a.half().float(), b), name
    sizes = [(tmp_path / f / "model.safetensors").stat().st_size for f in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]


def test_weights_that_half_precision_cannot_hold_are_refused(tmp_path):
    model = new()
    with torch.no_grad():
        model.gpt_neox.layers[0].mlp.dense_4h_to_h.bias[0] = 7e4
    model.save_pretrained(tmp_path / "full")
    with pytest.raises(QuantaError, match=r"dense_4h_to_h\.bias"):
        pretrained.rounded(tmp_path / "full", tmp_path / "half", torch.float16)


def test_weights_are_held_against_their_hash(tmp_path):
    new().save_pretrained(tmp_path)
    weights.check_hash(tmp_path, None)
    weights.check_hash(tmp_path, weights.weight_hash(tmp_path))
    with pytest.raises(QuantaError, match=r"family\.csv") as caught:
        weights.check_hash(tmp_path, "0" * 64)
    assert str(tmp_path) in caught.value.where


def test_adopting_copies_weights_configuration_and_tokenizer_only(tmp_path):
    source = tmp_path / "given/a"
    new().save_pretrained(source)
    for name in ("tokenizer.json", "tokenizer_config.json", "pytorch_model.bin", "own.py"):
        (source / name).write_text("{}")
    target = tmp_path / "run/a/step0"
    target.parent.mkdir(parents=True)
    adopt = script("models/adopt")
    adopt(names(), names(folder=target), names(path=str(tmp_path / "given"), only_step=0, sha256=None))
    kept = {p.name for p in target.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= kept
    assert not kept & {"pytorch_model.bin", "own.py"}
    assert weights.weight_hash(target) == weights.weight_hash(source)


def test_adopting_takes_the_shared_tokenizer_and_refuses_other_weights(tmp_path):
    new().save_pretrained(tmp_path / "given/a/step3")
    (tmp_path / "given/tokenizer").mkdir()
    (tmp_path / "given/tokenizer/tokenizer.json").write_text("{}")
    right = weights.weight_hash(tmp_path / "given/a/step3")
    for hashed, target in ((right, tmp_path / "run/a/step3"), ("0" * 64, tmp_path / "other/a/step3")):
        settings = names(path=str(tmp_path / "given"), only_step=3, sha256=hashed)
        if hashed == right:
            script("models/adopt")(names(), names(folder=target), settings)
            assert (target / "tokenizer.json").is_file() and weights.weight_hash(target) == right
        else:
            with pytest.raises(QuantaError, match=r"family\.csv"):
                script("models/adopt")(names(), names(folder=target), settings)
            assert not target.exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes, 8 bits"),
        ({"quant_method": "gptq", "bits": 4}, "gptq, 4 bits"),
        ({"quant_method": "fp8"}, "fp8"),
    ],
)
def test_quantised_weights_are_refused_with_their_method(tmp_path, settings, words):
    new().save_pretrained(tmp_path)
    weights.check_given(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text()) | {"quantization_config": settings}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(QuantaError, match=rf"config\.json: quantised weights \({words}\)") as caught:
        weights.check_given(tmp_path)
    assert "GGUF" in caught.value.mend


@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn])
def test_weights_of_eight_bits_are_refused_without_a_word_in_the_configuration(tmp_path, kind):
    model = new()
    model.save_pretrained(tmp_path)
    name = "gpt_neox.layers.0.attention.dense.weight"
    tensors = model.state_dict()
    masks = {"gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 99, 99, dtype=torch.uint8)}  # as old versions saved
    save_file(tensors | masks, tmp_path / "model.safetensors", metadata={"format": "pt"})
    weights.check_given(tmp_path)
    save_file(tensors | {name: tensors[name].to(kind)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(QuantaError, match=rf"weights of the type (I8|F8_E4M3) \({name}\)"):
        weights.check_given(tmp_path)


def test_a_shard_that_is_missing_is_named(tmp_path):
    new().save_pretrained(tmp_path, max_shard_size="10KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    weights.check_given(tmp_path)
    shards[1].unlink()
    with pytest.raises(QuantaError, match=rf"no {shards[1].name} \(1 of {len(shards)} files are missing\)"):
        weights.check_given(tmp_path)


def tokenizer_of(*words, special=()):
    """A tokenizer.json of these words, and special tokens behind them."""
    tokens = [{"id": len(words) + i, "content": word, "special": True} for i, word in enumerate(special)]
    return json.dumps({"model": {"vocab": {word: i for i, word in enumerate(words)}}, "added_tokens": tokens})


def test_a_tokenizer_whose_ids_pass_the_embedding_is_refused(tmp_path):
    new().save_pretrained(tmp_path / "a")  # 61 rows
    words = [f"w{i}" for i in range(62)]
    path = tmp_path / "a/tokenizer.json"
    path.write_text(tokenizer_of(*words[:61], special=["<pad>"]))
    weights.check_given(tmp_path / "a")
    path.write_text(tokenizer_of(*words))
    with pytest.raises(QuantaError, match=r"'w61' with the id 61, while the embedding has 61 rows"):
        weights.check_given(tmp_path / "a")
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer/tokenizer.json").write_text(tokenizer_of(*words[:50]))
    weights.check_given(tmp_path / "a", tmp_path / "tokenizer")


@pytest.mark.parametrize(
    ("name", "chat"),
    [
        ("SmolLM2-135M-Instruct.Q4_1", True), ("gemma-3-270m-it", True), ("llama_chat_7b", True), ("gemma-3-270m", False),
        ("italian-gpt", False), ("chatter", False), ("pythia-70m", False),
    ],
)  # fmt: skip
def test_a_chat_model_is_told_by_its_name(tmp_path, name, chat):
    assert (weights.chat_sign(tmp_path, name) is not None) == chat


def test_a_chat_model_is_told_by_the_template_of_its_tokenizer(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": ""}')
    assert weights.chat_sign(tmp_path, "a") is None
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert weights.chat_sign(tmp_path, "a") == "its tokenizer has a chat template"
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    assert weights.of_chat("a", weights.chat_sign(tmp_path, "a")).startswith("a looks like a chat model: its tokenizer")


def test_the_comparison_of_tokenizers_says_which_models_look_like_chat_models(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    output = tmp_path / "tokenizers.json"
    named = json.dumps([["a", "somebody/small"], ["b", "somebody/small-instruct"]])
    script("models/tokenizers")(
        names(folders=[tmp_path / "a", tmp_path / "b"]), names(compared=output), names(named=named)
    )
    (line,) = json.loads(output.read_text())["chat"]
    assert line.startswith("b looks like a chat model: it is named somebody/small-instruct.")


@pytest.mark.parametrize(
    "kind", ["gpt2", "gpt_neox", "llama", "gemma3_text", "qwen2", "opt", "bloom", "mixtral", "falcon", "phi"]
)
def test_headers_count_what_the_loaded_model_has(tmp_path, kind):
    model = tiny(kind)
    model.save_pretrained(tmp_path)
    found = headers.model_of(tmp_path)
    assert found.parameters == pretrained.non_embedding_parameters(model)
    assert (found.width, found.layers, found.rows) == (WIDTH, LAYERS, model.get_input_embeddings().weight.shape[0])


def test_headers_of_no_model_tell_nothing(tmp_path):
    assert headers.model_of(tmp_path) is None
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 8)
    assert headers.model_of(tmp_path) is None


def test_the_family_script_writes_the_table(tmp_path):
    given = [member(tmp_path, "a", 1, new(0)), member(tmp_path, "a", 2, new(1))]
    listed = [{key: m[key] for key in ("model", "step", "revision")} for m in given]
    script("models/family")(
        names(folders=[str(m["folder"]) for m in given], pins=[]),
        names(table=tmp_path / "family.csv"),
        names(members=json.dumps(listed)),
    )
    assert pd.read_csv(tmp_path / "family.csv")["sha256"].tolist() == [weights.weight_hash(m["folder"]) for m in given]
    shutil.rmtree(tmp_path / "a1")


def test_a_model_of_another_size_than_the_table_says_is_refused(tmp_path):
    new().save_pretrained(tmp_path)
    right = pretrained.non_embedding_parameters(new())
    pretrained.check_parameters(tmp_path, right)
    pretrained.check_parameters(tmp_path, None)
    with pytest.raises(QuantaError, match=f"{right:,} non-embedding parameters") as caught:
        pretrained.check_parameters(tmp_path, 18_915_328)
    assert "18,915,328" in caught.value.expected and "models.hub.members" in caught.value.mend


def test_seeds_of_a_size_are_set_beside_each_other():
    family = pd.DataFrame(
        {"model": ["a1", "a2", "b1"], "step": 9, "non_embedding_parameters": [10, 10, 30], "seed": [1, 2, 1]}
    )
    mean = pd.DataFrame(
        {"model": ["a1", "a2", "b1", "a1"], "step": [9, 9, 9, 1], "mean_loss_nats": [3.0, 3.2, 2.0, 7.0]}
    )
    table = between_seeds(mean, family, 9)
    assert table["non_embedding_parameters"].tolist() == [10, 30] and table["n_seeds"].tolist() == [2, 1]
    assert table["mean_loss_nats"].round(9).tolist() == [3.1, 2.0]
    assert (
        abs(table["standard_deviation_nats"][0] - 0.2 / 2**0.5) < 1e-12 and table["standard_deviation_nats"].isna()[1]
    )


def test_weights_that_are_missing_are_named_and_not_made_up(tmp_path):
    from safetensors.torch import load_file, save_file

    new().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    save_file({k: v for k, v in load_file(path).items() if "embed_out" not in k}, path, metadata={"format": "pt"})
    with pytest.raises(QuantaError, match=r"no weights for lm_head\.weight \(1 tensors\)"):
        pretrained.load(tmp_path)


def test_pythias_published_layout_loads_to_the_same_function(tmp_path):
    """float16, the unembedding as `embed_out`, buffers of old versions, the configuration of transformers 4.24."""
    from loopback import published

    model = new(seed=4, width=32).half().float()
    for name, content in published(model).items():
        (tmp_path / name).write_bytes(content)
    loaded = pretrained.load(tmp_path)
    ids = torch.arange(30)[None]
    assert torch.allclose(loaded(input_ids=ids).logits, model(input_ids=ids).logits, atol=1e-5)
    assert pretrained.non_embedding_parameters(pretrained.shape_of(tmp_path)) == pretrained.non_embedding_parameters(
        model
    )
    assert len(weights.weight_hash(tmp_path)) == 64, "scalars among the buffers are hashed, too"
