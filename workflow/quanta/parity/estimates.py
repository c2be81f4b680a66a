"""The calibrated exponent where the truth is known: gradients of parity nets through `quanta.calibration.regression`.

α is that of the frequencies p_i ∝ i^-(α+1) which the net was trained with (the paper's section 3). The calibration is that of
language models, function for function. Its prior holds 300 quanta or more, of one case each. Parity nets learn fewer, and each has several
cases, so a second prior (`calibration.cases`) has these. What separates an estimate from α is taken away one thing at a time: `CONDITIONS`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from quanta.affinity import cosine
from quanta.arrays import ERRORS_90, Array, Float, Float32, Int
from quanta.calibration import cases, estimators, regression
from quanta.calibration import simulations as sims
from quanta.errors import QuantaError
from quanta.parity import probing
from quanta.parity.learning_curves import CASES, COSINES, ENVELOPE, LANGUAGE, PARITY, TASKS, TASKS_LEARNED, TRUE_SIZES
from quanta.parity.sparse_parity import ParityProblem
from quanta.rank_frequency import collisions

FEWEST_SAMPLES = 40  # that `simulations.summaries` takes


@dataclass(frozen=True)
class Condition:
    """Which samples: how they are drawn, whether by their loss, whether of learned tasks only."""

    sampling: str
    by_loss: bool
    learned_only: bool


COLUMNS = ("alpha", "seed", "condition", "estimator", "value", "low", "high", "samples", "tasks", "learned_tasks",
           "verdict", "p_value")  # fmt: skip
CONDITIONS = {
    "base": Condition("frequency", by_loss=True, learned_only=False),
    "one pattern": Condition("one pattern", by_loss=True, learned_only=False),
    "learned tasks": Condition("frequency", by_loss=False, learned_only=True),
    "learned tasks, one pattern": Condition("one pattern", by_loss=False, learned_only=True),
}


@dataclass(frozen=True)
class Calibrated:
    """A calibration, the simulations that it knows, and its intervals on those that it does not (`Calibration.coverage`)."""

    known: pd.DataFrame
    fitted: regression.Calibration
    coverage: pd.DataFrame


def calibrations(
    n_tokens: int, most_quanta: int, *, simulations: int, held_out: int, seed: int
) -> dict[str, Calibrated]:
    """The calibration of language models and that with few quanta of several cases, both at `n_tokens`, by their estimator's name.

    Raises:
        QuantaError: fewer than 40 samples, or fewer than 100 simulations beside those held out.
    """
    if n_tokens < FEWEST_SAMPLES:
        raise QuantaError(
            "parity.qdg.samples", f"{n_tokens} samples", f"at least {FEWEST_SAMPLES}", "raise parity.qdg.samples"
        )
    numbers = range(simulations)
    tables = {
        LANGUAGE: sims.simulate(numbers, n_tokens, seed=seed),
        PARITY: cases.simulate(numbers, n_tokens, most_quanta, seed=seed),
    }
    found = {}
    for name, table in tables.items():
        known, rest = table.iloc[:-held_out], table.iloc[-held_out:]
        fitted = regression.Calibration(known, seed=seed)
        found[name] = Calibrated(known, fitted, fitted.coverage(rest))
    return found


def collisions_of_labels(labels: Int[Array, " sample"], n_quanta: float) -> dict[str, float]:
    """α by the share of pairs with the same label (`collisions.invert`), with the U-statistic's 90 % interval: value, low, high."""
    _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    degrees = (counts - 1)[own]
    share = float(degrees.mean()) / (len(labels) - 1)
    error = collisions.standard_error(degrees)
    return {
        "value": collisions.invert(share, n_quanta),
        "low": collisions.invert(max(share - ERRORS_90 * error, 0), n_quanta),
        "high": collisions.invert(min(share + ERRORS_90 * error, 1), n_quanta),
    }


def estimates(
    problem: ParityProblem,
    net: Mapping[str, Array],
    loss_bits: Float[Array, " task"],
    calibrated: Mapping[str, Calibrated],
    *,
    samples: int,
    below_bits: float,
    learned_bits: float,
) -> pd.DataFrame:
    """α of one net by every estimator under each of `CONDITIONS`; with fewer than two learned tasks there is no row.

    With the true tasks known, pairs of one task give α for infinitely many quanta (`TASKS`) and for K learned tasks
    (`TASKS_LEARNED`, only where samples are of learned tasks). Cases are tasks with one pattern of the k bits: 2^k a task.

    Returns:
        alpha (the truth), seed, condition, estimator, value, low, high (90 %), verdict, p_value, samples, tasks (in the samples),
        learned_tasks.
    """
    learned = np.asarray(loss_bits < learned_bits)
    if learned.sum() < 2:
        return pd.DataFrame(columns=list(COLUMNS))
    rows = []
    for name, condition in CONDITIONS.items():
        probes = probing.draw_probes(
            problem,
            dict(net),
            samples,
            sampling=condition.sampling,
            below_bits=below_bits if condition.by_loss else None,
            tasks=learned if condition.learned_only else None,
        )
        found = _labels_known(problem, probes, int(learned.sum()) if condition.learned_only else None)
        found |= _from_cosines(cosines_of(probing.gradients(dict(net), probes)), calibrated)
        about = {
            "samples": samples,
            "tasks": len(np.unique(probes.tasks)),
            "learned_tasks": int(learned.sum()),
        }
        keys = {"alpha": problem.alpha, "seed": problem.seed, "condition": name}
        rows += [keys | {"estimator": estimator} | value | about for estimator, value in found.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def cosines_of(features: Float32[Array, "sample parameter"]) -> Float32[Array, "sample sample"]:
    """QDG's cosines (`affinity.cosine`) of gradients."""
    cosines = np.empty((len(features), len(features)), dtype=np.float32)
    cosine.cosine([features], cosines)
    return cosines


def _labels_known(problem: ParityProblem, probes: probing.Probes, learned: int | None) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {TASKS: collisions_of_labels(probes.tasks, estimators.QUANTA)}
    if learned is not None:
        found[TASKS_LEARNED] = collisions_of_labels(probes.tasks, learned)
    found[CASES] = collisions_of_labels(probing.cases(probes, problem.subsets), estimators.QUANTA)
    return found


def _from_cosines(
    cosines: Float32[Array, "sample sample"], calibrated: Mapping[str, Calibrated]
) -> dict[str, dict[str, Any]]:
    summaries = sims.summaries(cosines) | cases.summaries(cosines)
    found: dict[str, dict[str, Any]] = {}
    for name, own in calibrated.items():
        posterior = own.fitted.infer(summaries)
        low, high = posterior.interval
        found[name] = {
            "value": posterior.value,
            "low": low,
            "high": high,
            "verdict": posterior.verdict,
            "p_value": posterior.p_value,
        }
    language = calibrated[LANGUAGE].known
    best = estimators.best_resolution(language, found[LANGUAGE]["value"])
    [at] = collisions.resolution_curve(cosines, np.array([best]), estimators.QUANTA)
    found[COSINES] = {"value": at["alpha"], "low": at["low"], "high": at["high"]}
    return found


def envelope_rows(envelopes: pd.DataFrame) -> pd.DataFrame:
    """Slopes of `parity_qdg.envelope_fit`, under the conditions that are asked here, as estimates of α = −slope − 1."""
    asked = envelopes[envelopes["condition"].isin(list(CONDITIONS))]
    parts = [
        asked[["alpha", "seed", "condition", "width"]].assign(estimator=name, value=-asked[column].astype(float) - 1)
        for name, column in ((ENVELOPE, "envelope_slope"), (TRUE_SIZES, "true_sizes_slope"))
    ]
    return pd.concat(parts, ignore_index=True)


def together(parts: Sequence[pd.DataFrame], envelopes: pd.DataFrame) -> pd.DataFrame:
    """Estimates of several nets and `envelope_rows` in one table, with the columns of `COLUMNS` even if no net has a row."""
    rows = [part for part in (*parts, envelope_rows(envelopes)) if len(part)]
    return pd.concat(rows, ignore_index=True).reindex(columns=[*COLUMNS, "width"])


def with_coverage(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `covered`: 1 where [low, high] holds the true α, 0 where not, NaN without an interval."""
    inside = (table["low"] <= table["alpha"]) & (table["alpha"] <= table["high"])
    return table.assign(covered=inside.astype(float).where(table["low"].notna()))


def coverage(table: pd.DataFrame, calibrated: Mapping[str, Calibrated]) -> pd.DataFrame:
    """How often intervals hold the truth, beside the nominal rate, and how far values are off.

    Returns:
        condition ("simulations held out" is the check of a calibration on its own simulations), estimator, nets, bias,
        rmse, nominal, covered (share), width (of intervals), cannot_tell (share of verdicts).
    """
    parts = [table]
    for name, own in calibrated.items():
        parts.append(own.coverage.assign(condition="simulations held out", estimator=name))
    everything = pd.concat(parts, ignore_index=True)
    rows = []
    for (condition, estimator), part in everything.groupby(["condition", "estimator"], sort=False):
        error = part["value"] - part["alpha"]
        judged = part["verdict"].dropna()
        rows.append(
            {
                "condition": condition,
                "estimator": estimator,
                "nets": len(part),
                "bias": error.mean(),
                "rmse": float(np.sqrt((error**2).mean())),
                "nominal": regression.LEVEL if part["covered"].notna().any() else np.nan,
                "covered": part["covered"].astype(float).mean(),
                "width": (part["high"] - part["low"]).mean(),
                "cannot_tell": float((judged != regression.ALIKE).mean()) if len(judged) else np.nan,
            }
        )
    return pd.DataFrame(rows)
