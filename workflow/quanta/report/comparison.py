"""The run's numbers next to the paper's (arXiv 2303.13506): sections 2, 4 and 5, on language models.

Section 3, sparse parity, is `parity_comparison`. Each number is a `Row`. A row names the file of its number and the key there:
`a.b` is a key within a key; `[column=value; column=value]` the entry of a list, or the rows of a table, that have these values;
`.column` a column there; `a / b`, `-a - 1` and `largest a` are what they say.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from quanta.catalogue import order_of_learning
from quanta.parity.learning_curves import LANGUAGE
from quanta.report import paper
from quanta.report.wording import value_with_interval
from quanta.scaling import recurrence
from quanta.storage import files
from quanta.validation import stability

PAPER = "arXiv 2303.13506"
NOT_THERE = "not in the paper"
NO_NUMBER = "this run has no such number"
FITS, QDG, LEARNED = "scaling/fits.json", "qdg/fits.json", "qdg/learned.json"
ALONE = "interventions/alone.json"
SECOND_NULLS, SECOND_LEARNED = "qdg/second/nulls.csv", "qdg/second/learned.json"
BY_SIZE, SELECTION = "scaling/tokens_by_size.json", "qdg/selection.json"
RECURS = {  # kinds of `recurrence`, as a reader is told; `{drop}` is the threshold in nats
    "drop": "drops of more than {drop:g} nats between neighbouring model sizes",
    "sharp": "tokens with a sharp fall",
    "monogenic": "monogenic tokens",
    "polygenic": "polygenic tokens",
}

Fit = Mapping[str, Any]  # value (None: there is none) and interval (None or absent: none)


@dataclass(frozen=True)
class Row:
    """A number of the run, the file and key that it comes from, and the paper's number if it has one."""

    quantity: str
    ours: str
    file: str
    key: str
    paper: str = ""
    verdict: tuple[str, str] = ("", "")  # agrees, disagrees, inconclusive or nothing; and why

    def record(self) -> dict[str, str]:
        """The row as columns of `report/paper_against_ours.csv`."""
        verdict, why = self.verdict
        return {
            "quantity": self.quantity,
            "paper": self.paper,
            "ours": self.ours,
            "verdict": verdict,
            "why": why or ("" if verdict or self.paper else NOT_THERE),
            "file": self.file,
            "key": self.key,
        }


def table(rows: Iterable[Row]) -> pd.DataFrame:
    """Rows as a table: quantity, paper, ours, verdict, why, file, key."""
    return pd.DataFrame([row.record() for row in rows])


@dataclass(frozen=True)
class Run:
    """What a run found on language models, as its files have it."""

    mean_loss: pd.DataFrame
    scaling: Mapping[str, Any]  # scaling/fits.json
    curves: Mapping[str, Mapping[str, Any]]  # scaling/tokens_by_{axis}.json, by axis
    selection: Mapping[str, Any]  # qdg/selection.json
    qdg: Mapping[str, Any]  # qdg/fits.json
    order: Mapping[str, Any]  # qdg/learned.json
    learning: Sequence[str]  # axes of learning, the main one first
    draws: pd.DataFrame  # qdg/stability.csv
    nulls: pd.DataFrame  # calibration/nulls.csv, the data first
    on_nets: pd.DataFrame  # recorded: `parity.estimates.coverage` of nets whose α is known
    seeds: Mapping[str, Any] | None  # scaling/seeds_sharpness.json, if sizes have several seeds
    published: Mapping[str, Any]  # theory/fits.json, published exponents
    settings: Mapping[str, Any]  # of the run, by keys of the paper's numbers
    documents: int
    final_step: int
    threshold: float  # nats, below which a token is a candidate
    model: str  # that is clustered
    alone: Mapping[str, Any] | None = None  # interventions/alone.json, if the run has it
    second_order: Mapping[str, Any] | None = None  # qdg/second/learned.json, if the run has it
    second_nulls: pd.DataFrame | None = None  # qdg/second/nulls.csv, if the run has it

    @cached_property
    def ours(self) -> dict[str, Any]:
        """The run's numbers by the keys of `paper.PUBLISHED`."""
        return paper.of_run(self.mean_loss, self.scaling, self.qdg, self.settings, documents=self.documents)

    @cached_property
    def family(self) -> pd.DataFrame:
        """Rows of the mean losses of fully trained models."""
        return self.mean_loss[self.mean_loss["step"] == self.final_step]

    @cached_property
    def learned(self) -> dict[str, dict[str, Any]]:
        """The main rank correlation of each axis of learning."""
        return {axis: order_of_learning.line_of(self.order, axis) for axis in self.learning}

    @cached_property
    def clustered_anew(self) -> dict[str, Any]:
        """The envelope's slope with its interval from halves that were clustered again."""
        halves = self.draws.loc[self.draws["kind"] == "half", "slope"].to_numpy()
        return stability.half_sample_interval(self.qdg["envelope_slope"]["value"], halves)

    @cached_property
    def coverage_on_nets(self) -> dict[str, Any]:
        """How often the simulator's intervals hold α of nets whose truth is known: nets, held, nominal."""
        table = self.on_nets
        of = table[(table["condition"] == "base") & (table["estimator"] == LANGUAGE)].iloc[0]
        nets = int(of["nets"])
        return {"nets": nets, "held": round(float(of["covered"]) * nets), "nominal": float(of["nominal"])}

    @cached_property
    def null_models(self) -> list[Any]:
        """Rows of the null models, without the data's."""
        return list(self.nulls.iloc[1:].itertuples(index=False))


def rows(run: Run) -> list[Row]:
    """All rows on language models, in the order of the report."""
    return [
        *exponents(run),
        *selected_tokens(run),
        *(single_tokens(run) if "size" in run.curves else []),
        *calibrated(run),
        *null_slopes(run),
        *(second_slopes(run.second_nulls) if run.second_nulls is not None else []),
        *(learning(run) if run.learned else []),
        *(second_learning(run.second_order, run.learning[0]) if run.second_order and run.learning else []),
        *(recurring(run.seeds) if run.seeds else []),
        *(removed(run.alone) + after_transfer(run.alone) if run.alone else []),
        *published(run.published),
    ]


# -------------------------------------------------------------------------------- sections 4 and 5.1: the two exponents


def exponents(run: Run) -> list[Row]:
    """α_N of the mean loss (section 4) and the slope of cluster sizes by rank (section 5.1), with what that fit rests on."""
    alpha, slope = run.scaling["alpha_n"], run.qdg["envelope_slope"]
    theory, tokens = theory_slope(alpha), slope["n_tokens"]
    return [
        Row("α_N, mean loss against non-embedding parameters", value_with_interval(alpha), FITS, "alpha_n", "0.083",
            paper.judged("alpha_n", alpha, run.ours)),
        Row("slope of the rank-frequency envelope", value_with_interval(slope), QDG, "envelope_slope", "-1.24",
            paper.judged("envelope_slope", slope, run.ours)),
        Row("the theory's slope, −(α_N + 1)", value_with_interval(theory), FITS, "-alpha_n - 1", "-1.083",
            paper.judged("theory_slope", theory, run.ours)),
        Row("ranks of the slope's fit", "{} to {}".format(*slope["ranks"]), QDG, "envelope_slope.ranks", "100 to 1000",
            same_ranks(slope)),
        Row("tokens clustered", str(tokens), QDG, "envelope_slope.n_tokens", "10000",
            paper.judged("qdg_tokens", {"value": tokens}, run.ours)),
        Row("null: slope of the target tokens' own frequencies", value_with_interval(run.qdg["identity_slope"]), QDG,
            "identity_slope"),
    ]  # fmt: skip


def theory_slope(alpha: Fit) -> dict[str, Any]:
    """The theory's −(α_N + 1) with the interval of α_N."""
    if alpha["value"] is None:
        return {"value": None, "interval": None}
    interval = [-alpha["interval"][1] - 1, -alpha["interval"][0] - 1] if alpha.get("interval") else None
    return {"value": -alpha["value"] - 1, "interval": interval}


def same_ranks(slope: Mapping[str, Any]) -> tuple[str, str]:
    """Whether the fit takes the paper's ranks, as shares of the number of tokens, in words; no verdict on other ones."""
    shares = [rank / slope["n_tokens"] for rank in slope["ranks"]]
    theirs = [paper.BY_KEY[key].value / paper.BY_KEY["qdg_tokens"].value for key in ("first_rank", "last_rank")]
    if max(abs(a - b) for a, b in zip(shares, theirs, strict=True)) < 1 / slope["n_tokens"]:
        return paper.AGREES, "the same shares of the tokens"
    found, known = (f"{first:.3g} to {last:.3g}" for first, last in (shares, theirs))
    return "", f"other shares of the tokens: {found}, not {known}"


# --------------------------------------------------------------------------------------- sections 4 and 5: single tokens


def selected_tokens(run: Run) -> list[Row]:
    """How many tokens could be clustered, and how many of these are left out as copies (section 5)."""
    counts = run.selection
    low = counts["below_threshold"]
    return [
        Row(f"share of tokens below {run.threshold:g} nats, {run.model}", f"{low / counts['predictions']:.4f}", SELECTION,
            "below_threshold / predictions"),
        Row("of these, by induction", f"{counts['by_induction'] / max(low, 1):.3f}", SELECTION,
            "by_induction / below_threshold"),
    ]  # fmt: skip


def single_tokens(run: Run) -> list[Row]:
    """How many tokens are learned at one model size (section 4: few)."""
    size = run.curves["size"]
    monogenic, fell = size["monogenic"] / size["predictions"], max(size["fell"], 1)
    return [
        Row("monogenic tokens, share of all predictions", f"{monogenic:.2e}", BY_SIZE, "monogenic / predictions", "few",
            is_few(monogenic, run)),
        Row(f"sharp falls, as a share of tokens that fall by at least {size['fall_nats']:g} nats",
            f"{size['sharp'] / fell:.3f}", BY_SIZE, "sharp / fell", "few", is_few(size["sharp"] / fell, run)),
        Row("of the same tokens: the loss rises elsewhere by over 10 % of the fall", f"{size['not_monotone'] / fell:.3f}",
            BY_SIZE, "not_monotone / fell"),
    ]  # fmt: skip


def is_few(share: float, run: Run) -> tuple[str, str]:
    """Whether a share is few, in models and texts that are the paper's; else how far apart the sizes are."""
    differ = paper.differences(run.ours, paper.OF_LOSSES)
    if not differ:
        return (paper.AGREES, f"less than {paper.FEW:g}") if share < paper.FEW else (paper.DISAGREES, "")
    sizes = sorted(set(run.family["non_embedding_parameters"]))
    factor = (sizes[-1] / sizes[0]) ** (1 / max(len(sizes) - 1, 1))
    theirs = [count for _, count in paper.NAMES_NOW.values()]
    known = (theirs[-1] / theirs[0]) ** (1 / (len(theirs) - 1))
    apart = f"sizes a factor of {factor:.1f} apart (the paper's: {known:.1f})"
    return paper.not_compared(f"{differ}; {apart}")


def recurring(seeds: Mapping[str, Any]) -> list[Row]:
    """Whether drops of single tokens recur with another seed (section 4, which has one seed)."""
    sizes, found = len(seeds["non_embedding_parameters"]), []
    for kind, words in RECURS.items():
        for where in (recurrence.ANOTHER, recurrence.AVERAGE):
            fit, why = seeds["recurs"][kind][where], ""
            chance = "" if fit["expected"] is None else f" (independent: {fit['expected']:.3f})"
            if fit["value"] is None:
                why = f"no token of the {sizes} sizes with several seeds is one"
                if kind == "polygenic" and sizes <= 3:
                    why += f": with so few intervals of model size, one always has {1 / (sizes - 1):.0%} of the fall or more"
            quantity = f"{words.format(drop=seeds['drop_nats'])}, share that recurs in {where}"
            ours = f"{value_with_interval(fit)}{chance}"
            key = f"recurs.{kind}.{where}"
            found.append(Row(quantity, ours, "scaling/seeds_sharpness.json", key, verdict=("", why)))
    return found


def after_transfer(alone: Mapping[str, Any]) -> list[Row]:
    """The slope of cluster sizes by rank, as found and after what transfer does to the clusters (no such test in the paper)."""
    return [
        Row(f"slope of sizes by rank, {one['meaning']}, {one['step']} ({one['clusters']})", value_with_interval(one), ALONE,
            f"law[grouping={one['grouping']}; step={one['step']}]")
        for one in alone.get("law", [])
    ]  # fmt: skip


def removed(alone: Mapping[str, Any]) -> list[Row]:
    """How many groups can be removed alone (no such test in the paper), clusters and what stands beside them."""
    ways = {"removal": "", "noise": "by noise "}
    return [
        Row(f"{one['meaning']}, removed alone {ways[one['kind']]}(halves: {one['halving']})", f"{one['alone']} of {one['of']}", ALONE,
            f"counts[kind={one['kind']}; grouping={one['grouping']}; halving={one['halving']}].alone")
        for one in alone["counts"] if one["kind"] in ways
    ]  # fmt: skip


# ------------------------------------------------------------------- section 5.1: what the slope says, and of null models


def calibrated(run: Run) -> list[Row]:
    """The exponent without the bias of clustering: by simulation, by collisions, and the slope's spread over halves."""
    fit, pairs, coverage = (run.qdg[key] for key in ("calibrated_alpha", "alpha_by_collisions", "coverage"))
    return [
        Row("the simulator's exponent α", value_with_interval(fit), QDG, "calibrated_alpha",
            verdict=("", no_measurement(run.coverage_on_nets))),
        Row("what the simulator says of its match", fit["verdict"], QDG, "calibrated_alpha.verdict"),
        Row(f"exponent α by collisions of pairs above a cosine of {pairs['threshold']:g}", value_with_interval(pairs), QDG,
            "alpha_by_collisions"),
        Row("coverage of 90 % intervals on held-out simulations", f"{coverage['found']:.3f} of {coverage['n']}", QDG,
            "coverage.found"),
        Row("slope with the clustering repeated on halves", value_with_interval(run.clustered_anew), "report/summary.json",
            "numbers.envelope_slope_clustered_anew"),
    ]  # fmt: skip


def no_measurement(on_nets: Mapping[str, Any]) -> str:
    """Why the simulator's exponent is no measurement of α: what its intervals are worth where α is known."""
    held = f"holds α of {on_nets['held']} of {on_nets['nets']} nets"
    return f"no measurement: the {on_nets['nominal']:.0%} interval {held}. No wider prior is useful (docs/parity.md)"


def null_slopes(run: Run) -> list[Row]:
    """The slope of each null model: what it shares with the data says nothing of skills."""
    return [
        Row(f"slope of null model: {null.model}", null_words(null), "calibration/nulls.csv", f"[model={null.model}].slope")
        for null in run.null_models
    ]  # fmt: skip


def second_slopes(nulls: pd.DataFrame) -> list[Row]:
    """The slope of the second clustering, and of its null models, with how far their clusters are targets."""
    found = []
    for one in nulls.itertuples(index=False):
        slope = f"{one.slope:.3f}" if one.model == nulls["model"].iloc[0] else null_words(one)
        words = f"{slope}; agreement with targets {one.agreement_target:.2f}"
        found.append(Row(f"second affinity, slope of {one.model}", words, SECOND_NULLS, f"[model={one.model}].slope"))
    return found


def second_learning(order: Mapping[str, Any], axis: str) -> list[Row]:
    """Whether frequent clusters of the second affinity are learned first, with target or bigram held fixed too."""
    found = []
    for words, question in (
        ("", order_of_learning.MAIN),
        (", given the corpus's count of the target", order_of_learning.GIVEN_TARGET),
        (", given the corpus's count of the bigram", order_of_learning.GIVEN_BIGRAM),
    ):
        line = order_of_learning.line_of(order, axis, question)
        what = f"second affinity, rank correlation of size with when it is learned{words}, {axis}"
        found.append(Row(what, value_with_interval(line), SECOND_LEARNED, correlation_key(line)))
    return found


def null_words(null: Any) -> str:
    """A null model's slope and how it compares with the data's."""
    slope = "no slope" if pd.isna(null.slope) else f"{null.slope:.3f}"
    return f"{slope} ({null.words})"


# ------------------------------------------------------------------------------------------- section 2: the hypothesis


def learning(run: Run) -> list[Row]:
    """The hypothesis that frequent quanta are learned first, and what speaks against reading it off cluster size."""
    found = [
        Row(f"rank correlation of cluster size and time of learning, {over(axis)}", value_with_interval(line), LEARNED,
            correlation_key(line), "negative (hypothesis)", is_negative(line))
        for axis, line in run.learned.items()
    ]  # fmt: skip
    axis = next(iter(run.learned))
    for words, question in (
        ("the same, with the corpus's count of the target held fixed", order_of_learning.GIVEN_TARGET),
        ("the same, with the corpus's count of the bigram held fixed", order_of_learning.GIVEN_BIGRAM),
        ("null: groups of one target, group size", order_of_learning.NULL),
    ):
        line = order_of_learning.line_of(run.order, axis, question)
        found.append(Row(f"{words}, {over(axis)}", value_with_interval(line), LEARNED, correlation_key(line)))
    return found


def over(axis: str) -> str:
    """An axis of learning in words."""
    return "over model sizes" if axis == "size" else f"over {axis.replace('step of', 'steps of', 1)}"


def correlation_key(line: Mapping[str, Any]) -> str:
    """Where qdg/learned.json has a correlation."""
    names = ("axis", "reference", "groups", "frequency", "given")
    return "correlations[" + "; ".join(f"{name}={line[name]}" for name in names) + "]"


def is_negative(line: Fit) -> tuple[str, str]:
    """Whether the hypothesis of a negative correlation holds, and what says so."""
    if line["value"] is None:
        return "", NO_NUMBER
    if line["interval"] is None:
        return paper.INCONCLUSIVE, "no interval"
    low, high = line["interval"]
    if high < 0:
        return paper.AGREES, "the interval is below 0"
    return (paper.INCONCLUSIVE, "the interval holds 0") if low <= 0 else (paper.DISAGREES, "the interval is above 0")


def published(exponents_of_others: Mapping[str, Any]) -> list[Row]:
    """How well the theory's α_D = α_N/(α_N + 1) fits published exponents (section 2)."""
    counts = exponents_of_others
    within = f"{counts['within_factor']} of {counts['pairs']}"
    what = f"published α_D within a factor {counts['factor']:g} of α_N/(α_N + 1)"
    constant = f"one constant for all predicts {counts['within_factor_if_constant']}"
    return [Row(what, within, "theory/fits.json", "published.within_factor", verdict=("", constant))]


# ------------------------------------------------------------------------------------------------------- in sentences


def headline(run: Run) -> list[str]:
    """The run in a few sentences, as one would say them."""
    first = next(iter(run.learned), None)
    return [
        *([sizes_words(run.scaling["alpha_n"])] if "size" in run.curves else []),
        *([run.alone["headline"]] if run.alone else []),
        slope_words(run),
        *([] if first is None else [learning_words(first, run.learned[first])]),
        *([recurring_words(run.seeds)] if run.seeds else []),
    ]


def sizes_words(alpha: Mapping[str, Any]) -> str:
    """The exponent of the mean loss, and what it is fitted to."""
    fitted = f"{alpha['n_sizes']} model sizes, {len(alpha['points_used'])} models"
    if alpha["value"] is None:
        return f"The loss has no exponent over model size ({fitted})."
    falls = "The mean loss falls as a power of model size, with exponent"
    return f"{falls} {value_with_interval(alpha)} ({fitted}).{bend_words(alpha)}"


def bend_words(alpha: Mapping[str, Any]) -> str:
    """Where local slopes drift, that there is no single exponent; empty where a straight line is not refused."""
    bend = alpha.get("bend")
    if bend is None or bend["single_power_law"]:
        return ""
    drift = f"{bend['alpha_at_smallest']:.3f} at the smallest size to {bend['alpha_at_largest']:.3f} at the largest"
    return f" No single power law fits: the local exponent goes from {drift}."


def slope_words(run: Run) -> str:
    """The slope of cluster sizes, and which null models have it as well."""
    same, other = distinguished(run, False), distinguished(run, True)
    value = f"The slope of cluster size over rank is {value_with_interval(run.qdg['envelope_slope'])}."
    if not same and not other:
        return f"{value} No null model was tested."
    if not same:
        return f"{value} Each of {len(other)} null models has another slope."
    untrained = ", an untrained model among them" if any("untrained" in name for name in same) else ""
    return f"{value} {len(same)} of {len(same) + len(other)} null models have the same{untrained}. By itself it is no evidence of quanta."


def distinguished(run: Run, answer: bool) -> list[str]:
    """Names of the null models whose slope is (`answer`), or is not, distinguishable from the data's; untested ones are neither."""
    return [null.model for null in run.null_models if files.truth(null.distinguishable) is answer]


def learning_words(axis: str, line: Mapping[str, Any]) -> str:
    """What an axis says of the hypothesis."""
    verdict = order_of_learning.verdict(line)
    if line["value"] is None:
        return f"{verdict} ({over(axis)})."
    return (
        f"{verdict}: ρ = {value_with_interval(line)}, p = {line['p_value']:.2g} ({line['n']} clusters, {over(axis)})."
    )


def recurring_words(seeds: Mapping[str, Any]) -> str:
    """How many drops recur with another seed."""
    fit, sizes = seeds["recurs"]["drop"][recurrence.ANOTHER], seeds["non_embedding_parameters"]
    among = f"{len(sizes)} model sizes up to {sizes[-1]:,} parameters"
    drops = f"of more than {seeds['drop_nats']:g} nat{'' if seeds['drop_nats'] == 1 else 's'} between neighbouring model sizes"
    if fit["value"] is None:
        return f"No token has a drop {drops} to look for with another seed ({among})."
    low, high = fit["interval"]
    return (
        f"Of drops {drops}, {fit['value']:.0%} [{low:.0%}, {high:.0%}] recur with another seed. "
        f"By chance {fit['expected']:.0%} would ({among})."
    )


def numbers(run: Run, parity: Mapping[str, Any] | None) -> dict[str, Any]:
    """The run's main numbers by name, for report/summary.json; `parity` is the extent of sparse parity, if the run has it."""
    return {
        "alpha_n": run.scaling["alpha_n"],
        "alpha_n_with_irreducible_loss": run.scaling.get("alpha_n_with_irreducible_loss"),
        "envelope_slope": run.qdg["envelope_slope"],
        "identity_slope": run.qdg["identity_slope"],
        "parity": parity,
        "calibrated_alpha": run.qdg["calibrated_alpha"],
        "alpha_by_collisions": run.qdg["alpha_by_collisions"],
        "coverage": run.qdg["coverage"],
        "coverage_on_nets": run.coverage_on_nets,
        "envelope_slope_clustered_anew": run.clustered_anew,
        "nulls": {null.model: null_words(null) for null in run.null_models},
        "selection": run.selection,
        "order_of_learning": run.learned,
        "seeds": run.seeds,
        "removed_alone": run.alone,
        "token_curves": run.curves,
    }
