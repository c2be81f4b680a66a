"""Training speed: the hand-written loss against a plain loop over the transformers model, on one core.

Each way runs in a process of its own (the allocator's settings are a process's), in turns; figures are CPU seconds, so
that other work on the machine disturbs little. Prints thousand tokens a CPU second, median over the turns, and ratios.

    python tests/benchmarks/training.py [--turns 3] [--seconds 8]
"""

import argparse
import json
import subprocess
import sys
import time

import numpy as np
import torch
from quanta import devices
from quanta.models import training

SIZES = {
    "7k": (16, 2, 2),
    "25k": (32, 2, 2),
    "150k": (64, 3, 4),
    "450k": (96, 4, 4),
    "1m": (128, 5, 4),
    "2700k": (192, 6, 6),
}
WAYS = ("plain float32", "plain bfloat16", "ours bfloat16")
BATCH, CONTEXT, VOCABULARY = 8, 256, 1024


def speed(size: str, way: str, seconds: float) -> float:
    """Thousand tokens a CPU second."""
    torch.set_num_threads(1)
    width, layers, heads = SIZES[size]
    model = training.new_model(
        training.LadderSize(size, width, layers, heads), vocabulary=VOCABULARY, context=CONTEXT, seed=0
    ).train()
    kind, precision = way.split()
    if kind == "ours":
        devices.keep_freed_memory()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=kind == "ours")
    ids = torch.randint(0, VOCABULARY, (BATCH, CONTEXT), generator=torch.Generator().manual_seed(0))

    def step() -> None:
        if kind == "ours":
            loss = training.loss_of(model, ids, precision)
        else:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    for _ in range(3):
        step()
    start, steps = time.process_time(), 0
    while time.process_time() - start < seconds:
        step()
        steps += 1
    return steps * BATCH * CONTEXT / (time.process_time() - start) / 1e3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--one", nargs=2, metavar=("SIZE", "WAY"))
    given = parser.parse_args()
    if given.one:
        print(json.dumps(speed(*given.one, given.seconds)))
        return
    print(f"{'size':6}" + "".join(f"{way:>18}" for way in WAYS) + f"{'ours/float32':>16}{'ours/bfloat16':>16}")
    for size in SIZES:
        turns = [[_elsewhere(size, way, given.seconds) for way in WAYS] for _ in range(given.turns)]
        ratios = np.median([[turn[2] / turn[0], turn[2] / turn[1]] for turn in turns], axis=0)
        line = "".join(f"{value:18.1f}" for value in np.median(turns, axis=0))
        print(f"{size:6}{line}" + "".join(f"{ratio:16.2f}" for ratio in ratios), flush=True)


def _elsewhere(size: str, way: str, seconds: float) -> float:
    command = [sys.executable, __file__, "--one", size, way, "--seconds", str(seconds)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    main()
