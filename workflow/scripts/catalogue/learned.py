"""When each cluster is learned, over the steps of the followed models and over sizes, and whether frequent ones are first.

Makes: `qdg/learned.csv`, a row a cluster of every n_clusters, axis and reference, and `qdg/learned.json`, the rank correlations.
A loss has halved against the untrained model (its own loss at step 0, else the logarithm of the vocabulary), or against
what the target's frequency alone gives (reference unigram); or the target has the probability one half, a loss of ln 2 nats.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from quanta.arrays import evenly
from quanta.catalogue import context_rules, contexts, order_of_learning, when_learned
from quanta.clustering import membership
from quanta.corpus import decoding, encoding, vocabulary
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.losses import stored
from quanta.models.family import FAMILY_COLUMNS, in_order
from quanta.storage import files

SAMPLE = 40_000  # predictions that the rules of the descriptions are counted on


def main(inputs: Any, outputs: Any, params: Any) -> None:
    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    labels = membership.read_labels(inputs.labels, len(chosen))
    tokenizer = vocabulary.load_tokenizer(Path(inputs.tokenizer).parent)
    family = files.read_table(inputs.family, FAMILY_COLUMNS)
    parameters = family.set_index(["model", "step"])["non_embedding_parameters"]
    target = chosen["token_id"].to_numpy()
    counts = np.bincount(tokens.ids)
    unigram = -np.log(counts[target] / counts.sum())
    where = tokens.flat(chosen["document"].to_numpy(), chosen["position"].to_numpy())
    members = [tuple(member) for member in json.loads(params.members)]
    paths = dict(zip(members, inputs.losses, strict=True))
    losses = {member: stored.read_losses(path, tokens)[where] for member, path in paths.items()}

    axes = []
    for axis, line in json.loads(params.axes):
        points = in_order(line, family)
        at = np.array([parameters[point] if axis == "size" else point[1] for point in points], dtype=float)
        at, first = np.unique(at, return_index=True)  # of models of one size, the first
        curves = np.stack([losses[points[index]] for index in first])
        fresh = curves[0] if axis != "size" and at[0] == 0 else np.log(tokenizer.get_vocab_size())
        for reference, initial in (
            (when_learned.UNTRAINED, fresh),
            (when_learned.ONE_HALF, when_learned.ONE_HALF_NATS),
            (when_learned.UNIGRAM, unigram),
        ):
            places = when_learned.halving(curves, at, initial)
            axes.append(order_of_learning.Axis(axis, reference.name, places, max(float(at[0]), 1.0)))
    table = when_learned.learned(labels, {(axis.name, axis.reference): axis.places for axis in axes})

    described = files.read_table(inputs.described, ("n_clusters", "label", "rule"))
    described = described[described["n_clusters"] == params.show].sort_values("label")
    known = np.flatnonzero(tokens.predicted())
    sample = known[evenly(len(known), SAMPLE)]
    rules = [json.loads(rule) for rule in described["rule"]]
    found = context_rules.occurrences(rules, sample, tokens, decoding.Texts(tokenizer))
    own = membership.at(labels, params.show)
    order = order_of_learning.order_of_learning(
        labels,
        axes,
        order_of_learning.groupings(
            own,
            target,
            counts,
            found * (len(known) / len(sample)),
            *contexts.bigram_counts(tokens, chosen["document"].to_numpy(), chosen["position"].to_numpy()),
        ),
        target,
        order_of_learning.Inquiry(params.least, params.draws, params.seed),
        show=params.show,
    )
    files.write_table(outputs.table, table.replace(np.inf, np.nan))
    files.write_json(outputs.order, order | {"axes": [axis for axis, _ in json.loads(params.axes)]})


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
