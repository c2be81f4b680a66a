"""The least loss that a checkpoint's unembedding can give a target, whatever its blocks compute: what an insertion cannot go below.

    PYTHONPATH=workflow OMP_NUM_THREADS=1 python tests/benchmarks/head_bound.py results/mini neox-1m 64 128 256 512 --clusters 17

The state before the final norm is free: for each target of a selected token, its loss is minimised over that state. Prints a row per
step: the median, least and largest of these losses over the selected tokens, and how many selected tokens have a loss below one nat
at that step; and of each cluster that is named, its mean loss and bound. About 3 CPU seconds per step.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from quanta.corpus import encoding
from quanta.gradients import selection
from quanta.losses import stored
from quanta.models import pretrained

ITERATIONS, RATE = 300, 0.05


def bounds(model, targets):
    """Least loss in nats of each target."""
    norm, unembed = model.gpt_neox.final_layer_norm, model.lm_head.weight
    state = torch.randn(len(targets), unembed.shape[1], generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    optimizer = torch.optim.Adam([state], lr=RATE)
    for _ in range(ITERATIONS):
        loss = torch.nn.functional.cross_entropy(norm(state) @ unembed.T, targets, reduction="none")
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    return loss.detach().numpy()


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("model")
    parser.add_argument("steps", type=int, nargs="+")
    parser.add_argument("--clusters", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    corpus = arguments.run / "corpus"
    tokens = encoding.load_tokens(*(str(corpus / f"{name}.npy") for name in ("tokens", "offsets")))
    chosen = selection.read_selection(str(arguments.run / "qdg/tokens.parquet"), tokens)
    names, inverse = np.unique(chosen["token_id"], return_inverse=True)
    flat = tokens.flat(chosen["document"].to_numpy(), chosen["position"].to_numpy())
    groups = pd.read_parquet(arguments.run / "interventions/groups.parquet")
    groups = groups[groups["grouping"] == "clusters"].groupby("group")["token"]
    rows = []
    for step in arguments.steps:
        model = pretrained.load(str(arguments.run / f"models/{arguments.model}/step{step}"), "cpu")
        least = bounds(model, torch.from_numpy(names.astype(np.int64)))[inverse]
        own = np.asarray(
            stored.read_losses(str(arguments.run / f"losses/{arguments.model}/step{step}.npy"), tokens)[flat]
        )
        rows.append({"step": step, "median": np.median(least), "least": least.min(), "largest": least.max(),
                     "below_1_nat": (own < 1).mean()})  # fmt: skip
        for name in arguments.clusters:
            members = groups.get_group(name)
            rows[-1] |= {f"loss of {name}": own[members].mean(), f"bound of {name}": least[members].mean()}
    print(pd.DataFrame(rows).round(2).T.to_string(header=False))


if __name__ == "__main__":
    main()
