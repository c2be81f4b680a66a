"""The first block's attention is found by what it does: in every architecture the same layers, whatever their names."""

from typing import Any

import pytest
import torch
from architectures import tiny
from gradients.test_gradients import build
from quanta.errors import QuantaError
from quanta.gradients import parameter_sets
from quanta.gradients.parameter_sets import first_attention
from torch import nn

# by model type: where the layer is, and the weights that it has
LAYERS = {
    "gpt_neox": ("gpt_neox.layers.0.attention", {"query_key_value", "dense"}),
    "llama": ("model.layers.0.self_attn", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "gpt2": ("transformer.h.0.attn", {"c_attn", "c_proj"}),
    "gpt_neo": ("transformer.h.0.attn.attention", {"q_proj", "k_proj", "v_proj", "out_proj"}),
    "qwen2": ("model.layers.0.self_attn", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "qwen3": ("model.layers.0.self_attn", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "gemma2": ("model.layers.0.self_attn", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "opt": ("model.decoder.layers.0.self_attn", {"q_proj", "k_proj", "v_proj", "out_proj"}),
    "bloom": ("transformer.h.0.self_attention", {"query_key_value", "dense"}),
    "falcon": ("transformer.h.0.self_attention", {"query_key_value", "dense"}),
    "mixtral": ("model.layers.0.self_attn", {"q_proj", "k_proj", "v_proj", "o_proj"}),
    "mamba": ("backbone.layers.0.mixer", {"in_proj", "x_proj", "dt_proj", "out_proj"}),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_it_is_the_attention_of_the_first_block(kind: str) -> None:
    model = tiny(kind)
    found, (where, names) = first_attention(model), LAYERS[kind]
    weights = {name for name, p in model.named_parameters() if name.startswith(f"{where}.") and p.ndim == 2}
    matrices = {matrix.name for matrix in found.matrices}
    assert matrices == {f"{where}.{name}.weight" for name in names} <= weights
    modules = {matrix.module for matrix in found.matrices}
    assert {vector.module for vector in found.vectors} <= modules
    assert all(getattr(m, "bias", None) is None or any(v.module is m for v in found.vectors) for m in modules)
    begins = [member.begin for member in found.members]
    assert (
        begins[0] == 0
        and sum(member.size for member in found.members)
        == found.count
        == found.members[-1].begin + found.members[-1].size
    )


def test_names_do_not_matter() -> None:
    """A block whose attention is called what another one calls its wide layer."""
    model = build("neox")
    block = model.gpt_neox.layers[0]
    other = type("Anything", (type(block.attention),), {})
    block.attention.__class__ = other
    expected = [member.module for member in first_attention(model).members]
    assert block.attention.dense in expected and block.mlp.dense_h_to_4h not in expected


class _Flat(nn.Module):
    """A block that reads other tokens by itself, without a part for it."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 16)
        self.attention_type = getattr(block, "attention_type", "full_attention")

    def forward(self, state: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        mean = state.cumsum(1) / torch.arange(1, state.shape[1] + 1)[None, :, None]
        return state + self.linear(mean)


def test_a_block_that_has_no_such_part_is_refused_by_name() -> None:
    model = build("llama with biases")
    model.model.layers[0] = _Flat(model.model.layers[0])
    with pytest.raises(QuantaError, match=r"(?s)model.layers.0: no part .* set qdg.second to standardised"):
        first_attention(model)


def test_looking_leaves_the_model_as_it_was() -> None:
    model = build("neox").train(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert [type(m).__name__ for m in parameter_sets.reads_others(model)] == ["GPTNeoXLayer", "GPTNeoXAttention"]
    assert model.training and not any(m._forward_hooks for m in model.gpt_neox.layers[0].modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
