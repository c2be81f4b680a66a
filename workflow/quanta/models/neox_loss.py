"""The training loss of a GPT-NeoX model with a backward pass written by hand: the same function, fewer passes over memory.

Small models spend their time on moving activations, not on products. So a block keeps only what its own backward pass
needs; both layer norms of a parallel block share one normalisation (their gains go into the weights); attention leaves
out blocks of pairs that the causal mask hides, is exponentiated in place and normalised after the product with the
values; cross-entropy is taken in chunks whose logits are never all there.
"""

from typing import Any

import torch
from torch.nn.functional import embedding, gelu
from transformers import GPTNeoXForCausalLM

from quanta.errors import QuantaError

BLOCK = 128  # query positions that share one rectangle of keys
CHUNK = 512  # predictions whose logits are there at once


def loss(model: GPTNeoXForCausalLM, ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Mean cross-entropy (nats) of the predictions of `ids` (batch, context), with a graph to every parameter.

    Products and activations are of `dtype`, the stream between blocks, norms and sums are float32.

    Raises:
        QuantaError: the model is no GPT-NeoX of the kind that is trained here (see `check`).
    """
    check(model)
    body: Any = model.gpt_neox
    config: Any = model.config
    batch, length = ids.shape[0], ids.shape[1] - 1
    shape = (batch, length, config.num_attention_heads)
    width = config.hidden_size // config.num_attention_heads
    turned = int(width * config.rope_parameters["partial_rotary_factor"])
    turn = _turn(length, turned, config.rope_parameters["rope_theta"], dtype, ids.device)
    scale = torch.ones(config.num_attention_heads, 3, width, device=ids.device)
    scale[:, 0] = width**-0.5  # on the rows of the queries
    scale = scale.reshape(-1)
    x = embedding(ids[:, :-1].reshape(-1), body.embed_in.weight)
    for layer in body.layers:
        attention, mlp = layer.attention, layer.mlp
        into_heads = _with_norm(attention.query_key_value, layer.input_layernorm, dtype, scale)
        up = _with_norm(mlp.dense_h_to_4h, layer.post_attention_layernorm, dtype)
        out = attention.dense.weight.to(dtype), mlp.dense_4h_to_h.weight.to(dtype)
        bias = attention.dense.bias + mlp.dense_4h_to_h.bias
        x = _Block.apply(x, *into_heads, *up, *out, bias, turn, shape, config.layer_norm_eps)  # type: ignore[no-untyped-call]
    norm = body.final_layer_norm
    x = torch.nn.functional.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps).to(dtype)
    total: torch.Tensor = _CrossEntropy.apply(x, model.lm_head.weight.to(dtype), ids[:, 1:].reshape(-1))  # type: ignore[no-untyped-call]
    return total


def check(model: GPTNeoXForCausalLM) -> None:
    """Refuse a model whose forward pass is not the one written here.

    Raises:
        QuantaError: no parallel residual, no biases, dropout, another activation or scaled rotary embeddings.
    """
    config: Any = model.config
    found = {
        "use_parallel_residual": config.use_parallel_residual,
        "attention_bias": config.attention_bias,
        "hidden_act": config.hidden_act,
        "hidden_dropout": config.hidden_dropout,
        "attention_dropout": config.attention_dropout,
        "rope_type": config.rope_parameters["rope_type"],
    }
    wanted = {
        "use_parallel_residual": True,
        "attention_bias": True,
        "hidden_act": "gelu",
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "rope_type": "default",
    }
    if found != wanted:
        raise QuantaError("a model to be trained", f"{found}", f"{wanted}", "train a model made by models.new_model")


def _with_norm(
    linear: Any, norm: Any, dtype: torch.dtype, scale: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a linear layer that takes in the layer norm's gain and shift, so that x̂ alone goes in."""
    weight, bias = linear.weight * norm.weight, linear.bias + linear.weight @ norm.bias
    if scale is not None:
        weight, bias = weight * scale[:, None], bias * scale
    return weight.to(dtype), bias.to(dtype)


Turn = tuple[torch.Tensor, torch.Tensor]


def _turn(length: int, turned: int, base: float, dtype: torch.dtype, device: torch.device) -> Turn:
    """Cosine and sine (position, turned / 2) of the rotary embedding."""
    frequency = base ** (-torch.arange(0, turned, 2, device=device, dtype=torch.float32) / turned)
    angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * frequency
    return angle.cos().to(dtype), angle.sin().to(dtype)


def _rotate(x: torch.Tensor, turn: Turn, direction: int = 1) -> None:
    """Turn the first channels of x (…, position, channel) in place; by the opposite angle with direction −1."""
    cos, sin = turn
    half = cos.shape[1]
    first, second = x[..., :half], x[..., half : 2 * half]
    moved = second * sin if direction > 0 else -second * sin
    back = first * sin if direction > 0 else -first * sin
    torch.sub(first * cos, moved, out=first)
    torch.add(second * cos, back, out=second)


class _Block(torch.autograd.Function):
    """x + attention(x̂) + MLP(x̂): rows are (sequence, position), columns channels."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        heads_weight: torch.Tensor,
        heads_bias: torch.Tensor,
        up_weight: torch.Tensor,
        up_bias: torch.Tensor,
        mix_weight: torch.Tensor,
        down_weight: torch.Tensor,
        bias: torch.Tensor,
        turn: Turn,
        shape: tuple[int, int, int],
        eps: float,
    ) -> torch.Tensor:
        batch, length, heads = shape
        normed, mean, rstd = torch.native_layer_norm(x, x.shape[-1:], None, None, eps)
        normed = normed.to(heads_weight.dtype)
        # (query/key/value, sequence, head, position, channel)
        qkv = torch.addmm(heads_bias, normed, heads_weight.t()).view(batch, length, heads, 3, -1)
        queries_keys = qkv[:, :, :, :2].permute(3, 0, 2, 1, 4).contiguous()
        _rotate(queries_keys, turn)
        query, key = queries_keys.view(2, batch * heads, length, -1)
        # a last channel of ones sums the weights of a query while they are multiplied with the values
        value = query.new_ones(batch, heads, length, query.shape[-1] + 1)
        value[..., :-1] = qkv[:, :, :, 2].permute(0, 2, 1, 3)
        value = value.view(batch * heads, length, -1)
        later = query.new_full((BLOCK, BLOCK), float("-inf")).triu_(1)
        mixed, weights = torch.empty_like(value), []
        for start in range(0, length, BLOCK):
            end = min(start + BLOCK, length)
            scores = torch.bmm(query[:, start:end], key[:, :end].transpose(1, 2))
            scores[:, :, start:] += later[: end - start, : end - start]
            weights.append(scores.sub_(scores.amax(-1, keepdim=True)).exp_())
            mixed[:, start:end] = torch.bmm(weights[-1], value[:, :end])
        sums = mixed[..., -1:].float()
        attended = (mixed[..., :-1] / sums).to(query.dtype)
        attended = attended.view(batch, heads, length, -1).transpose(1, 2).reshape(batch * length, -1)
        hidden = torch.addmm(up_bias, normed, up_weight.t())
        active = gelu(hidden)
        out = torch.mm(active, down_weight.t()).addmm_(attended, mix_weight.t())
        ctx.save_for_backward(
            x, mean, rstd, normed, query, key, value, sums, attended, hidden, active,
            heads_weight, up_weight, mix_weight, down_weight, *turn, *weights,
        )  # fmt: skip
        ctx.shape = shape
        return torch.add(x, out).add_(bias)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        batch, length, heads = ctx.shape
        (
            x, mean, rstd, normed, query, key, value, sums, attended, hidden, active,
            heads_weight, up_weight, mix_weight, down_weight, cos, sin, *weights,
        ) = ctx.saved_tensors  # fmt: skip
        low = gradient.to(query.dtype)
        d_hidden = torch.ops.aten.gelu_backward(torch.mm(low, down_weight), hidden)
        d_attended = torch.mm(low, mix_weight)
        # softmax: dS = P ∘ (dP − rowsum(dO ∘ O)); the row's sum goes in as the product with the values' channel of ones
        split = (batch, length, heads, query.shape[-1])
        along = (d_attended.float() * attended).view(split).sum(-1, keepdim=True).transpose(1, 2)
        d_mixed = torch.cat([d_attended.view(split).transpose(1, 2), -along], -1).view(batch * heads, length, -1)
        d_mixed = (d_mixed / sums).to(query.dtype)
        d_qkv = query.new_empty(batch, length, heads, 3, query.shape[-1])
        d_queries_keys = query.new_zeros(2, *query.shape)
        d_query, d_key = d_queries_keys
        d_value = torch.zeros_like(query)
        for start, weight in zip(range(0, length, BLOCK), weights, strict=True):
            end = start + weight.shape[1]
            d_scores = torch.bmm(d_mixed[:, start:end], value[:, :end].transpose(1, 2)).mul_(weight)
            d_value[:, :end] += torch.bmm(weight.transpose(1, 2), d_mixed[:, start:end, :-1])
            d_query[:, start:end] = torch.bmm(d_scores, key[:, :end])
            d_key[:, :end] += torch.bmm(d_scores.transpose(1, 2), query[:, start:end])
        _rotate(d_queries_keys, (cos, sin), -1)
        d_qkv[:, :, :, :2] = d_queries_keys.view(2, batch, heads, length, -1).permute(1, 3, 2, 0, 4)
        d_qkv[:, :, :, 2] = d_value.view(batch, heads, length, -1).transpose(1, 2)
        rows = d_qkv.view(batch * length, -1)
        d_normed = torch.mm(rows, heads_weight).addmm_(d_hidden, up_weight).float()
        d_x = torch.ops.aten.native_layer_norm_backward(
            d_normed, x, x.shape[-1:], mean, rstd, None, None, [True, False, False]
        )[0].add_(gradient)
        return (
            d_x,
            torch.mm(rows.t(), normed),
            rows.sum(0),
            torch.mm(d_hidden.t(), normed),
            d_hidden.sum(0),
            torch.mm(low.t(), attended),
            torch.mm(low.t(), active),
            gradient.sum(0),
            None,
            None,
            None,
        )


class _CrossEntropy(torch.autograd.Function):
    """Mean of −log softmax(x Uᵀ)[target], whose gradients are taken on the way forward, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, unembedding: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = x.new_zeros((), dtype=torch.float32)
        d_x = torch.empty_like(x)
        d_unembedding = torch.zeros_like(unembedding, dtype=torch.float32)
        for start in range(0, len(x), CHUNK):
            part, target = x[start : start + CHUNK], targets[start : start + CHUNK, None]
            shares = torch.softmax(torch.mm(part, unembedding.t()), -1, dtype=torch.float32)
            at_target = shares.gather(1, target)
            total -= at_target.clamp_min(1e-38).log().sum()
            shares.scatter_(1, target, at_target - 1)
            d_logits = shares.to(x.dtype)
            torch.mm(d_logits, unembedding, out=d_x[start : start + CHUNK])
            d_unembedding += torch.mm(d_logits.t(), part)
        ctx.save_for_backward(d_x, d_unembedding)
        ctx.count = len(x)
        return total / len(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        d_x, d_unembedding = ctx.saved_tensors
        scale = gradient / ctx.count
        return d_x * scale.to(d_x.dtype), (d_unembedding * scale).to(d_x.dtype), None
