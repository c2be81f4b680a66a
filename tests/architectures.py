"""Tiny random models of every causal class of the installed transformers, from their configurations, made small by rule."""

import contextlib
import functools
import warnings
from typing import Any

import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

VOCABULARY = 61
LAYERS = 2
HEADS, HEAD = 4, 8
WIDTH = HEADS * HEAD
LARGEST = 20_000_000  # parameters; more means that the rules below missed a size

# what an integer of a configuration is, by its name; the first that is found in the name counts
EXACT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "vocab_size_per_layer_input": VOCABULARY,
    "hidden_size": WIDTH, "d_model": WIDTH, "n_embd": WIDTH, "dim": WIDTH, "emb_dim": WIDTH, "embedding_size": WIDTH,
    "n_embed": WIDTH, "word_embed_proj_dim": WIDTH, "embedding_dim": WIDTH, "model_dim": WIDTH, "output_hidden_size": WIDTH,
    "num_hidden_layers": LAYERS, "n_layer": LAYERS, "n_layers": LAYERS, "num_layers": LAYERS, "decoder_layers": LAYERS,
    "encoder_layers": LAYERS, "num_decoder_layers": LAYERS, "num_encoder_layers": LAYERS,
    "num_attention_heads": HEADS, "n_head": HEADS, "n_heads": HEADS, "num_heads": HEADS, "decoder_attention_heads": HEADS,
    "encoder_attention_heads": HEADS, "num_query_heads": HEADS,
    "num_key_value_heads": 2, "num_global_key_value_heads": 2, "num_kv_heads": 2,
    "head_dim": HEAD, "d_kv": HEAD, "d_head": HEAD, "kv_channels": HEAD, "global_head_dim": HEAD, "attention_head_dim": HEAD,
    "swa_head_dim": HEAD, "v_head_dim": HEAD, "qk_head_dim": HEAD, "qk_nope_head_dim": HEAD // 2, "qk_rope_head_dim": HEAD // 2,
    "intermediate_size": 48, "ffn_dim": 48, "n_inner": 48, "decoder_ffn_dim": 48, "encoder_ffn_dim": 48, "d_ff": 48,
    "dim_ff": 48, "ffn_hidden_size": 48, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
    "mlp_hidden_size": 48, "inner_dim": 48, "feed_forward_size": 48, "block_ff_dim": 48, "intermediate_size_mlp": 48,
    "expert_ffn_hidden_size": 16, "moe_shared_expert_intermediate_size": 16, "shared_intermediate_size": 32,
    "max_position_embeddings": 64, "n_positions": 64, "n_ctx": 64, "context_length": 64, "max_seq_len": 64, "max_length": 64,
    "max_sequence_length": 64, "original_max_position_embeddings": 64, "n_embd_proj": WIDTH,
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "moe_num_experts": 4, "num_experts_per_tok": 2,
    "n_shared_experts": 1, "num_experts_per_token": 2, "n_group": 1, "topk_group": 1, "moe_k": 2, "moe_topk": 2, "top_k_experts": 2,
    "experts_per_token": 2, "num_shared_experts": 1, "zero_expert_num": 1, "ep_size": 1, "n_zero_experts": 1,
    "first_k_dense_replace": 1, "num_nextn_predict_layers": 0, "num_mtp_layers": 0, "mtp_num_hidden_layers": 0,
    "q_lora_rank": 16, "kv_lora_rank": 16, "o_lora_rank": 16, "index_head_dim": HEAD, "index_n_heads": 2, "index_topk": 64,
    "sliding_window": 6, "attention_window": 6, "window_size": 5, "attention_window_size": 6, "attention_chunk_size": 6,
    "state_size": 4, "ssm_state_size": 4, "mamba_d_state": 4, "mamba_d_conv": 4, "mamba_n_heads": HEADS, "mamba_num_heads": HEADS,
    "mamba_head_dim": 2 * WIDTH // HEADS, "mamba_d_head": 2 * WIDTH // HEADS, "mamba_n_groups": 1, "n_groups": 1, "mamba_ngroups": 1,
    "mamba_d_ssm": 2 * WIDTH, "mamba_chunk_size": 8, "chunk_size": 8, "mamba_dt_rank": 4, "time_step_rank": 4, "n_mamba_heads": 1,
    "mamba_headdim": 2 * WIDTH // HEADS, "mamba_intermediate_size": 2 * WIDTH, "mamba_step_rank": 4, "mamba_state_size": 4,
    "linear_num_key_heads": 2, "linear_num_value_heads": HEADS, "linear_key_head_dim": HEAD, "linear_value_head_dim": HEAD,
    "lru_width": WIDTH, "attention_hidden_size": WIDTH, "conv_dim": WIDTH, "block_dim": WIDTH, "conv_L_cache": 3,
    "hidden_size_per_layer_input": 8, "laurel_rank": 4, "num_kv_shared_layers": 0, "altup_num_inputs": 2, "adapter_rank": 4,
    "type_vocab_size": 2, "type_vocabulary_size": 2, "num_buckets": 2, "num_hashes": 1, "block_size": 8, "num_random_blocks": 1,
    "ngram": 2, "prompt_types": 2, "prompt_length": 2, "segment_types": 2, "max_distance": 16, "position_bias_num_buckets": 16,
    "position_bias_max_distance": 32, "conv_kernel": 4, "num_mem_blocks": 1, "num_attention_groups": 2, "n_langs": 1,
    "input_embedding_size": WIDTH, "rotary_dim": 4, "bottleneck_size": 8, "emb_size": WIDTH, "output_embedding_size": WIDTH, "num_groups": 1,
}  # fmt: skip
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "sep_token_id": 2,
           "cls_token_id": 1, "mask_token_id": 3, "forced_eos_token_id": None, "forced_bos_token_id": None, "bos_index": 1,
           "eos_index": 2, "pad_index": 3, "unk_index": 4, "mask_index": 5}  # fmt: skip
INDEXER = {
    "indexer_budget": 64,
    "indexer_compress_ratio": 4,
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": HEAD,
}
# what rules cannot know of a class; a dot leads into a configuration within
OWN: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "reformer": {"attn_layers": ["local", "local"], "axial_pos_shape": (8, 8), "axial_pos_embds_dim": (8, 24), "is_decoder": True,
                 "local_attn_chunk_length": 8, "pad_token_id": 3},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "ctrl": {"dff": 48},
    "mamba2": {"head_dim": 2 * WIDTH // HEADS},
    "cpmant": {"prompt_types": 4, "prompt_length": 4, "segment_types": 4},
    "bailing_hybrid": {"n_group": 1, "num_experts_per_tok": 2},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "dbrx": {"attn_config.rope_theta": 10000.0, "attn_config.clip_qkv": 8.0},
    "deepseek_v4": {"head_dim": 32, "o_groups": 2},
    "qwen4_exp": {f"text_config.{name}": value for name, value in INDEXER.items()},
    "qwen4_exp_text": INDEXER,
    "hrm_text": {"num_layers_per_stack": 1, "num_hidden_layers": 8},
    "blt": {"encoder_hash_byte_group_vocab": 101},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128, "num_heads": 2, "num_blocks": LAYERS},
    "dory": {"n_input_layers": 1, "n_recurrent_layers": 1, "n_output_layers": 1, "num_hidden_layers": 3,
             "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    "zamba": {"attention_hidden_size": 2 * WIDTH, "attention_head_dim": 2 * HEAD, "num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "bamba": {"attn_layer_indices": [1]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    "cohere_compass_text": {"layer_types": ["full_attention"] * 2,
                            "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "xlm": {"causal": True},
    "flaubert": {"causal": True},
    "prophetnet": {"pad_token_id": 3},
    "zamba2": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2, "hybrid_layer_ids": [1, 3],
               "mamba_headdim": 2 * WIDTH // HEADS, "n_mamba_heads": HEADS, "attention_head_dim": 2 * HEAD,
               "attention_hidden_size": 2 * WIDTH},
}  # fmt: skip
# bidirectional as they come, decoders where their configuration says so
DECODERS = {"is_decoder": True}


def kinds() -> list[str]:
    """Model types that `AutoModelForCausalLM` maps, in alphabetical order."""
    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def _shrink(config: Any) -> None:
    """Make the sizes of a configuration small, in place, and of those within it."""
    for name, value in list(vars(config).items()):
        if isinstance(value, transformers.PreTrainedConfig):
            _shrink(value)
            continue
        if name.startswith("_") or name in ("transformers_version", "dtype", "model_type"):
            continue
        if name in SPECIAL:
            with contextlib.suppress(Exception):
                setattr(config, name, SPECIAL[name])
        elif name == "pad_token_id" and value is not None:
            config.pad_token_id = 3
        elif name in EXACT and isinstance(value, int | None) and not isinstance(value, bool):
            if value is None and name not in ("head_dim", "num_key_value_heads"):
                continue
            if value == 0 and name not in ("rotary_dim",):
                continue
            with contextlib.suppress(Exception):
                setattr(config, name, EXACT[name])
        elif name in (
            "layer_types",
            "layers_block_type",
            "mlp_layer_types",
            "hybrid_override_pattern",
            "block_types",
        ) and isinstance(value, list):
            different = list(dict.fromkeys(value))
            with contextlib.suppress(Exception):
                setattr(
                    config, name, (different * LAYERS)[:LAYERS] if len(different) <= LAYERS else different[-LAYERS:]
                )
        elif isinstance(value, list) and len(value) > 6 and len(set(map(str, value))) <= 4:
            with contextlib.suppress(Exception):
                setattr(config, name, value[:LAYERS])
    if getattr(config, "qk_rope_head_dim", None) and hasattr(config, "head_dim"):
        config.head_dim = config.qk_rope_head_dim  # of the rotary tables
    if getattr(config, "qk_rope_head_dim", None):
        config.num_key_value_heads = HEADS


def tiny(kind: str, *, decoder: bool = True, seed: int = 0, **changes: Any) -> Any:
    """A small random model of a model type; no bias is zero and no norm's weight is one."""
    config_class = transformers.AutoConfig.for_model(kind).__class__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = config_class()
        config = config.get_text_config() if kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES else config
        _shrink(config)
        settings = dict(OWN.get(kind, {})) | changes
        if decoder and hasattr(config, "is_decoder"):
            settings = DECODERS | settings
        for name, value in settings.items():
            *within, last = name.split(".")
            setattr(functools.reduce(getattr, within, config), last, value)
        with torch.device("meta"):
            size = sum(p.numel() for p in transformers.AutoModelForCausalLM.from_config(config).parameters())
        if size > LARGEST:
            raise ValueError(f"{size:,} parameters after shrinking")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation=None).eval()
            for parameter in model.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
    return model
