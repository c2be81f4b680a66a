"""Tiny models as GGUF files, written as llama.cpp writes them."""

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
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


def write_gguf(path, model, kind=GGMLQuantizationType.Q8_0, tokens=TOKENS, template=None):
    """A file as llama.cpp writes it, matrices quantised."""
    writer = GGUFWriter(path, "llama")
    if template:
        writer.add_chat_template(template)
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
    writer.add_token_list(tokens)
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


def unknown_type(path):
    """A file whose one matrix has a type that no package dequantises."""
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("output.weight", np.zeros((4, 18), np.uint8), raw_dtype=GGMLQuantizationType.Q1_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
