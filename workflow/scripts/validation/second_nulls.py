"""Null models of the second clustering: an untrained model, targets and bigrams, each through the same functions.

Makes: `qdg/second/nulls.csv` (a row a model, the data first: slope of the envelope, what it is distinguishable from, and how far the
clusters agree with targets, with bigrams and with the data's) and `qdg/second/nulls_rank_frequency.csv` (model, rank, size).
"""

from typing import Any

import numpy as np
from quanta.affinity import cosine
from quanta.catalogue import composition, contexts
from quanta.clustering import assignment, membership
from quanta.corpus import encoding, resampling
from quanta.gradients import selection
from quanta.jobs.job import run
from quanta.storage import files
from quanta.validation import null_comparison, null_models

NAMES = ("clusters = target token", "clusters = bigram", "untrained model, same tokens")


def main(inputs: Any, outputs: Any, params: Any) -> None:
    from sklearn.metrics import adjusted_rand_score  # more than a second

    tokens = encoding.load_tokens(inputs.tokens, inputs.offsets)
    chosen = selection.read_selection(inputs.selection, tokens)
    document, position, target = (chosen[name].to_numpy() for name in ("document", "position", "token_id"))
    cosines = np.asarray(cosine.read_affinity(inputs.affinity))
    labels = membership.read_labels(inputs.labels, len(chosen))
    bigram = contexts.bigrams(tokens, document, position)
    untrained = np.asarray(cosine.read_affinity(inputs.untrained))
    data = null_models.Data(cosines, None, untrained, target, bigram, dimension=2, seed=params.seed)
    own = membership.at(labels, params.show)

    def about(found: Any) -> dict[str, float]:
        clusters = found[params.show]
        size = np.bincount(clusters)
        return {
            "purity_target": float((composition.purity(clusters, target) * size).sum() / size.sum()),
            "agreement_target": float(adjusted_rand_score(clusters, target)),
            "agreement_bigram": float(adjusted_rand_score(clusters, bigram)),
            "agreement_data": float(adjusted_rand_score(clusters, own)),
        }

    table, curves = null_comparison.compared(
        null_models.make(data, NAMES),
        cosines,
        labels,
        files.read_table(inputs.draws, ("draw", "kind", "slope")),
        None,
        assignment.Assignment.of(params),
        n_clusters=params.n_clusters,
        shares=tuple(params.rank_shares),
        n_tokens=len(chosen),
        seed=params.seed,
        groups=resampling.texts_of_documents(inputs.documents, tokens.n_documents)[document],
        about=about,
    )
    files.write_table(outputs.table, table)
    files.write_table(outputs.curves, curves)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
