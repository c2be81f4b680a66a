"""When each cluster is learned, and whether frequent ones are learned earlier: the quantization hypothesis itself, tested.

The paper's section 2 has a model learn its quanta in the order of their use frequencies. Here a token is learned where its
loss has halved, a cluster where half of its tokens are, and the order is held against frequencies by rank correlation.
Where a token is not learned within the axis its place is infinite; ranks and medians need no more than that.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from quanta.arrays import Array, Float, Int
from quanta.catalogue import rank_correlation, when_learned
from quanta.clustering import membership
from quanta.streams import Purpose, generator


def order_of_learning(
    table: pd.DataFrame,
    labels: pd.DataFrame,
    places: Mapping[tuple[str, str], Float[Array, " token"]],
    target: Int[Array, " token"],
    corpus_count: Int[Array, " id"],
    rule_count: Float[Array, " cluster"],
    starts: Mapping[str, float],
    *,
    show: int,
    least: int,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """All that is said of the order of learning, the main line first.

    `table` is that of `learned`, `target` the token id that each token is, `corpus_count` how often the corpus has each id, and
    `rule_count` how often it has what the descriptions of the `show` clusters say, `starts` the first point of each axis. Groups
    of fewer than `least` tokens are left out.

    Returns:
        correlations: a list with axis, reference, groups (clusters, or targets: the null that groups tokens by their target),
        frequency (size, target, rule), given (null or target), what `correlate` and `dealt` say, with the numbers of groups that are not
        learned within the axis and that are at its first point; within_target, equal_tokens and by_n_clusters beside it.
    """
    own = membership.at(labels, show)
    size = np.bincount(own)
    typical = np.array([np.bincount(target[own == label]).argmax() for label in range(len(size))])
    names, group = np.unique(target, return_inverse=True)
    group_size = np.bincount(group)
    draw: dict[str, Any] = {"draws": draws, "seed": seed}
    groupings = {"clusters": own, "targets": group}
    lines: list[dict[str, Any]] = []
    within, equal, by_k = [], [], []
    for (axis, reference), values in places.items():
        about = {"axis": axis, "reference": reference}
        part = table[(table["axis"] == axis) & (table["reference"] == reference)]
        place = part[part["n_clusters"] == show].sort_values("label")["learned"].to_numpy()
        alone = np.array([when_learned.median(values[group == index])[0] for index in range(len(names))])
        middles = {name: rank_correlation.middle_ranks(by, values) for name, by in groupings.items()}
        rng = generator(seed, Purpose.ORDER_NULL)
        shuffled = rng.permuted(np.tile(rankdata(values), (draws, 1)), axis=1)
        anew = {name: rank_correlation.middles(by, shuffled) for name, by in groupings.items()}
        of_clusters = {"size": size, "target": corpus_count[typical], "rule": rule_count}
        of_targets = {"size": group_size, "target": corpus_count[names]}
        wanted = (
            ("clusters", of_clusters, place, "size", None),
            ("clusters", of_clusters, place, "size", "target"),
            ("clusters", of_clusters, place, "target", None),
            ("clusters", of_clusters, place, "rule", None),
            ("clusters", of_clusters, place, "rule", "target"),
            ("targets", of_targets, alone, "size", None),
            ("targets", of_targets, alone, "target", None),
        )
        for groups, frequencies, where, frequency, given in wanted:
            kept = frequencies["size"] >= least
            of, held = frequencies[frequency][kept], frequencies[given][kept] if given else None
            middle = middles[groups][kept]
            null = rank_correlation.dealt(of, anew[groups][:, kept], given=held)
            found = rank_correlation.correlate(of, middle, given=held, centre=null["mean"] if null else 0.0, **draw) | {
                "dealt": null
            }
            ends = {
                "not_learned": int(np.isinf(where[kept]).sum()),
                "at_first_point": int((where[kept] <= starts[axis]).sum()),
            }
            lines.append(about | {"groups": groups, "frequency": frequency, "given": given} | found | ends)
        kept = size >= least
        within.append(
            about | rank_correlation.within_groups(size[kept], middles["clusters"][kept], typical[kept], **draw)
        )
        equal.append(about | rank_correlation.equal_tokens(own, values, least=least, seed=seed))
        for k, clustering in part.groupby("n_clusters"):
            number = clustering.sort_values("label")["size"].to_numpy()
            some = number >= least
            found = rank_correlation.correlate(
                number[some], rank_correlation.middle_ranks(membership.at(labels, int(k)), values)[some], **draw
            )
            by_k.append(about | {"n_clusters": int(k), **{key: found[key] for key in ("value", "interval", "n")}})
    return {
        "n_clusters": show,
        "least_tokens": least,
        "correlations": lines,
        "within_target": within,
        "equal_tokens": equal,
        "by_n_clusters": by_k,
        "method": "Spearman's rank correlation with the median rank of a cluster's tokens; 90 % intervals by bootstrap over clusters and "
        f"two-sided p-values by permutation, {draws} draws each; tokens that are not learned within the axis rank last",
    }


def verdict(line: Mapping[str, Any]) -> str:
    """What a correlation says of the hypothesis, in words."""
    if line["value"] is None or not line["interval"]:
        return "too few clusters to say whether frequent ones are learned earlier"
    low, high = line["interval"]
    if high < 0:
        return "frequent clusters are learned earlier"
    if low > 0:
        return "frequent clusters are learned later"
    return "it is open whether frequent clusters are learned earlier"


def line_of(order: Mapping[str, Any], axis: str, **wanted: Any) -> dict[str, Any]:
    """The first correlation of an axis that has the wanted reference, groups, frequency or given."""
    wanted = {"axis": axis, **wanted}
    return next(dict(line) for line in order["correlations"] if all(line[key] == v for key, v in wanted.items()))


def main_reference(axis: str) -> str:
    """What the main line of an axis is learned against.

    Over steps the untrained model's loss. Over sizes even odds for the target: the smallest model of a family has already
    halved nearly all of what a larger one predicts with confidence.
    """
    return "even odds" if axis == "size" else "untrained"


def main_line(order: Mapping[str, Any], axis: str) -> dict[str, Any]:
    """The correlation of cluster size with the place of learning on an axis."""
    return line_of(order, axis, reference=main_reference(axis), groups="clusters", frequency="size", given=None)
