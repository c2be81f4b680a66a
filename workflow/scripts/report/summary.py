"""The run's main numbers beside the paper's, each with the file that it comes from.

Makes: `report/summary.json` (headline, numbers, corpus, family), `report/paper_against_ours.csv` with agreement and reason, and
`report/paper_checks.csv`: every number of the paper's language models, the tolerance, this run's, and whether they agree.

A number's key: `a.b` is a key within a key; `[column=value; column=value]` the entry of a list, or the rows of a table, that have these
values; `.column` a column there; `a / b`, `-a - 1` and `largest a` what they say.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from quanta.catalogue import order_of_learning
from quanta.jobs.job import run
from quanta.report import paper
from quanta.scaling import recurrence
from quanta.storage import files
from quanta.validation import stability

PAPER = "arXiv 2303.13506"
NOT_THERE = "not in the paper"
# recorded runs of sparse parity, and why they may differ
RECORDED = {
    "a larger run, recorded": "a smaller problem: docs/parity.md",
    "the paper's tasks, recorded": "the paper's tasks, batch and learning rate; fewer widths, training sets and steps: docs/parity.md",
}
MEAN_LOSS = ("model", "step", "non_embedding_parameters", "mean_loss_nats", "n_predictions")


def main(inputs: Any, outputs: Any, params: Any) -> None:
    mean_loss = files.read_table(inputs.mean_loss, MEAN_LOSS)
    scaling, qdg = files.read_json(inputs.scaling), files.read_json(inputs.qdg)
    selection = files.read_json(inputs.selection)
    curves = {axis: files.read_json(path) for axis, path in zip(params.axes, inputs.curves, strict=True)}
    alpha, slope, null = scaling["alpha_n"], qdg["envelope_slope"], qdg["identity_slope"]
    low_share = selection["below_threshold"] / selection["predictions"]
    order = files.read_json(inputs.learned) if params.learning else {}
    learned = {axis: order_of_learning.main_line(order, axis) for axis in params.learning}
    luck = files.read_json(inputs.seeds[0]) if inputs.seeds else None
    calibrated, pairs = qdg["calibrated_alpha"], qdg["alpha_by_collisions"]
    draws = files.read_table(inputs.stability, ("kind", "slope"))
    anew = stability.half_sample_interval(slope["value"], draws.loc[draws["kind"] == "half", "slope"].to_numpy())
    others = list(
        files.read_table(inputs.nulls, ("model", "slope", "distinguishable", "words")).iloc[1:].itertuples(index=False)
    )

    parity = json.loads(params.parity) if params.parity else None
    documents = len(files.read_table(inputs.documents, ("document",)))
    ours = paper.of_run(mean_loss, scaling, qdg, json.loads(params.settings), documents=documents)
    family = mean_loss[mean_loss["step"] == params.final_step]
    rows = [
        (
            "α_N, mean loss against non-embedding parameters", "0.083", alpha, "scaling/fits.json", "alpha_n",
            *paper.judged("alpha_n", alpha, ours),
        ),
        (
            "slope of the rank-frequency envelope", "-1.24", slope, "qdg/fits.json", "envelope_slope",
            *paper.judged("envelope_slope", slope, ours),
        ),
        (
            "the theory's slope, −(α_N + 1)", "-1.083", _theory(alpha), "scaling/fits.json", "-alpha_n - 1",
            *paper.judged("theory_slope", _theory(alpha), ours),
        ),
        (
            "ranks of that fit", "100 to 1000", "{} to {}".format(*slope["ranks"]), "qdg/fits.json", "envelope_slope.ranks",
            *_ranks(slope),
        ),
        (
            "tokens clustered", "10000", str(slope["n_tokens"]), "qdg/fits.json", "envelope_slope.n_tokens",
            *paper.judged("qdg_tokens", {"value": slope["n_tokens"]}, ours),
        ),
        ("null: slope of the target tokens' own frequencies", "", null, "qdg/fits.json", "identity_slope"),
        (
            f"share of tokens below {params.threshold:g} nats, {params.qdg_model}", "",
            f"{low_share:.4f}", "qdg/selection.json", "below_threshold / predictions",
        ),
        (
            "of these, by induction", "",
            f"{selection['by_induction'] / max(selection['below_threshold'], 1):.3f}", "qdg/selection.json",
            "by_induction / below_threshold",
        ),
        *(_size_rows(curves["size"], family) if "size" in curves else []),
        ("exponent α, calibrated by simulation", "", calibrated, "qdg/fits.json", "calibrated_alpha"),
        ("what the calibration says", "", calibrated["verdict"], "qdg/fits.json", "calibrated_alpha.verdict"),
        (
            f"exponent α by collisions of pairs above a cosine of {pairs['threshold']:g}", "",
            pairs, "qdg/fits.json", "alpha_by_collisions",
        ),
        (
            "coverage of 90 % intervals on held-out simulations", "",
            f"{qdg['coverage']['found']:.3f} of {qdg['coverage']['n']}", "qdg/fits.json", "coverage.found",
        ),
        (
            "slope with the clustering done anew on halves", "", anew,
            "report/summary.json", "numbers.envelope_slope_clustered_anew",
        ),
        *((f"slope of null model: {null.model}", "", _null(null), "calibration/nulls.csv", f"[model={null.model}].slope") for null in others),
        *(_learning_rows(order, learned) if learned else []),
        *(_seed_rows(luck) if luck else []),
        *_theory_rows(files.read_json(inputs.theory)["published"]),
        *(_parity_rows(inputs, params.parity_alpha, paper.parity_differences(parity)) if parity else []),
    ]  # fmt: skip
    table = pd.DataFrame([_row(*row) for row in rows])
    files.write_table(outputs.table, table)
    files.write_table(outputs.checks, paper.checks(ours))
    files.write_json(
        outputs.summary,
        {
            "run": params.run,
            "paper": PAPER,
            "headline": [
                *(
                    [
                        f"α_N = {_shown(alpha)} over {alpha['n_sizes']} sizes, {len(alpha['points_used'])} models (the paper's Pythia: 0.083)"
                    ]
                    if "size" in curves
                    else []
                ),
                f"envelope slope = {_shown(slope)}, ranks {slope['ranks'][0]} to {slope['ranks'][1]}, "
                f"{slope['n_tokens']} tokens (the paper: -1.24{_theory_words(alpha)})",
                f"null, tokens grouped by identity: {_shown(null)}",
                f"calibrated α = {_shown(calibrated)} ({calibrated['verdict']})",
                f"the slope is distinguishable from {_names(others, 'True')}; not from {_names(others, 'False')}",
                *(_learning_words(axis, line) for axis, line in list(learned.items())[:1]),
                *([_seed_words(luck)] if luck else []),
            ],
            "left_out": params.left_out,
            "numbers": {
                "alpha_n": alpha,
                "alpha_n_with_irreducible_loss": scaling.get("alpha_n_with_irreducible_loss"),
                "envelope_slope": slope,
                "identity_slope": null,
                "parity": parity,
                "calibrated_alpha": calibrated,
                "alpha_by_collisions": pairs,
                "coverage": qdg["coverage"],
                "envelope_slope_clustered_anew": anew,
                "nulls": {row.model: _null(row) for row in others},
                "selection": selection,
                "order_of_learning": learned,
                "seeds": luck,
                "token_curves": curves,
            },
            "corpus": files.read_json(inputs.sources),
            "family": family.to_dict(orient="records"),
        },
    )


def _size_rows(size: dict[str, Any], family: pd.DataFrame) -> list[tuple[Any, ...]]:
    """Classes of single tokens over model sizes."""
    where = "scaling/tokens_by_size.json"
    monogenic, sharp = size["monogenic"] / size["predictions"], size["sharp"] / max(size["fell"], 1)
    elsewhere = size["not_monotone"] / max(size["fell"], 1)
    falls = f"of tokens that fall by {size['fall_nats']:g} nats or more: 80 % of it in one step of size"
    return [
        (
            "monogenic tokens, share of all predictions", "few", f"{monogenic:.2e}", where, "monogenic / predictions",
            *_few(monogenic, family),
        ),
        (falls, "few", f"{sharp:.3f}", where, "sharp / fell", *_few(sharp, family)),
        (
            "of the same tokens: rises elsewhere by more than 10 % of the fall", "", f"{elsewhere:.3f}", where,
            "not_monotone / fell",
        ),
    ]  # fmt: skip


def _null(row: Any) -> str:
    slope = "no slope" if pd.isna(row.slope) else f"{row.slope:.3f}"
    return f"{slope} ({row.words})"


def _names(rows: list[Any], answer: str) -> str:
    names = [row.model for row in rows if str(row.distinguishable) == answer]
    return "; ".join(names) or "none of the null models"


def _theory(alpha: dict[str, Any]) -> dict[str, Any]:
    if alpha["value"] is None:
        return {"value": None, "interval": None}
    interval = [-alpha["interval"][1] - 1, -alpha["interval"][0] - 1] if alpha.get("interval") else None
    return {"value": -alpha["value"] - 1, "interval": interval}


def _theory_words(alpha: dict[str, Any]) -> str:
    return "" if alpha["value"] is None else f"; theory: {_shown(_theory(alpha) | {'interval': None})}"


def _learning_rows(order: dict[str, Any], learned: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The paper's hypothesis, that frequent quanta are learned first, and what speaks against reading it off cluster size."""
    rows: list[tuple[Any, ...]] = []
    for axis, line in learned.items():
        what = f"rank correlation of a cluster's size with when it is learned, {axis}"
        found = (what, "negative (hypothesis)", line, "qdg/learned.json", _correlation(line))
        rows.append((*found, *_is_negative(line)))
    axis = next(iter(learned))
    for words, wanted in (
        (
            "the same, given the corpus's count of the target",
            {"groups": "clusters", "frequency": "size", "given": "target"},
        ),
        ("null: groups of one target, size", {"groups": "targets", "frequency": "size", "given": None}),
    ):
        line = order_of_learning.line_of(order, axis, reference=order_of_learning.main_reference(axis), **wanted)
        rows.append((f"{words}, {axis}", "", line, "qdg/learned.json", _correlation(line)))
    return rows


def _correlation(line: dict[str, Any]) -> str:
    """Its key."""
    names = ("axis", "reference", "groups", "frequency", "given")
    return "correlations[" + "; ".join(f"{name}={line[name]}" for name in names) + "]"


def _learning_words(axis: str, line: dict[str, Any]) -> str:
    if line["value"] is None:
        return f"{order_of_learning.verdict(line)} ({axis})"
    return f"{order_of_learning.verdict(line)}: ρ = {_shown(line)}, p = {line['p_value']:.2g}, {line['n']} clusters ({axis})"


def _is_negative(line: dict[str, Any]) -> tuple[str, str]:
    """Whether the hypothesis of a negative correlation holds, and what says so."""
    if line["value"] is None:
        return "", "this run has no such number"
    if line["interval"] is None:
        return "no", "no interval"
    low, high = line["interval"]
    if high < 0:
        return "yes", "the interval is below 0"
    return "no", "the interval holds 0" if low <= 0 else "the interval is above 0"


def _seed_rows(luck: dict[str, Any]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    sizes = len(luck["non_embedding_parameters"])
    for kind, words in (
        ("drop", f"drops of more than {luck['drop_nats']:g} nats between neighbouring sizes"),
        ("sharp", "tokens with 80 % of their fall in one step of size"),
        ("monogenic", "monogenic tokens"),
        ("polygenic", "polygenic tokens"),
    ):
        for where in (recurrence.ANOTHER, recurrence.AVERAGE):
            fit = luck["recurs"][kind][where]
            chance = "" if fit["expected"] is None else f" (independent: {fit['expected']:.3f})"
            what = f"{words}, share that recurs in {where}"
            why = ""
            if fit["value"] is None:
                why = f"no token of the {sizes} sizes with several seeds is one"
                if kind == "polygenic" and sizes <= 3:
                    why += f": with so few steps of size one always has {1 / (sizes - 1):.0%} of the fall or more"
            rows.append(
                (what, "", f"{_shown(fit)}{chance}", "scaling/seeds_sharpness.json", f"recurs.{kind}.{where}", "", why)
            )
    return rows


def _seed_words(luck: dict[str, Any]) -> str:
    fit, sizes = luck["recurs"]["drop"][recurrence.ANOTHER], luck["non_embedding_parameters"]
    among = f"{len(sizes)} sizes up to {sizes[-1]:,} parameters"
    if fit["value"] is None:
        return f"no drop of more than {luck['drop_nats']:g} nats between neighbouring sizes to look for in another seed ({among})"
    low, high = fit["interval"]
    return (
        f"{fit['value']:.0%} [{low:.0%}, {high:.0%}] of drops of more than {luck['drop_nats']:g} nats recur in another seed "
        f"({fit['expected']:.0%} if seeds were independent; {among})"
    )


def _theory_rows(published: dict[str, Any]) -> list[tuple[Any, ...]]:
    within = f"{published['within_factor']} of {published['pairs']}"
    what = f"published α_D within a factor {published['factor']:g} of α_N/(α_N + 1)"
    return [(what, "", within, "theory/fits.json", "published.within_factor")]


def _ranks(slope: dict[str, Any]) -> tuple[str, str]:
    """The paper's ranks are shares of its number of tokens."""
    shares = [rank / slope["n_tokens"] for rank in slope["ranks"]]
    theirs = [paper.BY_KEY[key].value / paper.BY_KEY["qdg_tokens"].value for key in ("first_rank", "last_rank")]
    same = max(abs(a - b) for a, b in zip(shares, theirs, strict=True)) < 1 / slope["n_tokens"]
    said = "the same shares of the tokens" if same else "other shares of the tokens"
    return (
        "yes" if same else "no"
    ), f"{said}: {shares[0]:.3g} to {shares[1]:.3g}, not {theirs[0]:g} to {theirs[1]:g}" if not same else said


def _few(share: float, family: pd.DataFrame) -> tuple[str, str]:
    if share < paper.FEW:
        return "yes", f"less than {paper.FEW:g}"
    sizes = sorted(set(family["non_embedding_parameters"]))
    factor = (sizes[-1] / sizes[0]) ** (1 / max(len(sizes) - 1, 1))
    theirs = [count for _, count in paper.NAMES_NOW.values()]
    known = (theirs[-1] / theirs[0]) ** (1 / (len(theirs) - 1))
    return (
        "no",
        f"{len(sizes)} sizes, a factor of {factor:.1f} apart (the paper's {len(theirs)}: {known:.1f}), so that a step is wide",
    )


def _parity_rows(inputs: Any, alpha: float, differ: str) -> list[tuple[Any, ...]]:
    """Sparse parity: this run at the α shown, the recorded runs over all α, and QDG held against the true tasks."""
    fits = files.read_json(inputs.parity)
    theirs_all = files.read_table(inputs.paper_parity, ("alpha", "resource", "exponent"))
    signs = {"parameters": "α_N", "steps": "α_S", "data": "α_D"}
    rows: list[tuple[Any, ...]] = []
    for fit in fits["exponents"]:
        if np.isclose(fit["alpha"], alpha):
            same = np.isclose(theirs_all["alpha"], alpha)
            known = theirs_all[(theirs_all["resource"] == fit["resource"]) & same]["exponent"]
            key = f"exponents[alpha={fit['alpha']:g}; resource={fit['resource']}]"
            what = f"sparse parity, {signs[fit['resource']]} at α = {alpha:g}"
            theirs = f"{known.iloc[0]:g}" if len(known) else ""
            verdict = _parity_verdict(theirs, fit, differ)
            rows.append((what, theirs, fit, "parity/fits.json", key, *verdict))
            rows.append(
                (
                    f"the theory's there: asymptote, finite K over the range fitted ({fit['resource']})",
                    f"{fit['theory_asymptotic']:.2f}",
                    "not to be had" if fit["theory_finite"] is None else f"{fit['theory_finite']:.3f}",
                    "parity/fits.json",
                    f"{key}.theory_finite",
                    "",
                    "two predictions: the range that is fitted is finite (docs/theory.md)",
                )
            )
    rows += [
        (
            "sparse parity, steps to 0.1 bits against frequency (the theory: -1)",
            paper.PARITY_CONVERGENCE,
            fit,
            "parity/fits.json",
            f"convergence[alpha={fit['alpha']:g}]",
            *_parity_verdict(paper.PARITY_CONVERGENCE, fit, differ),
        )
        for fit in fits["convergence"]
        if np.isclose(fit["alpha"], alpha)
    ]
    for path, kind, why in zip(inputs.recorded_parity, RECORDED, RECORDED.values(), strict=True):
        rows += _recorded_rows(str(path), kind, why, theirs_all, signs)
    converged = files.read_table(inputs.recorded_convergence, ("alpha", "slope", "low", "high"))
    converged = converged[np.isclose(converged["alpha"], alpha)]
    if len(converged):
        slope, low, high = (float(converged.iloc[0][key]) for key in ("slope", "low", "high"))
        fit = {"value": slope, "interval": [low, high]}
        rows.append(
            (
                f"sparse parity, steps to 0.1 bits against frequency at α = {alpha:g} (the paper's tasks, recorded)",
                paper.PARITY_CONVERGENCE,
                fit,
                str(inputs.recorded_convergence),
                f"[alpha={converged.iloc[0]['alpha']:g}].slope",
                *_parity_verdict(paper.PARITY_CONVERGENCE, fit, RECORDED["the paper's tasks, recorded"]),
            )
        )
    folder = Path(inputs.parity).parent.parent
    of_scores, of_envelopes = (
        str(Path(path).relative_to(folder)) for path in (inputs.parity_scores, inputs.parity_envelopes)
    )
    scores = files.read_table(inputs.parity_scores, ("name", "adjusted_rand"))
    best = scores.groupby("name")["adjusted_rand"].max()
    rows += [
        (
            f"QDG on parity: adjusted Rand against true tasks, {name}",
            "",
            f"{best[name]:.3f}",
            of_scores,
            f"largest [name={name}].adjusted_rand",
        )
        for name in ("base", "equal, one pattern")
        if name in best
    ]
    envelope = files.read_table(inputs.parity_envelopes, ("condition", "true_slope", "envelope_slope"))
    base = envelope[envelope["condition"] == "base"].iloc[0]
    what = f"QDG on parity: slope of the envelope (true: {base['true_slope']:.2f})"
    verdict = _parity_verdict("-1.1", {"value": base["envelope_slope"]}, differ)
    found = f"{base['envelope_slope']:.3f}"
    rows.append((what, "-1.1 (true: -1.4)", found, of_envelopes, "[condition=base].envelope_slope", *verdict))
    return [*rows, *_parity_calibration_rows(inputs, alpha)]


def _recorded_rows(
    path: str, kind: str, why: str, theirs_all: pd.DataFrame, signs: dict[str, str]
) -> list[tuple[Any, ...]]:
    """The exponents of a recorded run over all its α, a row a resource."""
    recorded = files.read_table(path, ("alpha", "resource", "exponent", "low", "high"))
    rows: list[tuple[Any, ...]] = []
    for resource, sign in signs.items():
        known = theirs_all[theirs_all["resource"] == resource].set_index("alpha")["exponent"]
        ours = recorded[recorded["resource"] == resource].sort_values("alpha")
        if ours.empty:
            continue
        what = f"sparse parity, {sign} at " + ", ".join(f"{a:g}" for a in ours["alpha"]) + f" ({kind})"
        theirs = ", ".join(f"{known[a]:.2f}" if a in known.index else "?" for a in ours["alpha"])
        shown = ", ".join("none" if pd.isna(v) else f"{v:.2f}" for v in ours["exponent"])
        near = [
            paper.agrees(known[row.alpha], row.exponent, paper.PARITY_TOLERANCE, (row.low, row.high)) == "yes"
            for row in ours.dropna(subset=["exponent"]).itertuples()
            if row.alpha in known.index
        ]
        counted = f"{sum(near)} of {len(near)} within {paper.PARITY_TOLERANCE:g} or held by the interval; {why}"
        rows.append(
            (what, theirs, shown, path, f"[resource={resource}].exponent", "yes" if all(near) else "no", counted)
        )
    return rows


def _parity_verdict(theirs: str, fit: dict[str, Any], differ: str) -> tuple[str, str]:
    if not theirs:
        return "", NOT_THERE
    number, interval = float(theirs), fit.get("interval")
    verdict = paper.agrees(number, fit["value"], paper.PARITY_TOLERANCE, interval)
    if verdict == "yes":
        return verdict, paper.agreement(number, fit["value"], paper.PARITY_TOLERANCE, interval)
    return verdict, (differ or "other seeds") if verdict else "this run has no such number"


def _parity_calibration_rows(inputs: Any, alpha: float) -> list[tuple[Any, ...]]:
    """The calibrated exponent where the truth is known: this run's first net at the α shown, and recorded coverage."""
    name, where = "calibrated, prior of language models", "parity/calibration/estimates.csv"
    estimates = files.read_table(inputs.parity_estimates, ("alpha", "seed", "condition", "estimator", "value"))
    recorded = files.read_table(inputs.recorded_parity_coverage, ("condition", "estimator", "nets", "covered"))
    rows = []
    for condition, words in (("base", "as language models"), ("one pattern", "one skill a task")):
        mine = estimates[(estimates["condition"] == condition) & (estimates["estimator"] == name)]
        mine = mine[np.isclose(mine["alpha"], alpha)].sort_values("seed")
        if len(mine):
            one = mine.iloc[0]
            what = f"QDG on parity, {words}: calibrated α (true: {alpha:g}), 90 % interval"
            shown = f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}], {one['verdict']}"
            key = f"[alpha={one['alpha']:g}; seed={one['seed']:.0f}; condition={condition}; estimator={name}].value"
            rows.append((what, "", shown, where, key))
        of = recorded[(recorded["condition"] == condition) & (recorded["estimator"] == name)].iloc[0]
        what = (
            f"QDG on parity, {words}: share of calibrated intervals that hold α (nominal: {of['nominal']:g}; recorded)"
        )
        shown = f"{of['covered']:.2f} of {of['nets']:.0f} nets"
        rows.append(
            (
                what,
                "",
                shown,
                str(inputs.recorded_parity_coverage),
                f"[condition={condition}; estimator={name}].covered",
            )
        )
    return rows


def _shown(fit: dict[str, Any]) -> str:
    if fit["value"] is None:
        return "not to be had"
    interval = "" if not fit.get("interval") else " [{:.3f}, {:.3f}]".format(*fit["interval"])
    return f"{fit['value']:.3f}{interval}"


def _row(quantity: str, theirs: str, ours: Any, file: str, key: str, agrees: str = "", why: str = "") -> dict[str, str]:
    return {
        "quantity": quantity,
        "paper": theirs,
        "ours": ours if isinstance(ours, str) else _shown(ours),
        "agrees": agrees,
        "why": why or ("" if agrees or theirs else NOT_THERE),
        "file": file,
        "key": key,
    }


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
