"""Parameter sets: which of a model's parameters its gradients are taken for, chosen by module type, never by name.

The paper's public code kept what has neither 'layernorm' nor 'embed' in its name. That is the set `paper` here:
weights and biases of the blocks' Linear layers, and the final layer norm, whose name ('final_layer_norm') slipped
through. Names change between versions of a library; types do not.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from quanta.errors import QuantaError
from quanta.models.head import TROUBLE, name_of, own_logits, probe_ids, reached
from quanta.models.pretrained import unembedding

KINDS = {
    "paper": "weights and biases of the Linear layers inside the blocks (stacks of them included), and the final norm",
    "clean": "weights and biases of the Linear layers inside the blocks (stacks of them included)",
    "all": "every parameter but embeddings and unembedding",
}
ATTENTION = "first attention"  # kind of the set that `first_attention` gives
SAME = 1e-6  # of the largest entry: the same values in another batch may round differently


@dataclass(frozen=True)
class Matrix:
    """A weight (rows × columns, as it is stored) of a Linear or Conv1D layer; it begins at element `begin`.

    `own` is a parameter of another module (stacked experts, a kernel): its last dimension are the columns, and its
    gradient is taken whole, of one sample at a time.
    """

    name: str
    module: nn.Module
    rows: int
    columns: int
    begin: int
    own: nn.Parameter | None = field(default=None, compare=False)

    @property
    def transposed(self) -> bool:
        """True for Conv1D, whose rows are inputs."""
        return isinstance(self.module, Conv1D)

    @property
    def size(self) -> int:
        """Number of its parameters."""
        return self.rows * self.columns

    def maps(self, inputs: Sequence[Any], settings: dict[str, Any], output: torch.Tensor) -> bool:
        """Whether a call's input and output have the widths of the whole weight: a layer of groups has not."""
        entry = inputs[0] if inputs else next(iter(settings.values()))
        wide, high = (self.rows, self.columns) if self.transposed else (self.columns, self.rows)
        return bool(entry.shape[-1] == wide and output.shape[-1] == high)


@dataclass(frozen=True)
class Vector:
    """A bias, or the weight of a norm (`of_norm`); it begins at element `begin`. `own` as in `Matrix`."""

    name: str
    module: nn.Module
    size: int
    begin: int
    of_norm: bool
    own: nn.Parameter | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ParameterSet:
    """Parameters in the order of a flat gradient: all matrices row by row, then all vectors, each in the model's order."""

    kind: str
    matrices: tuple[Matrix, ...]
    vectors: tuple[Vector, ...]
    left_out: dict[str, int] = field(default_factory=dict)
    tied: bool = False

    @property
    def members(self) -> "tuple[Matrix | Vector, ...]":
        """Matrices, then vectors."""
        return (*self.matrices, *self.vectors)

    @property
    def count(self) -> int:
        """Number of parameters: the length of a flat gradient."""
        return sum(p.size for p in self.members)

    @property
    def vectors_begin(self) -> int:
        """First element of the vectors."""
        return sum(p.size for p in self.matrices)

    @property
    def whole(self) -> "tuple[Matrix | Vector, ...]":
        """Members whose gradient autograd gives whole, of one sample at a time."""
        return tuple(p for p in self.members if p.own is not None)

    def places(self) -> dict[str, slice]:
        """Where each parameter lies in a flat gradient, by its name in the model."""
        return {p.name: slice(p.begin, p.begin + p.size) for p in self.members}

    def part(self, wanted: "Callable[[Matrix | Vector], bool]") -> "ParameterSet":
        """A set of some members, whose flat gradient holds no others; it does not say what is left out."""
        kept: dict[type, list[Any]] = {Matrix: [], Vector: []}
        begin = 0
        for member in filter(wanted, self.members):
            kept[type(member)].append(replace(member, begin=begin))
            begin += member.size
        return ParameterSet(self.kind, tuple(kept[Matrix]), tuple(kept[Vector]))

    def describe(self) -> dict[str, Any]:
        """What a result says about it: kind, counts, what was left out, whether the unembedding is the embedding."""
        return {
            "kind": self.kind,
            "meaning": KINDS[self.kind],
            "parameters": self.count,
            "matrices": self.vectors_begin,
            "vectors": self.count - self.vectors_begin,
            "left_out": dict(self.left_out),
            "tied_embeddings": self.tied,
        }


def _modules(model: PreTrainedModel) -> list[nn.Module]:
    """The modules that text goes through, in the model's order: without what reads images or sound, if there is such."""
    every = list(model.modules())
    lists = [m for m in every if isinstance(m, nn.ModuleList)]
    nested = {inner for outer in lists for inner in outer.modules() if inner is not outer}
    if len([m for m in lists if m not in nested]) < 2:
        return every
    called = reached(model)
    parents = {child: parent for parent in every for child in parent.children()}
    above = {m for m in every if any(inner in called for inner in m.modules())}
    # the weight of a module that is not called may be used by the one that holds it
    return [m for m in every if m in above or parents.get(m) in called]


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The list of the model's blocks: as many as the configuration says, or the list with most of the parameters.

    Raises:
        QuantaError: no ModuleList holds the blocks.
    """
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    base = set(model.base_model.modules())
    lists = [m for m in _modules(model) if isinstance(m, nn.ModuleList) and m in base]  # outermost first
    sizes = [sum(p.numel() for p in m.parameters()) for m in lists]
    largest = max(sizes, default=0)
    for module, size in zip(lists, sizes, strict=True):
        if len(module) == layers and 2 * size >= largest:
            return module
    if largest:
        return lists[sizes.index(largest)]
    raise QuantaError(
        name_of(model),
        f"no list of {layers} blocks",
        "a causal language model whose blocks lie in one nn.ModuleList",
        "take another model, or teach quanta.gradients.parameter_sets.blocks where its blocks are",
    )


def is_norm(module: nn.Module) -> bool:
    """A leaf that scales by a vector: LayerNorm and all the RMSNorms that model files define for themselves."""
    if isinstance(module, nn.Linear | nn.Embedding | Conv1D) or next(module.children(), None) is not None:
        return False
    own = dict(module.named_parameters(recurse=False))
    return "weight" in own and all(p.ndim == 1 for p in own.values()) and set(own) <= {"weight", "bias"}


def _once(modules: list[Any]) -> list[Any]:
    """The first of those that share a weight, as blocks may; its gradient is the sum over all of them."""
    first: dict[int, Any] = {}
    for module in modules:
        first.setdefault(id(module.weight), module)
    return list(first.values())


def parameter_set(model: PreTrainedModel, kind: str = "paper") -> ParameterSet:
    """The parameters of `kind` (see `KINDS`).

    For pythia-70m's shape they number 18,903,040 (`paper`), 18,902,016 (`clean`: without the 1,024 of the final norm)
    and 18,915,328 (`all`, the dimension that the paper states).

    Weights of the blocks with three dimensions that are no kernels are stacks of Linear layers (experts), and are in
    every set. Whatever else is in no Linear layer and no norm (kernels, decays, routers) is in `all` alone.

    Raises:
        QuantaError: an unknown kind, weights that are not floating point numbers (a quantised model), or blocks most of
            whose weights are in no Linear layer.
    """
    if kind not in KINDS:
        raise QuantaError("parameters", repr(kind), f"one of {list(KINDS)}", "name one of them")
    unembed = unembedding(model)
    inside = {id(m) for m in blocks(model).modules()}
    names = {id(m): name for name, m in model.named_modules()}
    linear = [m for m in _modules(model) if isinstance(m, nn.Linear | Conv1D) and m is not unembed]
    linear = _once([m for m in linear if kind == "all" or id(m) in inside])
    base = set(model.base_model.modules())
    norms = [m for m in _modules(model) if m in base and is_norm(m)]
    outside = [m for m in norms if id(m) not in inside]
    # were there several (a norm of the embeddings), the final one is defined last
    chosen_norms = {"clean": [], "paper": outside[-1:], "all": _once([m for m in _modules(model) if is_norm(m)])}[kind]

    matrices, begin = [], 0
    for module in linear:
        weight = module.weight
        rows, columns = (
            (module.nx, module.nf) if isinstance(module, Conv1D) else (module.out_features, module.in_features)
        )
        if tuple(weight.shape) != (rows, columns) or not weight.is_floating_point():
            raise QuantaError(
                names[id(module)],
                f"a weight of shape {tuple(weight.shape)} and {weight.dtype}",
                f"floating point numbers of shape {(rows, columns)}",
                "load the model without quantisation",
            )
        matrices.append(Matrix(f"{names[id(module)]}.weight", module, rows, columns, begin))
        begin += rows * columns
    further = _further(model, kind, (*linear, *chosen_norms))
    for name, owner, parameter in further:
        if parameter.ndim > 1:
            columns = parameter.shape[-1]
            matrices.append(Matrix(name, owner, parameter.numel() // columns, columns, begin, parameter))
            begin += parameter.numel()
    vectors: list[Vector] = []
    chosen = {id(m): isinstance(m, nn.Linear | Conv1D) for m in (*linear, *chosen_norms)}
    for owner in model.modules():
        if id(owner) not in chosen:
            continue
        for name, parameter in owner.named_parameters(recurse=False):
            if parameter.ndim == 1:
                of_norm = not chosen[id(owner)] and name == "weight"
                vectors.append(Vector(f"{names[id(owner)]}.{name}", owner, parameter.numel(), begin, of_norm))
                begin += parameter.numel()
    for name, owner, parameter in further:
        if parameter.ndim <= 1:
            vectors.append(Vector(name, owner, parameter.numel(), begin, False, parameter))
            begin += parameter.numel()

    taken = {m.name for m in matrices} | {v.name for v in vectors}
    kept = {p for name, p in model.named_parameters(remove_duplicate=False) if name in taken}
    left_out = {name: p.numel() for name, p in model.named_parameters(remove_duplicate=False) if p not in kept}
    weights = {p: name for name, p in blocks(model).named_parameters() if p.ndim > 1}
    own = {p for m in linear for p in m.parameters()} | {p for _, _, p in further}
    missing = {p: name for p, name in weights.items() if p not in own}
    if 2 * sum(p.numel() for p in missing) > sum(p.numel() for p in weights):
        parameter = max(missing, key=lambda p: p.numel())
        raise QuantaError(
            f"{name_of(model)}, {missing[parameter]}",
            f"a weight of shape {tuple(parameter.shape)} that belongs to no Linear layer, as most of its blocks' weights",
            "blocks whose weights are in nn.Linear, Conv1D or stacks of experts",
            "set qdg.parameters to all, which takes every parameter, or take another model",
        )
    embedding: nn.Module = model.get_input_embeddings()
    tied = unembed is not None and getattr(embedding, "weight", None) is getattr(unembed, "weight", embedding)
    return ParameterSet(kind, tuple(matrices), tuple(vectors), left_out, tied)


def _further(
    model: PreTrainedModel, kind: str, modules: Sequence[nn.Module]
) -> list[tuple[str, nn.Module, nn.Parameter]]:
    """(name, module, parameter) of what the set takes and that is in none of `modules`, each once."""
    unembed = unembedding(model)
    left = [m for m in model.modules() if isinstance(m, nn.Embedding)] + ([] if unembed is None else [unembed])
    known = {p for m in (*left, *modules) for p in m.parameters(recurse=False)}
    inside = set(blocks(model).parameters())
    found = []
    prefixes = {id(module): prefix for prefix, module in model.named_modules()}
    for module in _modules(model):
        prefix = prefixes[id(module)]
        for name, parameter in module.named_parameters(recurse=False):
            if parameter in known or not parameter.is_floating_point():
                continue
            is_kernel = isinstance(module, _ConvNd)
            stacked = parameter in inside and not is_kernel and sum(n > 1 for n in parameter.shape) > 2
            if kind == "all" or stacked:
                known.add(parameter)
                found.append((f"{prefix}.{name}".removeprefix("."), module, parameter))
    return found


def _states(values: Any, positions: int) -> Iterator[torch.Tensor]:
    """The tensors (row, position, feature) among a module's arguments or results."""
    if isinstance(values, torch.Tensor):
        if values.ndim == 3 and values.shape[1] == positions and values.is_floating_point():
            yield values
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _states(value, positions)


def reads_others(model: PreTrainedModel) -> list[nn.Module]:
    """Modules of the first block that read other positions than their own, outermost first, in any architecture.

    In the first block a module's input at a position depends on the token there alone. So a module reads other positions
    whose input at the last one is the same for two texts that differ in the token before, and whose output there is not.

    Raises:
        QuantaError: the model does not run on the probe's tokens.
    """
    text = probe_ids(model)
    other = text.clone()
    other[-2] = text[0] if text[0] != text[-2] else text[1]  # near enough for any window
    rows = torch.stack([text, other]).to(next(model.parameters()).device)
    first, found = blocks(model)[0], []
    order = {module: i for i, module in enumerate(first.modules())}

    def look(module: nn.Module, inputs: tuple[Any, ...], settings: dict[str, Any], output: Any) -> None:
        given = next(_states((*inputs, *settings.values()), rows.shape[1]), None)
        made = next(_states(output, rows.shape[1]), None)
        if given is not None and made is not None and not _differs(given[:, -1]) and _differs(made[:, -1]):
            found.append(module)

    handles = [module.register_forward_hook(look, with_kwargs=True) for module in order]
    training = model.training
    try:
        with torch.no_grad():
            own_logits(model.train(False), rows)
    except TROUBLE as error:
        raise QuantaError(
            name_of(model), f"{type(error).__name__}, {error}".splitlines()[0], "losses of a text", "take another model"
        ) from error
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return sorted(set(found), key=order.__getitem__)


def _differs(pair: torch.Tensor) -> bool:
    one, other = pair.float()
    return float((one - other).abs().max()) > SAME * float(pair.abs().max())


def first_attention(model: PreTrainedModel) -> ParameterSet:
    """Weights and biases of the Linear layers by which the first block reads other tokens: its attention's.

    The innermost module that reads others (`reads_others`) and has Linear layers is the attention, or what a model has in its place.

    Raises:
        QuantaError: they cannot be told from the block's other layers, or the model is refused by `parameter_set`.
    """
    block = blocks(model)[0]
    readers = [m for m in reads_others(model) if any(isinstance(inner, nn.Linear | Conv1D) for inner in m.modules())]
    inner = [m for m in readers if not any(other is not m and other in set(m.modules()) for other in readers)]
    if len(inner) != 1 or inner[0] is block:
        names = {module: name for name, module in model.named_modules()}
        raise QuantaError(
            f"{name_of(model)}, {names[block]}",
            f"{len(inner) if block not in inner else 'no'} part of the first block that reads other tokens and has Linear layers",
            "one such part, as attention is",
            "set qdg.second to standardised, which takes all layers",
        )
    inside = set(inner[0].modules())
    every = parameter_set(model, "clean")
    return replace(every.part(lambda member: member.module in inside), kind=ATTENTION, tied=every.tied)


def by_module(parameters: ParameterSet) -> Iterator[tuple[nn.Module, Matrix | None, list[Vector]]]:
    """Each module once, with its matrix and its vectors; those whose gradient is taken whole are in none."""
    watched = [p for p in parameters.members if p.own is None]
    matrices = {id(m.module): m for m in watched if isinstance(m, Matrix)}
    modules = {id(p.module): p.module for p in watched}
    for key, module in modules.items():
        yield module, matrices.get(key), [v for v in watched if isinstance(v, Vector) and v.module is module]
