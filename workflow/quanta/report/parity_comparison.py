"""The run's numbers next to the paper's on sparse parity (section 3), where the skills are known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from quanta.parity.learning_curves import LANGUAGE
from quanta.report import paper
from quanta.report.comparison import NO_NUMBER, NOT_THERE, Fit, Row
from quanta.report.wording import value_with_interval

FITS, ESTIMATES = "parity/fits.json", "parity/calibration/estimates.csv"
SIGNS = {"parameters": "α_N", "steps": "α_S", "data": "α_D"}  # exponents by resource
THEORY = "two predictions: the range that is fitted is finite (docs/theory.md)"
STEPS = "sparse parity, steps to 0.1 bits against frequency"


@dataclass(frozen=True)
class Recorded:
    """A recorded run of sparse parity, and why its numbers may differ from the paper's."""

    kind: str
    why: str


LARGER = Recorded("a larger run, recorded", "a smaller problem: docs/parity.md")
PAPERS_TASKS = Recorded(
    "the paper's tasks, recorded",
    "the paper's tasks, batch and learning rate; fewer widths, training sets and steps: docs/parity.md",
)


@dataclass(frozen=True)
class Source:
    """A table and the name of its file in the report."""

    file: str
    table: pd.DataFrame


@dataclass(frozen=True)
class Parity:
    """What a run found on sparse parity at the α that is shown, and what was recorded."""

    alpha: float
    differ: str  # what the run's settings differ in from the paper's
    fits: Mapping[str, Any]  # parity/fits.json
    paper: pd.DataFrame  # alpha, resource, exponent: read off the paper's figure
    scores: Source
    envelopes: Source
    estimates: pd.DataFrame
    recorded: Sequence[tuple[Recorded, Source]]  # exponents of recorded runs
    convergence: Source  # of the recorded run of the paper's tasks
    coverage: Source  # recorded

    def at_alpha(self, table: pd.DataFrame) -> pd.DataFrame:
        """Rows of a table at the α that is shown."""
        return table[np.isclose(table["alpha"], self.alpha)]


def rows(run: Parity) -> list[Row]:
    """All rows on sparse parity, in the order of the report."""
    return [
        *exponents(run),
        *convergence(run),
        *(row for recorded, source in run.recorded for row in recorded_exponents(run, recorded, source)),
        *recorded_convergence(run),
        *clusters(run),
        *calibrated(run),
    ]


def exponents(run: Parity) -> list[Row]:
    """The exponents of the loss at the α that is shown, each followed by the theory's."""
    found, theirs = [], run.at_alpha(run.paper)
    for fit in run.fits["exponents"]:
        if not np.isclose(fit["alpha"], run.alpha):
            continue
        resource = fit["resource"]
        known = theirs[theirs["resource"] == resource]["exponent"]
        key = f"exponents[alpha={fit['alpha']:g}; resource={resource}]"
        number = f"{known.iloc[0]:g}" if len(known) else ""
        what = f"sparse parity, {SIGNS[resource]} at α = {run.alpha:g}"
        found.append(Row(what, value_with_interval(fit), FITS, key, number, judged(number, fit, run.differ)))
        what = f"the theory's there: asymptote, finite K over the range fitted ({resource})"
        finite = value_with_interval({"value": fit["theory_finite"]})
        found.append(Row(what, finite, FITS, f"{key}.theory_finite", f"{fit['theory_asymptotic']:.2f}", ("", THEORY)))
    return found


def convergence(run: Parity) -> list[Row]:
    """Steps until a task is learned, against its frequency."""
    theirs = paper.PARITY_CONVERGENCE
    return [
        Row(f"{STEPS} (the theory: -1)", value_with_interval(fit), FITS, f"convergence[alpha={fit['alpha']:g}]", theirs,
            judged(theirs, fit, run.differ))
        for fit in run.fits["convergence"] if np.isclose(fit["alpha"], run.alpha)
    ]  # fmt: skip


def recorded_exponents(run: Parity, recorded: Recorded, source: Source) -> list[Row]:
    """The exponents of a recorded run over all its α, a row per resource."""
    found = []
    for resource, sign in SIGNS.items():
        known = run.paper[run.paper["resource"] == resource].set_index("alpha")["exponent"]
        ours = source.table[source.table["resource"] == resource].sort_values("alpha")
        if ours.empty:
            continue
        what = f"sparse parity, {sign} at " + ", ".join(f"{a:g}" for a in ours["alpha"]) + f" ({recorded.kind})"
        theirs = ", ".join(f"{known[a]:.2f}" if a in known.index else "?" for a in ours["alpha"])
        shown = ", ".join("none" if pd.isna(v) else f"{v:.2f}" for v in ours["exponent"])
        verdict = paper.not_compared(recorded.why)
        found.append(Row(what, shown, source.file, f"[resource={resource}].exponent", theirs, verdict))
    return found


def recorded_convergence(run: Parity) -> list[Row]:
    """The same slope of a recorded run of the paper's tasks."""
    table, theirs = run.at_alpha(run.convergence.table), paper.PARITY_CONVERGENCE
    if not len(table):
        return []
    first = table.iloc[0]
    fit = {"value": float(first["slope"]), "interval": [float(first["low"]), float(first["high"])]}
    what = f"{STEPS} at α = {run.alpha:g} ({PAPERS_TASKS.kind})"
    key = f"[alpha={first['alpha']:g}].slope"
    verdict = judged(theirs, fit, PAPERS_TASKS.why)
    return [Row(what, value_with_interval(fit), run.convergence.file, key, theirs, verdict)]


def clusters(run: Parity) -> list[Row]:
    """QDG on the nets' gradients: agreement with the true tasks, and the slope of the envelope."""
    best = run.scores.table.groupby("name")["adjusted_rand"].max()
    found = [
        Row(f"QDG on parity: adjusted Rand against true tasks, {name}", f"{best[name]:.3f}", run.scores.file,
            f"largest [name={name}].adjusted_rand")
        for name in ("base", "equal, one pattern") if name in best
    ]  # fmt: skip
    base = run.envelopes.table[run.envelopes.table["condition"] == "base"].iloc[0]
    slope, key = float(base["envelope_slope"]), "[condition=base].envelope_slope"
    what = f"QDG on parity: slope of the envelope (true: {base['true_slope']:.2f})"
    verdict = judged("-1.1", {"value": slope}, run.differ)
    return [*found, Row(what, f"{slope:.3f}", run.envelopes.file, key, "-1.1 (true: -1.4)", verdict)]


def calibrated(run: Parity) -> list[Row]:
    """The calibrated exponent where the truth is known: this run's first net at the α shown, and recorded coverage."""
    found, coverage = [], run.coverage.table
    for condition, words in (("base", "as language models"), ("one pattern", "one skill a task")):
        which = f"condition={condition}; estimator={LANGUAGE}"
        mine = run.estimates[(run.estimates["condition"] == condition) & (run.estimates["estimator"] == LANGUAGE)]
        mine = run.at_alpha(mine).sort_values("seed")
        if len(mine):
            one = mine.iloc[0]
            fit = {"value": one["value"], "interval": (one["low"], one["high"])}
            what = f"QDG on parity, {words}: the simulator's α (true: {run.alpha:g}), 90 % interval"
            ours = f"{value_with_interval(fit, 2)}, {one['verdict']}"
            found.append(Row(what, ours, ESTIMATES, f"[alpha={one['alpha']:g}; seed={one['seed']:.0f}; {which}].value"))
        of = coverage[(coverage["condition"] == condition) & (coverage["estimator"] == LANGUAGE)].iloc[0]
        share = f"share of the simulator's intervals that hold α (nominal: {of['nominal']:g}; recorded)"
        what, ours = f"QDG on parity, {words}: {share}", f"{of['covered']:.2f} of {of['nets']:.0f} nets"
        found.append(Row(what, ours, run.coverage.file, f"[{which}].covered"))
    return found


def judged(theirs: str, fit: Fit, differ: str) -> tuple[str, str]:
    """The verdict on a number against the paper's, which is given as text, and why; none if settings `differ`."""
    if not theirs:
        return "", NOT_THERE
    number, interval = float(theirs), fit.get("interval")
    verdict = paper.verdict(number, fit["value"], paper.PARITY_TOLERANCE, interval)
    if verdict == "":
        return verdict, NO_NUMBER
    return paper.not_compared(differ) if differ else (verdict, paper.reason(verdict, paper.PARITY_TOLERANCE, interval))
