"""Many one-hidden-layer nets at once: their units side by side, forward, backward, Adam.

What the straightforward way computes is kept to the letter; three identities make it cheap:

- The product with the one-hot code is a gathered row, and its gradient a sum over a task's samples. Samples come in
  order of their task, so both run over neighbours.
- Cross-entropy of two logits depends on their difference alone. The two rows of the last layer get opposite gradients,
  hence opposite Adam updates: one row, their difference, with twice the learning rate is the same net.
- Samples are worked off in chunks that fit the cache, and all products of a chunk in bfloat16 where that pays; weights,
  gradients and Adam's moments are float32 throughout.

A net never sees another one: the products that bring them together only add exact zeros.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from quanta.arrays import BITS_PER_NAT, Array
from quanta.errors import QuantaError
from quanta.parity.sparse_parity import Batch, ParityProblem, check_widths, unpack
from quanta.streams import Purpose, stream, torch_generator

LARGEST_WEIGHT = 1e6  # far beyond any weight that learns, far below where a product overflows
CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 1 << 30}  # hidden activations of one chunk; measured best on the CPU


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Nets:
    """One-hidden-layer ReLU nets of several widths, side by side. Weights start as `torch.nn.Linear` would draw them.

    A net's first weights depend on the seed and its width alone, not on the nets beside it.
    """

    def __init__(self, problem: ParityProblem, widths: Sequence[int], device: torch.device | str = "cpu") -> None:
        check_widths(widths)
        self.problem, self.widths, self.device = problem, tuple(widths), torch.device(device)
        self.owner = torch.repeat_interleave(torch.tensor(self.widths)).to(self.device)
        rows, codes, biases, lasts, last_biases = [], [], [], [], []
        for width in self.widths:
            generator = torch_generator(stream(problem.seed, Purpose.PARITY_WEIGHTS, width), "cpu")

            def uniform(*shape: int, fan_in: int, generator: torch.Generator = generator) -> Tensor:
                return torch.rand(*shape, generator=generator).mul_(2).sub_(1).div_(fan_in**0.5)

            entries = problem.n_tasks + problem.n_bits
            codes.append(uniform(width, problem.n_tasks, fan_in=entries).T)
            rows.append(uniform(width, problem.n_bits, fan_in=entries))
            biases.append(uniform(width, fan_in=entries))
            two = uniform(2, width, fan_in=width)
            lasts.append(two[1] - two[0])
            two_biases = uniform(2, fan_in=width)
            last_biases.append(two_biases[1:] - two_biases[:1])
        self.bit_weight: Float[Tensor, "unit bit"] = torch.cat(rows).to(self.device)
        self.code_weight: Float[Tensor, "task unit"] = torch.cat(codes, dim=1).contiguous().to(self.device)
        self.bias: Float[Tensor, " unit"] = torch.cat(biases).to(self.device)
        self.output_weight: Float[Tensor, " unit"] = torch.cat(lasts).to(self.device)
        self.output_bias: Float[Tensor, " net"] = torch.cat(last_biases).to(self.device)

    @property
    def weights(self) -> dict[str, Tensor]:
        """The parameters by name. The last layer is held as logit 1 minus logit 0."""
        names = ("bit_weight", "code_weight", "bias", "output_weight", "output_bias")
        return {name: getattr(self, name) for name in names}

    def parameters_of(self, width: int) -> int:
        """Parameters of one net, its two logits counted."""
        return (self.problem.n_tasks + self.problem.n_bits + 1) * width + 2 * width + 2

    def one(self, net: int, weights: Mapping[str, Tensor] | None = None) -> dict[str, Array]:
        """A copy of one net's weights, of those that all nets have now or had at another time."""
        units, every = self.owner == net, weights or self.weights
        own = {
            "bit_weight": every["bit_weight"][units],
            "code_weight": every["code_weight"][:, units],
            "bias": every["bias"][units],
            "output_weight": every["output_weight"][units],
            "output_bias": every["output_bias"][net : net + 1],
        }
        return {name: weight.cpu().numpy().copy() for name, weight in own.items()}

    def stop(self, net: int) -> None:
        """Set a net's weights to zero, so that nothing of it can reach the others."""
        units = self.owner == net
        self.bit_weight[units] = 0
        self.code_weight[:, units] = 0
        self.bias[units] = 0
        self.output_weight[units] = 0
        self.output_bias[net] = 0

    def unsound(self) -> list[int]:
        """Nets with a weight that is not finite or beyond `LARGEST_WEIGHT`."""
        # one pass over everything first: the answer is nearly always "none"
        ends = torch.stack([end for weight in self.weights.values() for end in torch.aminmax(weight)])
        if bool(ends.abs().amax() <= LARGEST_WEIGHT):
            return []
        largest = torch.stack([self.bit_weight.abs().amax(1), self.code_weight.abs().amax(0), self.bias.abs()])
        worst = torch.maximum(largest.amax(0), self.output_weight.abs())
        wrong = ~(worst <= LARGEST_WEIGHT)
        found = {int(self.owner[unit]) for unit in torch.nonzero(wrong).flatten()}
        found |= {int(net) for net in torch.nonzero(~(self.output_bias.abs() <= LARGEST_WEIGHT)).flatten()}
        return sorted(found)


class NetPasses:
    """Forward and backward passes of all nets over a batch, chunk by chunk."""

    def __init__(self, nets: Nets, precision: str = "float32") -> None:
        if precision not in DTYPES:
            raise QuantaError("parity.precision", repr(precision), f"one of {sorted(DTYPES)}", "change the value")
        self.nets, self.dtype = nets, DTYPES[precision]
        self.units = len(nets.owner)
        self.rows = max(CHUNK_BYTES[nets.device.type] // (self.units * self.dtype.itemsize), 64)
        self.subsets = torch.from_numpy(nets.problem.subsets).to(nets.device)
        self.gradients = {name: torch.zeros_like(weight) for name, weight in nets.weights.items()}
        self._spread = torch.zeros(self.units, len(nets.widths), dtype=self.dtype, device=nets.device)
        # the eight bits of each byte in the type of the products: looking them up is twice as fast as shifts and a cast
        self._bytes = unpack(torch.arange(256).to(torch.uint8)[:, None], 8).to(nets.device, self.dtype)
        self._places = torch.arange(self.units, device=nets.device)
        self._numbers = torch.arange(self.rows, device=nets.device)
        self.refresh()

    def refresh(self) -> None:
        """Take over the nets' weights in the precision of the products."""
        nets = self.nets
        self._bit_weight = nets.bit_weight.to(self.dtype).T
        self._code_weight = (nets.code_weight + nets.bias).to(self.dtype)
        self._spread[self._places, nets.owner] = nets.output_weight.to(self.dtype)

    def _forward(self, packed: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Bits, labels, hidden activations (sample, unit), logit differences (sample, net) of a chunk."""
        entries = self._bytes.index_select(0, packed.flatten().int()).view(len(packed), -1)
        entries = entries[:, : self.nets.problem.n_bits]
        own = torch.gather(entries, 1, self.subsets.index_select(0, tasks))
        labels = own.sum(1, dtype=torch.float32) % 2
        hidden = self._code_weight.index_select(0, tasks)
        torch.addmm(hidden, entries, self._bit_weight, out=hidden)
        _relu(hidden)
        # few nets make a thin product, which float32 libraries do four times as fast from the other side
        thin = (self._spread.T @ hidden.T).T if self.dtype == torch.float32 else hidden @ self._spread
        return entries, labels, hidden, thin.float() + self.nets.output_bias

    @torch.no_grad()
    def backward(self, batch: Batch) -> None:
        """Leave the gradients of every net's mean loss (nats) over the batch in `gradients`.

        The last layer's are those of one of its two rows, as `TrainingSettings.learning_rate` belongs to them.
        """
        nets, sums = self.nets, self.gradients
        for gradient in sums.values():
            gradient.zero_()
        for low in range(0, len(batch), self.rows):
            tasks = batch.tasks[low : low + self.rows]
            entries, labels, hidden, logits = self._forward(batch.packed[low : low + self.rows], tasks)
            slope = (torch.sigmoid(logits) - labels[:, None]) / len(batch)
            sums["output_bias"] += slope.sum(0)
            slope = slope.to(self.dtype)
            pairs = slope.T @ hidden
            sums["output_weight"] += pairs[nets.owner, self._places]
            into = slope @ self._spread.T
            _mask(into, hidden)
            sums["bit_weight"] += (entries.T @ into).T
            # sums over each task's samples: neighbours, because the batch is in order of tasks
            first = int(np.searchsorted(batch.ends, low, side="right"))
            last = int(np.searchsorted(batch.ends, low + len(tasks) - 1, side="right"))
            begins = batch.ends[first : last + 1] - low
            begins = np.concatenate([[0], begins[:-1]])
            offsets = torch.from_numpy(begins).to(nets.device)
            by_task = torch.nn.functional.embedding_bag(self._numbers[: len(tasks)], into, offsets, mode="sum")
            sums["code_weight"][first : last + 1] += by_task
        torch.sum(sums["code_weight"], 0, out=sums["bias"])

    @torch.no_grad()
    def losses(self, batch: Batch) -> Float32[Array, "net task"]:
        """Mean loss in bits of every task of the batch, for every net; NaN for a task without samples."""
        n_tasks = self.nets.problem.n_tasks
        # on the CPU, where the order of a sum is always the same
        sums = torch.zeros(n_tasks, len(self.nets.widths), dtype=torch.float64)
        for low in range(0, len(batch), self.rows):
            tasks = batch.tasks[low : low + self.rows]
            _, labels, _, logits = self._forward(batch.packed[low : low + self.rows], tasks)
            wrong_way = torch.where(labels[:, None] == 1, -logits, logits)
            nats = torch.nn.functional.softplus(wrong_way.double())
            sums.index_add_(0, tasks.cpu(), nats.cpu())
        counts = np.diff(batch.ends, prepend=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums.numpy() / counts[:, None] * BITS_PER_NAT
        return np.asarray(means.T, dtype=np.float32)


def _relu(hidden: Tensor) -> None:
    """ReLU in place."""
    if hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu":
        # the sign bit is the same in both, and whole numbers need no conversion: three times as fast
        hidden.view(torch.int16).clamp_(min=0)
    else:
        hidden.relu_()


def _mask(into: Tensor, hidden: Tensor) -> None:
    """Set a gradient to zero where the unit was off, in place."""
    if hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu":
        into.view(torch.int16).mul_(hidden.view(torch.int16).clamp(max=1))
    else:
        torch.ops.aten.threshold_backward.grad_input(into, hidden, 0, grad_input=into)


def adam(nets: Nets, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over all nets. The last layer's difference of two rows moves twice as fast as either of them."""
    weights = nets.weights
    groups = [
        {"params": [weights["bit_weight"], weights["code_weight"], weights["bias"]], "lr": learning_rate},
        {
            "params": [weights["output_weight"], weights["output_bias"]],
            "lr": 2 * learning_rate,
            # decay acts on the weights themselves: not twice on their difference
            "weight_decay": weight_decay / 2,
        },
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay, fused=True)
