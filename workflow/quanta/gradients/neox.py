"""Forward and backward of GPT-NeoX (Pythia) by hand: no more work than single-token gradients need.

Against autograd over the whole model it saves: in the last block only keys and values are computed at every position,
all else at the targets; nothing flows below the first block's Linear layers; targets of one document share its forward,
and each is cut at its own position on the way back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import nn
from transformers import GPTNeoXForCausalLM, PreTrainedModel

GELU = {"gelu": "none", "gelu_new": "tanh", "gelu_fast": "tanh", "gelu_pytorch_tanh": "tanh"}


def supports(model: PreTrainedModel) -> bool:
    """True for GPT-NeoX with an activation from the GELU family and ordinary rotary tables."""
    if type(model) is not GPTNeoXForCausalLM:
        return False
    config: Any = model.config
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.hidden_act in GELU
        and rope.get("rope_type", "default") == "default"
        and all(
            type(m) in (nn.Linear, nn.LayerNorm) or not list(m.parameters(recurse=False))
            for m in model.gpt_neox.layers.modules()
        )
    )


class Taker(Protocol):
    """What becomes of the gradients on the way back."""

    def wants(self, module: nn.Module) -> bool:
        """Whether a norm's gradient is asked for."""

    def linear(self, module: nn.Module, left: torch.Tensor, right: torch.Tensor) -> None:
        """A Linear layer's output gradient (sample, position, out) and input (sample, position, in)."""

    def norm(self, module: nn.Module, left: torch.Tensor, right: torch.Tensor) -> None:
        """A norm's output gradient and what its weight multiplies, both (sample, position, width)."""


@dataclass
class _Norm:
    """Layer norm with what its backward needs."""

    module: nn.LayerNorm
    x: torch.Tensor
    out: torch.Tensor
    mean: torch.Tensor
    rstd: torch.Tensor

    @classmethod
    def forward(cls, module: nn.LayerNorm, x: torch.Tensor) -> "_Norm":
        out, mean, rstd = torch.native_layer_norm(
            x, list(module.normalized_shape), module.weight, module.bias, module.eps
        )
        return cls(module, x, out, mean, rstd)

    def cut(self, pick: Callable[[torch.Tensor], torch.Tensor]) -> "_Norm":
        return _Norm(self.module, *(pick(t) for t in (self.x, self.out, self.mean, self.rstd)))

    def backward(self, gradient: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = torch.ops.aten.native_layer_norm_backward(
            gradient.contiguous(),
            self.x.contiguous(),
            list(self.module.normalized_shape),
            self.mean,
            self.rstd,
            self.module.weight,
            self.module.bias,
            [True, False, False],
        )[0]
        return found

    @property
    def normalised(self) -> torch.Tensor:
        """x̂, by which the weight is multiplied."""
        return (self.x - self.mean) * self.rstd


@dataclass
class _Block:
    """What one block's forward leaves for its backward; (document, position, …)."""

    norm1: _Norm
    norm2: _Norm
    qkv: torch.Tensor
    attended: torch.Tensor
    up: torch.Tensor
    active: torch.Tensor


@dataclass
class Forward:
    """Activations of a batch of documents: all blocks but the last, and the last one's input."""

    blocks: list[_Block]
    x: torch.Tensor
    cos: torch.Tensor
    sin: torch.Tensor


class Neox:
    """Gradients of a GPT-NeoX model in one precision; weights are cast once."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        self.model = cast(GPTNeoXForCausalLM, model)
        self.dtype = dtype
        config: Any = model.config
        self.heads = config.num_attention_heads
        self.parallel = config.use_parallel_residual
        self.gelu = GELU[config.hidden_act]
        self.layers: list[Any] = list(self.model.gpt_neox.layers)
        self.cast: dict[int, tuple[torch.Tensor, torch.Tensor | None]] = {}
        for module in [m for m in self.model.gpt_neox.layers.modules() if isinstance(m, nn.Linear)]:
            own = None if module.bias is None else module.bias.detach().to(dtype)
            self.cast[id(module)] = (module.weight.detach().to(dtype), own)
        unembed = self.model.lm_head
        self.unembed = unembed.weight.detach().to(dtype)
        self.unembed_bias = None if unembed.bias is None else unembed.bias.detach().to(dtype)
        # rows of query, key, value are interleaved by head: the last block wants query apart
        weight, bias = self.cast[id(self.layers[-1].attention.query_key_value)]
        split = weight.view(self.heads, 3, -1, weight.shape[1])
        self.last_q, self.last_kv = split[:, 0].flatten(0, 1), split[:, 1:].flatten(0, 2)
        self.last_bq: torch.Tensor | None = None
        self.last_bkv: torch.Tensor | None = None
        if bias is not None:
            self.last_bq = bias.view(self.heads, 3, -1)[:, 0].flatten()
            self.last_bkv = bias.view(self.heads, 3, -1)[:, 1:].flatten()

    def _linear(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x.to(self.dtype), *self.cast[id(module)])

    def _back(self, module: nn.Module, gradient: torch.Tensor) -> torch.Tensor:
        """Gradient of a Linear layer's input."""
        return torch.matmul(gradient.to(self.dtype), self.cast[id(module)][0])

    def _rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Rotary positions on the first features of each head; x is (document, head, position, feature)."""
        n = cos.shape[-1]
        turned, rest = x[..., :n], x[..., n:]
        half = torch.cat((-turned[..., n // 2 :], turned[..., : n // 2]), dim=-1)
        return torch.cat((turned * cos.to(x.dtype) + half * sin.to(x.dtype), rest), dim=-1)

    def _attention(self, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """Causal attention on (document, position, 3·width)."""
        documents, positions, _ = qkv.shape
        q, k, v = qkv.view(documents, positions, self.heads, -1).transpose(1, 2).chunk(3, dim=-1)
        cos, sin = cos[:, None], sin[:, None]
        out = nn.functional.scaled_dot_product_attention(
            self._rotate(q, cos, sin), self._rotate(k, cos, sin), v, is_causal=True
        )
        return out.transpose(1, 2).reshape(documents, positions, -1)

    def _attend(self, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.enable_grad():
            leaf = qkv.detach().requires_grad_(True)
            return leaf, self._attention(leaf, cos, sin)

    @torch.no_grad()
    def forward(self, ids: torch.Tensor, *, keep_graph: bool) -> Forward:
        """Activations of documents (document, position). Without `keep_graph`, attention is computed again on the way back."""
        base: Any = self.model.gpt_neox
        x = base.embed_in(ids).float()
        place = torch.arange(ids.shape[1], device=ids.device)[None]
        cos, sin = base.rotary_emb(x, position_ids=place)
        done = []
        for layer in self.layers[:-1]:
            norm1 = _Norm.forward(layer.input_layernorm, x)
            qkv = self._linear(layer.attention.query_key_value, norm1.out)
            if keep_graph:
                qkv, attended = self._attend(qkv, cos, sin)
            else:
                attended = self._attention(qkv, cos, sin)
            heads_out = self._linear(layer.attention.dense, attended.detach())
            middle = x if self.parallel else x + heads_out
            norm2 = _Norm.forward(layer.post_attention_layernorm, middle)
            up = self._linear(layer.mlp.dense_h_to_4h, norm2.out)
            active = nn.functional.gelu(up, approximate=self.gelu)
            x = x + heads_out + self._linear(layer.mlp.dense_4h_to_h, active)
            done.append(_Block(norm1, norm2, qkv, attended, up, active))
        return Forward(done, x, cos, sin)

    @torch.no_grad()
    def states(self, ids: torch.Tensor, rows: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
        """Normed states (sample, width) that the unembedding takes, of documents `rows` at input position `last`; nothing is kept.

        In the last block only keys and values are computed at every position.
        """
        base: Any = self.model.gpt_neox
        x = base.embed_in(ids).float()
        cos, sin = base.rotary_emb(x, position_ids=torch.arange(ids.shape[1], device=ids.device)[None])
        for layer in self.layers[:-1]:
            qkv = self._linear(layer.attention.query_key_value, layer.input_layernorm(x))
            x = self._after(layer, x, self._attention(qkv, cos, sin))
        layer = self.layers[-1]
        entry = layer.input_layernorm(x).to(self.dtype)
        query = nn.functional.linear(entry[rows, last], self.last_q, self.last_bq).view(len(rows), self.heads, 1, -1)
        kv = nn.functional.linear(entry, self.last_kv, self.last_bkv)
        key, value = kv.view(*entry.shape[:2], self.heads, -1).transpose(1, 2).chunk(2, dim=-1)
        query = self._rotate(query, cos[0, last][:, None, None], sin[0, last][:, None, None])
        past = (torch.arange(ids.shape[1], device=ids.device) <= last[:, None])[:, None, None]
        key = self._rotate(key, cos[:, None], sin[:, None])
        attended = nn.functional.scaled_dot_product_attention(query, key[rows], value[rows], attn_mask=past)
        found: torch.Tensor = base.final_layer_norm(self._after(layer, x[rows, last], attended.reshape(len(rows), -1)))
        return found

    def _after(self, layer: Any, x: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """What a block makes of its input x and of its heads' outputs, both (…, width)."""
        heads_out = self._linear(layer.attention.dense, attended)
        up = self._linear(
            layer.mlp.dense_h_to_4h, layer.post_attention_layernorm(x if self.parallel else x + heads_out)
        )
        return x + heads_out + self._linear(layer.mlp.dense_4h_to_h, nn.functional.gelu(up, approximate=self.gelu))

    @torch.no_grad()
    def backward(
        self, forward: Forward, rows: torch.Tensor | None, last: torch.Tensor, targets: torch.Tensor, taker: Taker
    ) -> torch.Tensor:
        """Losses in nats (sample,) of documents `rows` at input position `last`, whose next token is `targets`.

        Gradients go to `taker`. `rows` None means each document of `forward` once, in order, with its graph kept.
        """
        length = forward.x.shape[1] if rows is None else int(last.max()) + 1

        def pick(t: torch.Tensor) -> torch.Tensor:
            return t if rows is None else t[rows, :length]

        cos, sin = forward.cos[:, :length], forward.sin[:, :length]
        loss, g = self._last_block(pick(forward.x), cos, sin, last, targets, taker)
        for index in range(len(self.layers) - 2, -1, -1):
            layer, kept = self.layers[index], forward.blocks[index]
            up, down, dense = layer.mlp.dense_h_to_4h, layer.mlp.dense_4h_to_h, layer.attention.dense
            norm1, norm2 = kept.norm1.cut(pick), kept.norm2.cut(pick)
            # nothing is wanted below the first block, unless its norms are
            below1 = index > 0 or taker.wants(norm1.module)
            below2 = index > 0 or not self.parallel or taker.wants(norm2.module)
            g_low = g.to(self.dtype)
            taker.linear(down, g_low, pick(kept.active))
            d_up = torch.ops.aten.gelu_backward(self._back(down, g_low), pick(kept.up), approximate=self.gelu)
            taker.linear(up, d_up, norm2.out.to(self.dtype))
            through2 = self._through(norm2, self._back(up, d_up), taker) if below2 else None
            d_heads = g
            if not self.parallel:
                assert through2 is not None
                d_heads = g + through2
                g_low = d_heads.to(self.dtype)
            leaf, attended = (kept.qkv, kept.attended) if rows is None else self._attend(pick(kept.qkv), cos, sin)
            taker.linear(dense, g_low, attended.detach())
            (d_qkv,) = torch.autograd.grad(attended, leaf, self._back(dense, g_low))
            taker.linear(layer.attention.query_key_value, d_qkv, norm1.out.to(self.dtype))
            if below1:
                through1 = self._through(norm1, self._back(layer.attention.query_key_value, d_qkv), taker)
                g = d_heads + through1
                if self.parallel and through2 is not None:
                    g += through2
        return loss

    def _through(self, norm: _Norm, gradient: torch.Tensor, taker: Taker) -> torch.Tensor:
        gradient = gradient.float()
        if taker.wants(norm.module):
            taker.norm(norm.module, gradient, norm.normalised)
        return norm.backward(gradient)

    def _last_block(
        self,
        x: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        last: torch.Tensor,
        targets: torch.Tensor,
        taker: Taker,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Losses, and the gradient of the last block's input x (sample, position, width)."""
        layer, base = self.layers[-1], cast(Any, self.model.gpt_neox)
        attention, up, down = layer.attention, layer.mlp.dense_h_to_4h, layer.mlp.dense_4h_to_h
        samples, length, width = x.shape
        at = (torch.arange(samples, device=x.device), last)

        norm1 = _Norm.forward(layer.input_layernorm, x)
        entry = norm1.out.to(self.dtype)
        with torch.enable_grad():
            q = nn.functional.linear(entry[at], self.last_q, self.last_bq).requires_grad_(True)
            kv = nn.functional.linear(entry, self.last_kv, self.last_bkv).requires_grad_(True)
            query = self._rotate(
                q.view(samples, self.heads, 1, -1), cos[0, last][:, None, None], sin[0, last][:, None, None]
            )
            key, value = kv.view(samples, length, self.heads, -1).transpose(1, 2).chunk(2, dim=-1)
            score = (query.float() @ self._rotate(key, cos[:, None], sin[:, None]).float().transpose(2, 3)).squeeze(2)
            future = torch.arange(length, device=x.device) > last[:, None]
            score = (score * q.view(samples, self.heads, -1).shape[-1] ** -0.5).masked_fill(future[:, None], -torch.inf)
            attended = (score.softmax(-1).to(self.dtype).unsqueeze(2) @ value).reshape(samples, width)
        x_at = x[at]
        heads_out = self._linear(attention.dense, attended.detach())
        norm2 = _Norm.forward(layer.post_attention_layernorm, x_at if self.parallel else x_at + heads_out)
        inner = self._linear(up, norm2.out)
        active = nn.functional.gelu(inner, approximate=self.gelu)
        final = _Norm.forward(base.final_layer_norm, x_at + heads_out + self._linear(down, active))
        with torch.enable_grad():
            state = final.out.detach().requires_grad_(True)
            logits = nn.functional.linear(state.to(self.dtype), self.unembed, self.unembed_bias)
            loss = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
            (d_state,) = torch.autograd.grad(loss.sum(), state)

        g = self._through_rows(final, d_state, taker)
        g_low = g.to(self.dtype)
        taker.linear(down, g_low[:, None], active[:, None])
        d_up = torch.ops.aten.gelu_backward(self._back(down, g_low), inner, approximate=self.gelu)
        taker.linear(up, d_up[:, None], norm2.out.to(self.dtype)[:, None])
        through2 = self._through_rows(norm2, self._back(up, d_up), taker)
        d_heads = g if self.parallel else g + through2
        taker.linear(attention.dense, d_heads.to(self.dtype)[:, None], attended.detach()[:, None])
        d_q, d_kv = torch.autograd.grad(attended, (q, kv), self._back(attention.dense, d_heads))
        d_qkv = torch.zeros(samples, length, self.heads, 3, width // self.heads, dtype=self.dtype, device=x.device)
        d_qkv[:, :, :, 1:] = d_kv.view(samples, length, self.heads, 2, -1)
        d_qkv[(*at, slice(None), 0)] = d_q.view(samples, self.heads, -1)
        taker.linear(attention.query_key_value, d_qkv.flatten(2), entry)
        if len(self.layers) == 1 and not taker.wants(norm1.module):
            return loss.detach(), x
        d_norm1 = torch.matmul(d_kv, self.last_kv)
        d_norm1[at] += torch.matmul(d_q, self.last_q)
        d_x = self._through(norm1, d_norm1, taker)
        d_x[at] += d_heads + through2 if self.parallel else d_heads
        return loss.detach(), d_x

    def _through_rows(self, norm: _Norm, gradient: torch.Tensor, taker: Taker) -> torch.Tensor:
        """`_through` at one position a sample, (sample, width)."""
        gradient = gradient.float()
        if taker.wants(norm.module):
            taker.norm(norm.module, gradient[:, None], norm.normalised[:, None])
        return norm.backward(gradient)
