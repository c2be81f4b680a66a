"""Tables and numbers of the default run that pages state, each read from the run's files. docs/facts.py keeps and places them."""

import itertools
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from quanta.calibration import regression
from quanta.catalogue import order_of_learning

SHOW = 100  # the number of clusters that the pages speak of
MODELS = ("neox-1m", "neox-150k")  # whose steps are followed; the first is clustered
MIXED = 0.1  # mean cosine below which the page calls a cluster mixed
ESTIMATORS = {  # of the 33, those that the page compares
    *(
        "calibrated",
        "pairs, mixture",
        "pairs above 6 deviations",
        "growth of components, 0.5",
        "growth of components, 0.7",
    ),
    *(f"pairs after projection, {cosine}" for cosine in (0.3, 0.5)),
    *(
        f"{kind} above {cosine}"
        for kind, cosines in (("pairs", (0.3, 0.5, 0.7)), ("triples", (0.3, 0.4, 0.5)), ("degrees", (0.3, 0.5)))
        for cosine in cosines
    ),
}


def number(value: float | None, digits: int = 2) -> str:
    """A number with a true minus sign; nothing for none."""
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:.{digits}f}".replace("-", "−")


def ends(low: float, high: float, digits: int = 2) -> str:
    """An interval in brackets."""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def interval(fit: dict[str, Any], digits: int = 2) -> str:
    """A value with its interval, if it has one."""
    told = number(fit["value"], digits)
    return f"{told} {ends(*fit['interval'], digits)}" if fit.get("interval") else told


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown that begins and ends with a break of the line."""
    head = list(columns)
    lines = [head, ["---"] * len(head), *(list(row) for row in rows)]
    return (
        "\n" + "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
    )


def listed(texts: Iterable[str]) -> str:
    """Texts as a list in a sentence."""
    *most, last = texts
    return f"{', '.join(most)} and {last}"


def facts(run: Any) -> dict[str, str]:
    """All of them by name."""
    parts = (clusters, learning, losses, shape, calibration, nulls, parity)
    return {name: text for part in parts for name, text in part(run).items()}


def clusters(run: Any) -> dict[str, str]:
    """What the clusters are like."""
    found = run.descriptions.merge(run.contexts.drop(columns="size"), on=["n_clusters", "label"])
    by = {k: found[found["n_clusters"] == k] for k in (50, SHOW, 250)}
    own = by[SHOW]
    mixed = own[own["cosine_within"] < MIXED]
    names = ("stability_seeds", "stability_halves", "purity_target", "purity_bigram", "purity_source", "skill")
    columns = ("k", "stability, seeds", "stability, halves", "purity: target", "bigram", "source", "skill")
    rows = (
        (
            str(k),
            *(number(by[k][name].median(), 3) for name in names),
            number((by[k]["skill"] > 0.9).mean()),
            number(by[k]["skill"].isna().mean()),
        )
        for k in (50, SHOW, 250)
    )
    large = own[own["size"] >= 6]
    counts = run.read("qdg/selection.json")
    share = mixed["size"].sum() / own["size"].sum()
    held_out = {
        f"rules.{name}.{k}": number(by[k][f"{name}_held_out"].mean())
        for name in ("precision", "recall")
        for k in (SHOW, 250)
    }
    return held_out | {
        "table.clusters": table((*columns, "skill above 0.9", "skill not known"), rows),
        "mixed.clusters": str(len(mixed)),
        "mixed.tokens": f"{mixed['size'].sum():,}",
        "mixed.share": f"{share:.0%}".replace("%", " %"),
        "cosine.median": number(own["cosine_within"].median()),
        "stability.seeds": number(own["stability_seeds"].median()),
        "stability.halves": number(own["stability_halves"].median()),
        "bigram.median": f"{100 * own['purity_bigram'].median():.0f} %",
        "large.cosine": number(large["cosine_within"].median()),
        "large.target": number(large["purity_target"].median()),
        "large.bigram": number(large["purity_bigram"].median()),
        "large.halves": number(large["stability_halves"].median()),
        "large.rule": f"{large['precision_held_out'].median():.2f}, {large['recall_held_out'].median():.2f}",
        "predictions": f"{counts['predictions']:,}",
        "low": f"{100 * counts['below_threshold'] / counts['predictions']:.1f} %",
        "low.induction": f"{100 * counts['by_induction'] / counts['below_threshold']:.0f} %",
        "candidates": f"{100 * counts['candidates'] / counts['predictions']:.1f} %",
    }


def learning(run: Any) -> dict[str, str]:
    """When clusters are learned, and which drops recur with another seed."""
    learned = run.read("qdg/learned.csv")
    steps = learned[
        (learned["n_clusters"] == SHOW)
        & (learned["axis"] == f"step of {MODELS[0]}")
        & (learned["reference"] == "untrained")
    ]["learned"].sort_values()
    lines = run.read("qdg/learned.json")["correlations"]

    def line(
        axis: str, reference: str, frequency: str, given: str | None = None, groups: str = "clusters"
    ) -> dict[str, Any]:
        wanted = {"axis": axis, "reference": reference, "frequency": frequency, "given": given, "groups": groups}
        (found,) = (one for one in lines if wanted.items() <= one.items())
        return dict(found)

    first, second = (f"step of {model}" for model in MODELS)
    shown = [
        ("the cluster's tokens", first, "untrained", "size", None, "clusters"),
        ("the cluster's tokens", second, "untrained", "size", None, "clusters"),
        ("the cluster's tokens", "size", order_of_learning.main_reference("size").name, "size", None, "clusters"),
        ("the cluster's tokens", first, "untrained", "size", "target", "clusters"),
        ("the target, in the corpus", first, "untrained", "target", None, "clusters"),
        ("the rule, in the corpus", first, "untrained", "rule", None, "clusters"),
        ("the rule, in the corpus", first, "untrained", "rule", "target", "clusters"),
        ("groups of one target (no gradients)", first, "untrained", "size", None, "targets"),
    ]
    rows = (
        (
            what,
            "model sizes" if axis == "size" else axis.replace("step", "steps", 1),
            "the target's count" if given else "",
            interval(line(axis, reference, frequency, given, groups)),
        )
        for what, axis, reference, frequency, given, groups in shown
    )
    recurs = run.read("scaling/seeds_sharpness.csv")
    recurs = recurs[(recurs["of"] == "each seed") & (recurs["recurs_in"] == "another seed")]

    def share(kind: str, threshold: float) -> tuple[pd.Series, str, str]:
        (row,) = (
            one for _, one in recurs[(recurs["kind"] == kind) & (recurs["threshold_nats"] == threshold)].iterrows()
        )
        digits = 0 if row["expected"] > 0.01 else 1
        return row, f"{100 * row['share']:.0f} %", f"{100 * row['expected']:.{digits}f} %"

    drop, sharp, monogenic = share("drop", 1), share("sharp", 1), share("monogenic", 5)
    return {
        "table.order": table(("frequency of", "over", "controlled for", "Spearman's ρ [90 %]"), rows),
        "order.clusters": str(line(first, "untrained", "size")["n"]),
        "order.dealt.size": number(line("size", "untrained", "size")["dealt"]["mean"]),
        "table.recurs": table(
            ("drops of one seed", "share that recurs", "expected by chance"),
            [
                ("more than 1 nat between neighbouring model sizes", *drop[1:]),
                ("sharp: 80 % of the fall in one interval of model sizes, no rise elsewhere", *sharp[1:]),
                (f"monogenic over the three model sizes ({monogenic[0]['n']:.0f} tokens per seed)", *monogenic[1:]),
            ],
        ),
        "learned.first": f"{steps.iloc[0]:.0f} and {steps.iloc[2]:.0f}",
        "learned.median": f"{steps.median():.0f}",
        "learned.late": str(int((steps > 1000).sum())),
    }


def losses(run: Any) -> dict[str, str]:
    """Mean losses, and how many tokens are predicted well."""
    mean = run.mean_loss.set_index(["model", "step"])["mean_loss_nats"]
    last = run.mean_loss["step"].max()
    names = list(dict.fromkeys(re.sub(r"-seed\d+$", "", model) for model, step in mean.index if step == last))

    def seeds(name: str) -> list[str]:
        return [model for model, step in mean.index if step == last and re.fullmatch(rf"{name}(-seed\d+)?", model)]

    def low(model: str) -> float:
        values = run.losses(model)
        return float(100 * (values[np.isfinite(values)] < 0.1).mean())

    rows = (
        (
            name,
            ", ".join(number(mean[model, last], 3) for model in seeds(name)),
            ", ".join(f"{low(model):.1f}" for model in seeds(name)) + " %",
        )
        for name in names
    )
    steps = mean[MODELS[0]]
    dynamics = run.figure("dynamics")
    slopes = {}
    for model in MODELS:
        part = dynamics[(dynamics["model"] == model) & dynamics["fit_nats"].notna()]
        slope = np.polyfit(np.log(part["step"]), np.log(part["fit_nats"]), 1)[0]
        slopes[f"steps.{model}"] = number(-slope, 3)
    fallen = run.figure("emergence")
    curves = fallen[fallen["model"] == MODELS[0]].pivot(index="label", columns="step", values="mean_loss_nats")
    half = (curves.iloc[:, 0] + curves.iloc[:, -1]) / 2
    counts = curves.le(half, axis=0).idxmax(axis=1).value_counts().sort_index()
    sizes = run.mean_loss.drop_duplicates("model").set_index("model")["non_embedding_parameters"]
    means = {name: float(np.mean([mean[model, last] for model in seeds(name)])) for name in names}

    def local(first: str, second: str) -> str:
        return number(-np.log(means[second] / means[first]) / np.log(sizes[second] / sizes[first]))

    spread = [(name, [mean[model, last] for model in seeds(name)]) for name in names]
    slopes["local.smallest"], slopes["local.largest"] = local(names[0], names[1]), local(names[-2], names[-1])
    slopes["table.spread"] = table(
        ("model size", "spread of the loss between seeds, nats"),
        (
            (name.removeprefix("neox-"), number(max(values) - min(values), 3))
            for name, values in spread
            if len(values) > 1
        ),
    )
    return slopes | {
        f"loss.{MODELS[0]}": number(mean[MODELS[0], last]),
        "table.losses": table(("model", "loss, each seed", "below 0.1 nats, each seed"), rows),
        "table.emergence": table(
            ("step", *(f"{step:,}" for step in counts.index)),
            [
                (f"clusters that have just fallen half of their way, of {len(curves)}", *map(str, counts)),
                ("mean loss, nats", *(number(steps[step]) for step in counts.index)),
            ],
        ),
    }


def shape(run: Any) -> dict[str, str]:
    """The envelope and the theory."""
    sizes = run.figure("rank_frequency").set_index(["curve", "rank"])["size"]
    alpha = run.fits.scaling["alpha_n"]
    return {
        "slope.exact": interval(run.fits.qdg["envelope_slope"], 3),
        "alpha_n": interval(alpha, 3),
        "theory.slope": number(-alpha["value"] - 1, 3),
        "theory.rank20": f"{sizes['theory, finite tokens', 20]:g}",
        "envelope.rank20": f"{sizes['envelope', 20]:g}",
    }


def calibration(run: Any) -> dict[str, str]:
    """The simulator's exponent, its coverage, and what the paper's fit makes of simulations."""
    fit, qdg, coverage = run.fits.calibration["alpha"], run.fits.qdg, run.coverage
    naive = run.read("calibration/naive_bias.csv").sort_values("alpha")
    estimators = run.read("calibration/estimators.csv")
    estimators = estimators[estimators["estimator"].isin(ESTIMATORS)]
    bins = [-0.4, 0.0, 0.4, 0.8, 1.2]
    groups = [(f"({low:g}, {high:g}]".replace("-", "−"), coverage["alpha"].between(low, high, inclusive="right"))
              for low, high in itertools.pairwise(bins)]  # fmt: skip
    covered = []
    for name, inside in [*groups, ("all", coverage["alpha"].notna())]:
        part = coverage[inside]
        error, width = part["value"] - part["alpha"], part["high"] - part["low"]
        covered.append(
            (name, str(len(part)), number(part["covered"].mean(), 3), number(error.mean(), 3),
             number(float(np.sqrt((error**2).mean())), 3), number(width.mean(), 3))
        )  # fmt: skip
    verdicts = coverage["verdict"].value_counts()
    slopes = run.read("qdg/stability.csv").groupby("kind")["slope"]
    low, high = slopes.min(), slopes.max()
    law = qdg["power_law"]
    p = law["over_seeds"]["p_value"]
    resolution = run.resolution[
        np.isclose((run.resolution["threshold"] * 10) % 1, 0) | np.isclose((run.resolution["threshold"] * 10) % 1, 1)
    ]
    return {
        "coverage.rate": number(qdg["coverage"]["found"], 3),
        "table.naive": table(
            ("planted α", "−(α+1)", "envelope", "true sizes", "strength"),
            ([number(x, 3) for x in (row.alpha, -row.alpha - 1, row.slope, row.true_slope, row.strength)] for row in naive.itertuples()),
        ),
        "naive.flattest": listed(number(x) for x in naive.nlargest(3, "slope")["slope"]),
        "naive.flattest.alpha": listed(number(x) for x in naive.nlargest(3, "slope")["alpha"]),
        "resolution.ends": " to ".join(number(x) for x in resolution["alpha"].iloc[[0, -1]]),
        "table.estimators": table(
            ("estimator", "bias", "sd", "rmse", "coverage", "width"),
            ([row.estimator, *(number(x, 3) for x in (row.bias, row.sd, row.rmse, row.coverage, row.width))] for row in estimators.itertuples()),
        ),
        "table.coverage": table(("planted α", "simulations", "covered", "bias", "rmse", "width"), covered),
        "verdict.alike": str(verdicts[regression.ALIKE]),
        "verdict.wide": str(verdicts.filter(like="wide").sum()),
        "verdict.unlike": str(verdicts.filter(like="no simulation").sum()),
        "table.default": table(
            ("quantity", "value"),
            [
                ("the simulator's exponent α, 90 %", interval(fit, 3)),
                ("verdict, p-value of the summaries", f"{fit['verdict']}, {fit['p_value']:.2f}"),
                (f"coverage of its 90 % intervals on {qdg['coverage']['n']} held-out simulations", number(qdg["coverage"]["found"], 3)),
                ("deviation between sketches", number(fit["sketch_deviation"], 3)),
                (f"α by collisions above cosine {qdg['alpha_by_collisions']['threshold']:g}, sampling of texts alone", interval(qdg["alpha_by_collisions"], 3)),
                ("the paper's fit, ranks {} to {}, clusters held fixed".format(*qdg["envelope_slope"]["ranks"]), interval(qdg["envelope_slope"], 3)),
                ("the same on four halves clustered again", f"{number(low['half'], 3)} to {number(high['half'], 3)}"),
                ("the same under four other seeds of k-means", f"{number(low['seed'], 3)} to {number(high['seed'], 3)}"),
                (f"power law by maximum likelihood, {law['of_n_clusters']} clusters",
                 f"γ = {law['gamma']:.2f} ± {law['standard_error']:.2f} from size {law['smallest']} up ({law['n_clusters']} clusters), "
                 f"p = {min(p):.2f} to {max(p):.2f} over six seeds of k-means"),
                ("α_N of the loss curve", interval(run.fits.scaling["alpha_n"], 3)),
            ],
        ),
        "table.resolution": table(
            ("threshold", "share of pairs", "α", "90 %", "α by triples"),
            ([number(row.threshold, 1), number(row.pair_share, 4), number(row.alpha, 3), ends(row.low, row.high, 3), number(row.alpha_triples, 3)] for row in resolution.itertuples()),
        ),
    }  # fmt: skip


def nulls(run: Any) -> dict[str, str]:
    """Slopes of null models, and of the toy."""

    def row(null: Any) -> list[str]:
        p = "" if pd.isna(null.p_value) else "<0.001" if null.p_value < 0.001 else f"{null.p_value:.3f}"
        alpha = "" if pd.isna(null.alpha) else f"{number(null.alpha)} {ends(null.alpha_low, null.alpha_high)}"
        differs = {True: "yes", False: "no"}.get(null.distinguishable, "") if pd.notna(null.p_value) else ""
        return [
            null.model,
            str(null.n_tokens),
            number(null.slope, 3),
            number(null.slope_deviation, 3),
            number(null.reference_slope, 3),
            p,
            differs,
            alpha,
            null.verdict,
        ]

    columns = (
        "model",
        "tokens",
        "slope",
        "its deviation",
        "the data's",
        "p-value",
        "different",
        "the simulator's α",
        "verdict",
    )
    toy = run.read("calibration/toy.csv")
    toy = toy[toy["exponent"] != 1.3]
    off = (toy["exponent"] + toy["slope"]).abs()
    errs = (toy["alpha_collisions"] + 1 - toy["exponent"]).abs()
    return {
        "toy.off": f"{off.min():.2f} to {off.max():.2f}",
        "toy.collisions": f"{errs.max():.2f}",
        "table.nulls": table(columns, (row(null) for null in run.nulls.itertuples())),
        "table.toy": table(
            ("planted α + 1", "noise", "−slope of the envelope", "−slope of the true sizes", "α + 1 by collisions, 90 % sampling"),
            ([number(one.exponent, 1), number(one.noise, 1), number(-one.slope), number(-one.true_slope),
              f"{number(one.alpha_collisions + 1)} {ends(one.alpha_low + 1, one.alpha_high + 1)}"] for one in toy.itertuples()),
        ),
    }  # fmt: skip


def parity(run: Any) -> dict[str, str]:
    """Quanta discovery from gradients against known tasks."""
    scores = run.read("parity/qdg/alpha0.4/0/scores.csv")

    def best(name: str) -> pd.Series:
        part = scores[scores["name"] == name]
        return pd.concat(
            [part.loc[part["adjusted_rand"].idxmax()], pd.Series({"cases": part["adjusted_rand_cases"].max()})]
        )

    shown = [
        ("as for language models", "angular", "base"),
        ("the same", "of the absolute cosine", "unsigned"),
        ("the same, gradient without the code's weights", "angular", "gradient without code"),
        ("tasks equally often", "angular", "equal"),
        ("tasks equally often", "of the absolute cosine", "equal, unsigned"),
        ("one case per task", "angular", "one pattern"),
        ("one case per task, tasks equally often", "angular", "equal, one pattern"),
        ("the same, noise of three times the gradient's length", "angular", "noise 3, easy"),
    ]
    rows = (
        (
            samples,
            similarity,
            number(best(name)["adjusted_rand"], 3),
            str(best(name)["n_clusters"]),
            number(best(name)["cases"], 3),
        )
        for samples, similarity, name in shown
    )
    longer = ((f"{step:,}", str(best(name)["learned_tasks"]), number(best(name)["adjusted_rand"], 3), number(best(name)["cases"], 3))
              for step, name in ((500, "step 500"), (1500, "step 1500"), (5000, "base")))  # fmt: skip
    slopes = []
    for alpha in ("0.2", "0.4", "0.8"):
        one = run.read(f"parity/qdg/alpha{alpha}/0/envelopes.csv").set_index("condition").loc["base"]
        slopes.append(
            (alpha, number(one["true_slope"], 1), number(one["true_sizes_slope"]), number(one["envelope_slope"]))
        )
    others = run.read("parity/qdg/alpha0.4/0/envelopes.csv").set_index("condition")
    for what, name in (
        ("0.4, tasks equally often", "equal"),
        ("0.4, one case per task, equally often", "equal, one pattern"),
    ):
        slopes.append(
            (what, "0", number(others.loc[name, "true_sizes_slope"]), number(others.loc[name, "envelope_slope"]))
        )
    pairs = run.read("parity/qdg/alpha0.4/0/pairs.csv").set_index(["condition", "pair"])["median"]
    at8 = scores[scores["n_clusters"] == 8].set_index("name")["adjusted_rand"]
    return {
        "parity.same_case": number(pairs["base", "same task, same pattern"]),
        "parity.other_case": number(pairs["base", "same task, other pattern, same label"]),
        "parity.other_label": number(pairs["base", "same task, other label"]),
        "parity.one8": number(at8["one pattern"]),
        "parity.equal8": number(at8["equal, one pattern"]),
        "parity.noise1": number(best("noise 1")["adjusted_rand"], 3),
        "parity.noise3": number(best("noise 3")["adjusted_rand"], 3),
        "parity.half": number(best("300 samples")["adjusted_rand"], 3),
        "parity.envelope": number(others.loc["base", "envelope_slope"]),
        "parity.tasks": number(best("base")["adjusted_rand"]),
        "parity.cases": number(best("base")["cases"]),
        "parity.unsigned": number(best("unsigned")["adjusted_rand"]),
        "table.parity.scores": table(
            ("samples", "similarity", "adjusted Rand, tasks", "n_clusters", "adjusted Rand, cases (best)"), rows
        ),
        "table.parity.steps": table(
            ("step", "learned tasks", "adjusted Rand, tasks", "adjusted Rand, cases (best)"), longer
        ),
        "table.parity.envelopes": table(("α", "true, −(α+1)", "sizes of the true tasks", "envelope"), slopes),
    }
