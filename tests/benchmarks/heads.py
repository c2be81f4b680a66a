"""What it costs that losses take the model's own way to logits: the probe, and its way against the unembedding alone.

    PYTHONPATH=workflow OMP_NUM_THREADS=1 python tests/benchmarks/heads.py [--size 70m] [--documents 12] [--rounds 5]

Three ways to the same losses, in interleaved rounds: the base model and one Linear layer with no look at what the model does
after it; this library, which finds that it is one Linear layer; this library, told that it is not, so that each piece goes through
the model's own forward. Random weights in Pythia's shapes. Prints a Markdown table of CPU seconds, medians.
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

from quanta.devices import keep_freed_memory
from quanta.losses import batching, forward, probe
from quanta.models import head, neox_shape, training
from support import random_tokens


@torch.no_grad()
def linear_alone(model, tokens, batch_tokens):
    """Batches and pieces as the library forms them; the unembedding is applied to the base model's hidden states."""
    found, layer = np.full(len(tokens.ids), np.nan, np.float32), model.get_output_embeddings()
    step = forward.LOGITS_AT_ONCE["cpu"] // len(layer.weight)
    for batch in batching.length_batches(tokens.lengths, batch_tokens):
        ids, lengths = batching.pad([tokens.document(int(i)) for i in batch]), tokens.lengths[batch]
        hidden = model.base_model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
        real = torch.from_numpy(np.arange(ids.shape[1] - 1) < (lengths - 1)[:, None])
        state, targets = hidden[real], ids[:, 1:][real]
        pieces = [
            nn.functional.cross_entropy(layer(state[i : i + step]), targets[i : i + step], reduction="none")
            for i in range(0, len(state), step)
        ]
        for row, index in zip(np.split(torch.cat(pieces).numpy(), np.cumsum(lengths - 1)[:-1]), batch, strict=True):
            begin = int(tokens.offsets[index])
            found[begin + 1 : begin + int(tokens.lengths[index])] = row
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="70m", choices=sorted(neox_shape.SHAPES))
    parser.add_argument("--documents", type=int, default=12)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    keep_freed_memory()
    torch.set_num_threads(1)
    shape = neox_shape.SHAPES[chosen.size]
    size = training.LadderSize(chosen.size, shape.width, shape.layers, shape.heads)
    model, other = (training.new_model(size, vocabulary=shape.vocabulary, context=2048, seed=0) for _ in range(2))
    for one in (model, other):
        one.eval().requires_grad_(False)
    lengths = np.clip(np.exp(np.random.default_rng(0).normal(5.6, 1.0, chosen.documents)), 2, chosen.context).astype(
        int
    )
    tokens, batch_tokens = random_tokens(lengths, 50277), 4 * chosen.context

    begin = time.process_time()
    assert probe.check_model(model, forward.batch_losses).plain
    probed = time.process_time() - begin
    probe.check_model(other, forward.batch_losses)
    head._HEADS[other].plain = False

    def ours(one):
        return forward.token_losses(one, tokens, range(tokens.n_documents), batch_tokens=batch_tokens)

    ways = {
        "base model and Linear layer alone": lambda: linear_alone(model, tokens, batch_tokens),
        "quanta: one Linear layer": lambda: ours(model),
        "quanta: own head": lambda: ours(other),
    }
    seconds = {name: [] for name in ways}
    results = {}
    for number in range(chosen.rounds + 1):
        for name, way in ways.items():
            begin = time.process_time()
            results[name] = way()
            if number:  # the first warms up
                seconds[name].append(time.process_time() - begin)
    first = next(iter(results.values()))
    base = statistics.median(seconds[next(iter(ways))])
    print(f"{chosen.size}, {chosen.documents} documents, {len(tokens.ids)} tokens, medians of {chosen.rounds}\n")
    print("| way | CPU s | tokens per CPU s | against the first | largest difference, nats |\n|---|---|---|---|---|")
    for name, times in seconds.items():
        middle, apart = statistics.median(times), np.nanmax(np.abs(results[name] - first))
        print(f"| {name} | {middle:.2f} | {len(tokens.ids) / middle:.0f} | {base / middle:.2f}× | {apart:.0e} |")
    print(f"\nthe probe, once per job and model: {probed:.2f} CPU seconds")


if __name__ == "__main__":
    main()
