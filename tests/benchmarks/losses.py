"""Losses of a mixed-length corpus: this library against a plain batched loop over transformers, interleaved, medians.

    PYTHONPATH=workflow python tests/benchmarks/losses.py [--size 70m] [--documents 24] [--rounds 3] [--device cpu]
    PYTHONPATH=workflow python tests/benchmarks/losses.py --size 1b --memory       # the stage alone: resident memory at its peak

The plain loop takes documents in their order, pads each batch to its longest, passes an attention mask, and computes the
cross-entropy of whole float32 logits. Weights are random, in Pythia's shapes; lengths are drawn log-normally and cut at
`--context`. Prints a Markdown table and the largest difference between the two, and of bfloat16 from float32.
"""

import argparse
import logging
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quanta.config import costs
from quanta.devices import keep_freed_memory
from quanta.losses import batching, forward
from quanta.models import neox_shape, training
from support import random_tokens


@torch.no_grad()
def plain(model, tokens, batch, device):
    """What one writes first: a batch of documents at a time."""
    found = []
    for begin in range(0, tokens.n_documents, batch):
        documents = [tokens.document(i) for i in range(begin, min(begin + batch, tokens.n_documents))]
        ids = batching.pad(documents).to(device)
        lengths = torch.tensor([len(d) for d in documents], device=device)
        mask = (torch.arange(ids.shape[1], device=device) < lengths[:, None]).long()
        logits = model(input_ids=ids, attention_mask=mask).logits.float()
        values = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        values = values.unflatten(0, (len(ids), -1))
        found += [np.r_[np.nan, v[: len(d) - 1].cpu().numpy()] for v, d in zip(values, documents, strict=True)]
    return np.concatenate(found).astype(np.float32)


def resident(key: str) -> float:
    """GB of this process: what is resident (`VmRSS`), or was at most since the peak was last reset (`VmHWM`)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024 / 1e9


def memory(model, tokens, shape, batch_tokens) -> None:
    """Peak of the stage in float32, beside the estimate that jobs ask for and costs are told by."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    forward.token_losses(model, tokens, range(tokens.n_documents), batch_tokens=batch_tokens)
    peak = resident("VmHWM")
    estimate = costs.memory_bytes(shape, batch_tokens) / 1e9
    weights = 4 * shape.parameters / 1e9
    print("| weights, GB | peak beyond the loaded model, GB | peak of the process, GB | estimate, GB |")
    print("|---|---|---|---|")
    print(f"| {weights:.2f} | {peak - before:.2f} | {peak:.2f} | {estimate:.2f} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="70m", choices=sorted(neox_shape.SHAPES))
    parser.add_argument("--documents", type=int, default=24)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", action="store_true")
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    logging.disable(logging.INFO)
    keep_freed_memory()  # for every way alike: the plain loop's logits are gigabytes, and their first touch costs as much again
    if chosen.device == "cpu":
        torch.set_num_threads(1)
    shape = neox_shape.SHAPES[chosen.size]
    size = training.LadderSize(chosen.size, shape.width, shape.layers, shape.heads)
    with torch.device(chosen.device):
        model = training.new_model(size, vocabulary=shape.vocabulary, context=2048, seed=0)
    model.eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(5.6, 1.0, chosen.documents)), 2, chosen.context).astype(int)
    if chosen.memory:  # one batch, full to the brim
        lengths = np.full(chosen.batch, chosen.context)
    tokens = random_tokens(lengths, 50277)
    everything = range(tokens.n_documents)
    batch_tokens = chosen.batch * chosen.context
    if chosen.memory:
        memory(model, tokens, shape, batch_tokens)
        return

    def ours(precision):
        return forward.token_losses(model, tokens, everything, batch_tokens=batch_tokens, precision=precision)

    ways = {
        "transformers, plain loop, float32": lambda: plain(model, tokens, chosen.batch, chosen.device),
        "quanta, float32": lambda: ours("float32"),
        "quanta, bfloat16": lambda: ours("bfloat16"),
    }
    seconds = {name: [] for name in ways}
    results = {}
    for _ in range(chosen.rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            results[name] = way()
            if chosen.device != "cpu":
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - begin)
    first, second, half = results.values()
    n = len(tokens.ids)
    print(f"{chosen.size}, {chosen.documents} documents of {lengths.min()} to {lengths.max()} tokens, {n} in all, "
          f"{chosen.device}, {torch.get_num_threads()} thread(s), median of {chosen.rounds}\n")  # fmt: skip
    print("| way | s | tokens/s | against the plain loop | useful GFLOP/s |\n|---|---|---|---|---|")
    flops = costs.forward_flops(shape, lengths)
    base = statistics.median(seconds["transformers, plain loop, float32"])
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"| {name} | {middle:.2f} | {n / middle:.0f} | {base / middle:.2f}× | {flops / middle / 1e9:.0f} |")
    print(f"\nlargest difference from the plain loop: {np.nanmax(np.abs(first - second)):.1e} nats")
    apart = np.abs(half - second)
    print(f"bfloat16 from float32: mean {np.nanmean(apart):.1e}, largest {np.nanmax(apart):.1e} nats; "
          f"mean loss {np.nanmean(half) - np.nanmean(second):+.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
