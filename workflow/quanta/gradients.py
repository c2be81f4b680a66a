"""Gradients of single tokens' losses, for the weights and biases of the Linear layers inside the blocks.

Each sample is cut at its target, so that only the last position is unembedded. One backward pass of the summed
losses serves a batch: hooks keep each layer's input a (sample, position, in) and output gradient d (sample, position,
out), and a sample's own gradient is dᵀa for the weight and Σ d over positions for the bias.

A gradient is folded to k features: element i of the flat gradient, with a random sign, is added to feature i mod k.
Inner products of folded gradients are unbiased with an error of about 1/√k.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from quanta.corpus import Tokens
from quanta.errors import QuantaError
from quanta.losses import length_batches, pad
from quanta.models import unembedding
from quanta.progress import Progress
from quanta.shapes import Array, Float32, Int


@dataclass(frozen=True)
class Layer:
    """A Linear layer and where its gradient begins in the flat one: weight (out × in, row by row), then bias."""

    name: str
    module: nn.Linear
    begin: int

    @property
    def size(self) -> int:
        """Number of its parameters."""
        return sum(p.numel() for p in self.module.parameters())


def clean_layers(model: PreTrainedModel) -> list[Layer]:
    """The Linear layers of the blocks: all but the unembedding, chosen by type, in the model's order."""
    unembed, begin, layers = unembedding(model), 0, []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not unembed:
            layers.append(Layer(name, module, begin))
            begin += layers[-1].size
    return layers


class Fold:
    """Sign fold of flat gradients to `features` numbers. Signs depend on the seed and the place alone."""

    def __init__(self, layers: list[Layer], features: int, seed: int, device: torch.device) -> None:
        self.features = features
        rng = np.random.default_rng([seed, 2])
        n_signs = sum(layer.size for layer in layers)
        signs = rng.integers(0, 2, size=n_signs, dtype=np.int8) * 2 - 1
        self._signs = torch.from_numpy(signs).to(device, torch.int8)

    def add(self, into: torch.Tensor, begin: int, gradient: torch.Tensor) -> None:
        """Add a piece (sample, element) that begins at element `begin` of the flat gradient."""
        k, size = self.features, gradient.shape[1]
        signed = gradient * self._signs[begin : begin + size]
        before = begin % k
        whole = -(-(before + size) // k) * k
        into += nn.functional.pad(signed, (before, whole - before - size)).view(len(into), -1, k).sum(1)


def _exact(into: torch.Tensor, begin: int, gradient: torch.Tensor) -> None:
    into[:, begin : begin + gradient.shape[1]] = gradient


@contextmanager
def _hooks(
    model: PreTrainedModel, layers: list[Layer], take: Callable[[Layer, torch.Tensor, torch.Tensor], None]
) -> Iterator[None]:
    """Call `take(layer, input, output gradient)` for every layer during a backward pass."""

    def start(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output.detach().requires_grad_(True)  # a graph without any parameter in it

    def keep(layer: Layer) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            entry = inputs[0].detach()
            output.register_hook(lambda gradient: take(layer, entry, gradient))  # type: ignore[no-untyped-call]

        return hook

    handles = [model.get_input_embeddings().register_forward_hook(start)]
    handles += [layer.module.register_forward_hook(keep(layer)) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def token_gradients(
    model: PreTrainedModel,
    tokens: Tokens,
    documents: Int[Array, " n"],
    positions: Int[Array, " n"],
    *,
    features: int | None,
    seed: int,
    batch_tokens: int = 2048,
    label: str = "gradients",
) -> tuple[Float32[Array, "n feature"], Float32[Array, " n"]]:
    """Gradients (not normalised) and losses in nats of the tokens at (document, position).

    `features` is the number to fold to, or None for the exact gradients, as many as `clean_layers` has parameters.

    Raises:
        QuantaError: a target is the first of its document, or a gradient is not finite (its place is named).
    """
    model.requires_grad_(False)
    layers = clean_layers(model)
    device = next(model.parameters()).device
    total = sum(layer.size for layer in layers)
    width = total if features is None else features
    fold = None if features is None else Fold(layers, features, seed, device)
    add = _exact if fold is None else fold.add
    if len(positions) and positions.min() < 1:
        raise QuantaError(
            "qdg/tokens.parquet", "position 0", "positions from 1: nothing predicts a first token", "select anew"
        )

    result = np.empty((len(documents), width), dtype=np.float32)
    losses = np.empty(len(documents), dtype=np.float32)
    unembed = unembedding(model)
    progress = Progress(label, len(documents), "samples")
    for batch in length_batches(positions, batch_tokens):
        ids = [tokens.document(int(documents[i]))[: positions[i]] for i in batch]
        targets = torch.tensor([int(tokens.document(int(documents[i]))[positions[i]]) for i in batch], device=device)
        into = torch.zeros(len(batch), width, device=device)

        def take(layer: Layer, entry: torch.Tensor, gradient: torch.Tensor, into: torch.Tensor = into) -> None:
            weight = torch.bmm(gradient.transpose(1, 2), entry)
            add(into, layer.begin, weight.flatten(1))
            if layer.module.bias is not None:
                add(into, layer.begin + layer.module.weight.numel(), gradient.sum(1))

        with torch.enable_grad(), _hooks(model, layers, take):
            hidden = model.base_model(input_ids=pad(ids).to(device), use_cache=False).last_hidden_state
            last = torch.as_tensor(positions[batch] - 1, device=device)
            logits = unembed(hidden[torch.arange(len(batch), device=device), last])
            loss = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
            loss.sum().backward()  # type: ignore[no-untyped-call]
        result[batch] = into.cpu().numpy()
        losses[batch] = loss.detach().cpu().numpy()
        progress.advance(len(batch))
    progress.done()
    wrong = np.flatnonzero(~np.isfinite(result).all(axis=1))
    if len(wrong):
        i = wrong[0]
        raise QuantaError(
            f"gradient of document {documents[i]}, position {positions[i]}",
            f"not finite (loss {losses[i]} nats; {len(wrong)} such tokens)",
            "finite gradients",
            "look at the model's weights, or take it in float32",
        )
    return result, losses
