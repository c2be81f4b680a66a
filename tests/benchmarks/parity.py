"""Time a step of the sweep in parameters: all nets as one batch, against the straightforward trainer.

The straightforward trainer is what one writes first: one net at a time, the one-hot code concatenated with the bits,
`nn.Linear` layers with two logits, `torch.optim.Adam`, float32. Same hardware, threads, batch and steps; both draw their
samples inside the timing. Its samples are drawn without a loop over tasks, which is faster than the public script does.

    python tests/benchmarks/parity.py [--steps 3] [--repeats 5] [--threads 1] [--device cpu]
    python tests/benchmarks/parity.py --curves    # instead: loss curves in float32, bfloat16 and of other seeds
    python tests/benchmarks/parity.py --precisions    # instead: 300 steps of the default run's nets in both precisions
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

from quanta.config.schema import read_schema, settle
from quanta.devices import resolve_precision
from quanta.parity.networks import NetPasses, Nets, adam
from quanta.parity.sparse_parity import FreshSamples, ParityProblem, log_spaced
from quanta.parity.training import TrainingSettings, train

PAPER_STEPS = 200_000


class StraightforwardNet:
    """One net as a plain torch module, trained by autograd on dense inputs."""

    def __init__(self, problem: ParityProblem, width: int, learning_rate: float, device: str = "cpu") -> None:
        self.problem, self.device = problem, device
        entries = problem.n_tasks + problem.n_bits
        self.module = nn.Sequential(nn.Linear(entries, width), nn.ReLU(), nn.Linear(width, 2)).to(device)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=learning_rate)
        self.subsets = torch.from_numpy(problem.subsets).to(device)
        self.probabilities = torch.from_numpy(problem.frequencies).to(device)

    def sample(self, number: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Dense inputs and labels."""
        tasks = torch.multinomial(self.probabilities, number, replacement=True, generator=generator)
        bits = torch.randint(0, 2, (number, self.problem.n_bits), generator=generator, device=self.device)
        return self.dense(tasks, bits)

    def dense(self, tasks: torch.Tensor, bits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One-hot code and bits side by side; labels."""
        code = nn.functional.one_hot(tasks, self.problem.n_tasks)
        labels = torch.gather(bits, 1, self.subsets[tasks]).sum(1) % 2
        return torch.cat([code, bits], dim=1).float(), labels

    def step(self, entries: torch.Tensor, labels: torch.Tensor) -> float:
        """One step of Adam; the loss in nats before it."""
        loss = nn.functional.cross_entropy(self.module(entries), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def _now(device: str) -> np.ndarray:
    """Seconds of wall clock and of this process's processors: the second is hardly touched by what else runs."""
    if device != "cpu":
        torch.cuda.synchronize()
    return np.array([time.perf_counter(), time.process_time()])


def seconds_straightforward(
    problem: ParityProblem, widths: list[int], batch: int, steps: int, device: str
) -> np.ndarray:
    """Seconds a step of the whole sweep, one net after the other: wall clock, processor."""
    total = np.zeros(2)
    for width in widths:
        net = StraightforwardNet(problem, width, 1e-3, device)
        generator = torch.Generator(device).manual_seed(0)
        began = _now(device)
        for _ in range(steps):
            net.step(*net.sample(batch, generator))
        total += _now(device) - began
    return total / steps


def seconds_batched(
    problem: ParityProblem, widths: list[int], batch: int, steps: int, device: str, precision: str
) -> np.ndarray:
    """Seconds a step of the whole sweep, all nets together: wall clock, processor."""
    nets = Nets(problem, widths, device)
    engine, optimizer, samples = NetPasses(nets, precision), adam(nets, 1e-3, 0.0), FreshSamples(problem, batch, device)
    for name, weight in nets.weights.items():
        weight.grad = engine.gradients[name]
    engine.backward(samples.batch(0))
    began = _now(device)
    for step in range(steps):
        engine.backward(samples.batch(step))
        optimizer.step()
        nets.unsound()
        engine.refresh()
    return (_now(device) - began) / steps


def print_curves(steps: int, device: str) -> None:
    """Mean loss of each width in float32, in bfloat16 and for another seed: what precision changes beside what chance does."""
    widths = [6, 16, 40, 100]
    settings = TrainingSettings(steps=steps, learning_rate=5e-3, precision="float32", evaluations=20)
    found = {}
    for name, seed, precision in (
        ("float32", 0, "float32"),
        ("bfloat16", 0, "bfloat16"),
        ("float32, seed 1", 1, "float32"),
    ):
        problem = ParityProblem(n_tasks=30, n_bits=20, k=3, alpha=0.4, seed=seed)
        nets = Nets(problem, widths, device)
        chosen = dataclasses.replace(settings, precision=precision)
        curves, _ = train(nets, FreshSamples(problem, 1000, device), chosen)
        found[name] = curves.loss_bits @ problem.frequencies
    print(f"30 tasks, 20 bits, batch 1000, {steps} steps, learning rate 5e-3; mean held-out loss (bits)\n")
    names = list(found)
    print("| width | " + " | ".join(names) + " | largest gap of the curves: bfloat16 | seed 1 |")
    print("|" + "---|" * (len(names) + 3))
    for net, width in enumerate(widths):
        base = found["float32"][net]
        gaps = [np.abs(found[name][net] - base).max() for name in names[1:]]
        ends = " | ".join(f"{found[name][net, -1]:.3f}" for name in names)
        print(f"| {width} | {ends} | {gaps[0]:.3f} | {gaps[1]:.3f} |")


def print_precisions(steps: int, repeats: int, device: str) -> None:
    """Processor seconds that the default run's nets take for so many steps, in float32 and in bfloat16."""
    folder = Path(__file__).parents[2] / "config"
    default = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    chosen = settle(default, read_schema(folder / "schema.yaml"))["parity"]
    problem = ParityProblem(chosen["n_tasks"], chosen["n_bits"], chosen["k"], chosen["alpha"])
    rows = []
    for name, widths in (
        ("all widths, new samples", chosen["widths"]),
        ("one width, as for a set", [chosen["data"]["width"]]),
    ):
        times = np.array(
            [
                [seconds_batched(problem, widths, chosen["batch_size"], steps, device, precision)[1] * steps
                 for precision in ("float32", "bfloat16")]
                for _ in range(repeats)
            ]
        )  # fmt: skip
        full, half = np.median(times, axis=0)
        rows.append(f"| {name} | {full:.2f} | {half:.2f} | {np.median(times[:, 0] / times[:, 1]):.2f} |")
    print(
        f"{steps} steps, {device}; `auto` is {resolve_precision('auto', device)}; processor s, medians of {repeats} interleaved runs\n"
    )
    print("| nets | float32 | bfloat16 | float32 / bfloat16 |\n|---|---|---|---|")
    print("\n".join(rows))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=20_000)
    parser.add_argument("--widths", type=int, default=30)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--curves", action="store_true")
    parser.add_argument("--precisions", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.curves:
        print_curves(5000, arguments.device)
        return
    if arguments.precisions:
        print_precisions(300, arguments.repeats, arguments.device)
        return
    problem = ParityProblem(n_tasks=500, n_bits=100, k=3, alpha=0.4)
    widths = log_spaced(10, 500, arguments.widths)
    common = (problem, widths, arguments.batch)
    names = ("straightforward, float32", "batched, float32", "batched, bfloat16")
    rounds = [
        [
            seconds_straightforward(*common, 1, arguments.device),
            seconds_batched(*common, arguments.steps, arguments.device, "float32"),
            seconds_batched(*common, arguments.steps, arguments.device, "bfloat16"),
        ]
        for _ in range(arguments.repeats)
    ]
    times = np.array(rounds)  # round, trainer, clock
    print(
        f"{len(widths)} widths {widths[0]}…{widths[-1]} ({sum(widths)} hidden units), batch {arguments.batch}, "
        f"{arguments.threads} thread(s), {arguments.device}, medians of {arguments.repeats} interleaved runs\n"
    )
    print(
        "| trainer | wall s a step | range | times as fast | processor s a step | times as fast | hours for 2·10⁵ steps |"
    )
    print("|---|---|---|---|---|---|---|")
    middle, ratio = np.median(times, axis=0), np.median(times[:, :1] / times, axis=0)
    for i, name in enumerate(names):
        wall, processor = middle[i]
        span = f"{times[:, i, 0].min():.2f}…{times[:, i, 0].max():.2f}"
        hours = (processor if arguments.device == "cpu" and arguments.threads == 1 else wall) * PAPER_STEPS / 3600
        print(
            f"| {name} | {wall:.3f} | {span} | {ratio[i, 0]:.1f} | {processor:.3f} | {ratio[i, 1]:.1f} | {hours:.1f} |"
        )


if __name__ == "__main__":
    main()
