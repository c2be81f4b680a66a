"""When each cluster is learned, and whether frequent ones are learned earlier: the quantization hypothesis itself, tested.

The paper's section 2 has a model learn its quanta in the order of their use frequencies. Here a token is learned where its
loss has halved, a cluster where half of its tokens are, and the order is held against frequencies by rank correlation.
Where a token is not learned within the axis its place is infinite; ranks and medians need no more than that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from quanta.arrays import Array, Bool, Float, Int
from quanta.catalogue import rank_correlation, when_learned
from quanta.catalogue.when_learned import ONE_HALF, UNTRAINED, Reference
from quanta.clustering import membership
from quanta.streams import Purpose, generator


@dataclass(frozen=True)
class Question:
    """Which correlation with the place of learning: of what groups, by which frequency, with what held fixed."""

    groups: str  # clusters, or targets: the null that groups tokens by their target
    frequency: str  # size, target or bigram (counts in the corpus), or rule (count of what the description says)
    given: str | None = None  # a frequency that is held fixed

    def in_words(self) -> dict[str, str | None]:
        """The question as keys of a correlation."""
        return {"groups": self.groups, "frequency": self.frequency, "given": self.given}


MAIN = Question("clusters", "size")
GIVEN_TARGET = Question("clusters", "size", "target")
GIVEN_BIGRAM = Question("clusters", "size", "bigram")
BY_TARGET = Question("clusters", "target")
BY_RULE = Question("clusters", "rule")
NULL = Question("targets", "size")
QUESTIONS = (  # all that are asked of each axis and reference, the main one first
    MAIN,
    GIVEN_TARGET,
    GIVEN_BIGRAM,
    BY_TARGET,
    BY_RULE,
    Question("clusters", "rule", "target"),
    NULL,
    Question("targets", "target"),
)


@dataclass(frozen=True)
class Grouping:
    """One way to group the tokens, with the frequencies that its groups are ordered by."""

    of: Int[Array, " token"]
    frequencies: Mapping[str, Float[Array, " group"]]  # always with `size`, in tokens

    def kept(self, least: int) -> Bool[Array, " group"]:
        """Groups of at least so many tokens."""
        return np.asarray(self.frequencies["size"] >= least)


def groupings(
    own: Int[Array, " token"],
    target: Int[Array, " token"],
    corpus_count: Int[Array, " id"],
    rule_count: Float[Array, " cluster"],
    bigram: Int[Array, " token"],
    bigram_count: Int[Array, " pair"],
) -> dict[str, Grouping]:
    """Tokens grouped by cluster (`own`) and by target, by the names that a `Question` gives them.

    `corpus_count` is how often the corpus has each token id, `rule_count` how often it has what each cluster's description says,
    `bigram_count` how often it has each pair of the token before and the target that `bigram` numbers.
    """
    names, group = np.unique(target, return_inverse=True)
    return {
        "clusters": Grouping(
            own,
            {
                "size": np.bincount(own),
                "target": corpus_count[typical(own, target)],
                "bigram": bigram_count[typical(own, bigram)],
                "rule": rule_count,
            },
        ),
        "targets": Grouping(group, {"size": np.bincount(group), "target": corpus_count[names]}),
    }


def typical(own: Int[Array, " token"], target: Int[Array, " token"]) -> Int[Array, " cluster"]:
    """The commonest target, or bigram, of each cluster."""
    return np.array([np.bincount(target[own == label]).argmax() for label in range(int(own.max()) + 1)])


@dataclass(frozen=True)
class Axis:
    """When each token is learned along one axis, against one reference; infinite if it is not learned within the axis."""

    name: str
    reference: str
    places: Float[Array, " token"]
    start: float  # first point of the axis

    def about(self) -> dict[str, str]:
        """The axis and its reference as keys of a correlation."""
        return {"axis": self.name, "reference": self.reference}


@dataclass(frozen=True)
class Inquiry:
    """How correlations are taken: groups of fewer than `least` tokens are left out."""

    least: int
    draws: int
    seed: int

    def answers(self, axis: Axis, grouped: Mapping[str, Grouping]) -> list[dict[str, Any]]:
        """A correlation per question, in the order of `QUESTIONS`."""
        rng = generator(self.seed, Purpose.ORDER_NULL)
        shuffled = rng.permuted(np.tile(rankdata(axis.places), (self.draws, 1)), axis=1)
        placed = {name: _Placed.of(one, axis.places, shuffled) for name, one in grouped.items()}
        return [
            axis.about()
            | question.in_words()
            | self._answer(question, grouped[question.groups], placed[question.groups], axis.start)
            for question in QUESTIONS
        ]

    def _answer(self, question: Question, grouping: Grouping, placed: "_Placed", start: float) -> dict[str, Any]:
        kept = grouping.kept(self.least)
        of = grouping.frequencies[question.frequency][kept]
        held = grouping.frequencies[question.given][kept] if question.given else None
        null = rank_correlation.dealt(of, placed.dealt[:, kept], given=held)
        centre = null["mean"] if null else 0.0
        found = rank_correlation.correlate(
            of, placed.middle[kept], given=held, centre=centre, draws=self.draws, seed=self.seed
        )
        where = placed.learned[kept]
        ends = {"not_learned": int(np.isinf(where).sum()), "at_first_point": int((where <= start).sum())}
        return found | {"dealt": null} | ends

    def within_target(self, axis: Axis, clusters: Grouping, targets: Int[Array, " cluster"]) -> dict[str, Any]:
        """Kendall's τ over pairs of clusters that share their commonest target."""
        kept = clusters.kept(self.least)
        middle = rank_correlation.middle_ranks(clusters.of, axis.places)[kept]
        size = clusters.frequencies["size"][kept]
        return axis.about() | rank_correlation.within_groups(
            size, middle, targets[kept], draws=self.draws, seed=self.seed
        )

    def of_clustering(self, axis: Axis, n_clusters: int, own: Int[Array, " token"]) -> dict[str, Any]:
        """The main question, of another number of clusters."""
        size = np.bincount(own)
        kept = size >= self.least
        middle = rank_correlation.middle_ranks(own, axis.places)[kept]
        found = rank_correlation.correlate(size[kept], middle, draws=self.draws, seed=self.seed)
        return axis.about() | {"n_clusters": n_clusters, **{key: found[key] for key in ("value", "interval", "n")}}


@dataclass(frozen=True)
class _Placed:
    """Where the groups are learned along an axis: middle ranks, those of tokens that are dealt out anew, and medians."""

    middle: Float[Array, " group"]
    dealt: Float[Array, "draw group"]
    learned: Float[Array, " group"]  # NaN for an empty group

    @classmethod
    def of(cls, grouping: Grouping, places: Float[Array, " token"], shuffled: Float[Array, "draw token"]) -> "_Placed":
        parts = (places[grouping.of == index] for index in range(int(grouping.of.max()) + 1))
        learned = [when_learned.median(part)[0] if len(part) else np.nan for part in parts]
        middle = rank_correlation.middle_ranks(grouping.of, places)
        return cls(middle, rank_correlation.middles(grouping.of, shuffled), np.array(learned))


def order_of_learning(
    labels: pd.DataFrame,
    axes: Sequence[Axis],
    grouped: Mapping[str, Grouping],
    target: Int[Array, " token"],
    inquiry: Inquiry,
    *,
    show: int,
) -> dict[str, Any]:
    """All that is said of the order of learning, the main line first.

    `grouped` is what `groupings` makes of the `show` clusters, `target` the token id that each token is.

    Returns:
        correlations: a list with axis, reference, the question's words, what `correlate` and `dealt` say, and the numbers of groups that
        are not learned within the axis and that are at its first point; within_target, equal_tokens and by_n_clusters next to it.
    """
    clusters = grouped["clusters"]
    targets = typical(clusters.of, target)
    ks = sorted(int(k) for k in labels["n_clusters"].unique())
    least, seed = inquiry.least, inquiry.seed
    return {
        "n_clusters": show,
        "least_tokens": least,
        "correlations": [line for axis in axes for line in inquiry.answers(axis, grouped)],
        "within_target": [inquiry.within_target(axis, clusters, targets) for axis in axes],
        "equal_tokens": [
            axis.about() | rank_correlation.equal_tokens(clusters.of, axis.places, least=least, seed=seed)
            for axis in axes
        ],
        "by_n_clusters": [inquiry.of_clustering(axis, k, membership.at(labels, k)) for axis in axes for k in ks],
        "method": "Spearman's rank correlation with the median rank of a cluster's tokens; 90 % intervals by bootstrap over clusters and "
        f"two-sided p-values by permutation, {inquiry.draws} draws each; tokens that are not learned within the axis rank last",
    }


def verdict(line: Mapping[str, Any]) -> str:
    """What a correlation says of the hypothesis, in words."""
    if line["value"] is None or not line["interval"]:
        return "Too few clusters to say whether frequent ones are learned earlier"
    low, high = line["interval"]
    if high < 0:
        return "Frequent clusters are learned earlier"
    if low > 0:
        return "Frequent clusters are learned later"
    return "It is open whether frequent clusters are learned earlier"


def line_of(
    order: Mapping[str, Any], axis: str, question: Question = MAIN, *, reference: str | None = None
) -> dict[str, Any]:
    """The answer to a question on an axis, against a reference (else the axis's main one)."""
    wanted = {"axis": axis, "reference": reference or main_reference(axis).name, **question.in_words()}
    return next(dict(line) for line in order["correlations"] if all(line[key] == v for key, v in wanted.items()))


def main_reference(axis: str) -> Reference:
    """What the main line of an axis is learned against.

    Over steps the untrained model's loss. Over sizes the probability one half of the target: the smallest model of a family has already
    halved nearly all of what a larger one predicts with confidence.
    """
    return ONE_HALF if axis == "size" else UNTRAINED
