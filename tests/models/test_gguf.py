"""Models as GGUF files: read by transformers, written as safetensors, their quantisation on record."""

import json

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from quanta.errors import QuantaError
from quanta.models import gguf, pretrained, weights
from support import names, script
from transformers import LlamaConfig, LlamaForCausalLM

VOCABULARY, WIDTH = 64, 32
TOKENS = ["<|endoftext|>", *(chr(33 + i) for i in range(VOCABULARY - 3)), "Ġ", "AB"]
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def small_llama():
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    return LlamaForCausalLM(config).eval()


def permuted(weight, heads=2):
    """As llama.cpp orders the rows of queries and keys."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(path, model, kind=GGMLQuantizationType.Q8_0):
    """A file as llama.cpp writes it, matrices quantised."""
    writer = GGUFWriter(path, "llama")
    config = model.config
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(TOKENS)
    writer.add_token_merges(["A B"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, tensor in model.state_dict().items():
        value = tensor.numpy().astype(np.float32)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            value = permuted(value)
        parts = name.split(".")
        if parts[1] == "layers":
            own = f"blk.{parts[2]}.{NAMES['.'.join(parts[3:-1])]}.weight"
        else:
            own = {"embed_tokens": "token_embd", "norm": "output_norm"}.get(parts[1], "output") + ".weight"
        if value.ndim == 1:
            writer.add_tensor(own, value)
        else:
            writer.add_tensor(own, quantize(value, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def adopt(source, target, sha256=None):
    target.parent.mkdir(parents=True)
    script("models/adopt")(
        names(), names(folder=target), names(path=str(source.parent), only_step=0, sha256=sha256, files=None)
    )


@pytest.fixture
def packed(tmp_path):
    model = small_llama()
    folder = tmp_path / "given/llama"
    folder.mkdir(parents=True)
    write_gguf(folder / "llama.gguf", model)
    return folder, model


def test_a_gguf_file_becomes_a_folder_of_safetensors_with_its_quantisation_on_record(packed, tmp_path):
    folder, model = packed
    target = tmp_path / "run/llama/step0"
    adopt(folder, target)
    record = json.loads((target / gguf.RECORD).read_text())
    assert record["tensors"] == {"F32": 5, "Q8_0": 16} and record["file"] == "llama.gguf"
    loaded = pretrained.load(target)
    assert all(parameter.dtype == torch.float32 for parameter in loaded.parameters())
    for name, value in model.state_dict().items():
        found = loaded.state_dict()[name]
        assert (found - value).abs().max() <= value.abs().max() / 127, name
    ids = torch.arange(1, 20)[None]
    assert (loaded(input_ids=ids).logits - model(input_ids=ids).logits).abs().max() < 0.02
    assert (target / "tokenizer.json").is_file()


def test_the_familys_table_says_how_weights_were_stored(packed, tmp_path, model_folder):
    target = tmp_path / "run/llama/step0"
    adopt(packed[0], target)
    members = [{"model": "llama", "step": 0, "revision": "folder", "folder": target}]
    table = pretrained.family_table([*members, {"model": "neox", "step": 0, "revision": "", "folder": model_folder}])
    stored = table.set_index("model")["quantisation"]
    assert stored["llama"] == "5 F32, 16 Q8_0" and stored["neox"] == ""
    assert "quantisation" not in pretrained.family_table([{**members[0], "folder": model_folder}])


def test_a_type_that_cannot_be_dequantised_is_refused_by_name(tmp_path):
    writer = GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_tensor("output.weight", np.zeros((4, 18), np.uint8), raw_dtype=GGMLQuantizationType.Q1_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(QuantaError, match=r"a\.gguf: weights of the type Q1_0 \(output\.weight\)"):
        gguf.quantisation(tmp_path / "a.gguf")


def test_what_is_no_gguf_is_named(tmp_path):
    (tmp_path / "a.gguf").write_bytes(b"GGUF" + bytes(3))
    with pytest.raises(QuantaError, match=r"a\.gguf: cannot be read"):
        gguf.quantisation(tmp_path / "a.gguf")


def test_two_files_in_one_folder_are_refused(packed):
    folder, _ = packed
    (folder / "b.gguf").write_bytes(b"")
    with pytest.raises(QuantaError, match=r"2 GGUF files: b\.gguf, llama\.gguf"):
        weights.gguf_file(folder)


def test_without_the_packages_the_mend_names_them(monkeypatch):
    monkeypatch.setattr(gguf, "PACKAGES", ("absent_one", "numpy"))
    with pytest.raises(QuantaError, match="no package absent_one") as caught:
        gguf.check_packages()
    assert "pip install absent_one" in caught.value.mend


def test_a_change_of_the_file_is_noticed(packed):
    folder, _ = packed
    (before,) = [one for one in weights.files_given(folder, 0, only_step=0) if one[0].endswith("llama.gguf")]
    assert before[1] == (folder / "llama.gguf").stat().st_size
    (folder / "llama.gguf").write_bytes(b"another")
    assert before not in weights.files_given(folder, 0, only_step=0)
