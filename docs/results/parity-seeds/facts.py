"""The record of thirty parity nets: made of a run, and the tables and numbers that docs/parity.md and other pages have of it.

PYTHONPATH=workflow python docs/results/parity-seeds/facts.py results/parity-thirty   # copies coverage.csv and estimates.csv here
PYTHONPATH=workflow python docs/make.py                                                # writes tables and numbers into the pages
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from quanta.calibration import planted
from quanta.parity.learning_curves import (
    CASES,
    COSINES,
    ENVELOPE,
    LANGUAGE,
    PARITY,
    TASKS,
    TASKS_LEARNED,
    TRUE_SIZES,
)
from scipy.stats import binomtest

HERE = Path(__file__).parent
BASE, ONE, LEARNED, BOTH, HELD_OUT = (
    "base",
    "one pattern",
    "learned tasks",
    "learned tasks, one pattern",
    "simulations held out",
)
CONDITIONS = {BASE: "as for language models"}  # words of a page; others are their own
LINES = {  # of the main table: condition and estimator, and the words for the estimator
    (BASE, ENVELOPE): "envelope, −slope − 1",
    (BASE, TRUE_SIZES): "sizes of the true tasks, −slope − 1",
    (BASE, COSINES): COSINES,
    (BASE, LANGUAGE): "calibrated",
    (BASE, PARITY): "calibrated, few quanta of several cases",
    (ONE, COSINES): COSINES,
    (ONE, LANGUAGE): "calibrated",
    (ONE, PARITY): "calibrated, few quanta of several cases",
    (BOTH, LANGUAGE): "calibrated",
    (BASE, TASKS): "true tasks, collisions",
    (BASE, CASES): "true cases, collisions",
    (LEARNED, TASKS_LEARNED): "true tasks, collisions, K known",
    (BOTH, TASKS_LEARNED): "true tasks, collisions, K known",
    (HELD_OUT, LANGUAGE): "calibrated",
    (HELD_OUT, PARITY): "calibrated, few quanta of several cases",
}


def number(value, digits=2, sign=""):
    """A number with a true minus sign."""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}".replace("-", "−")


def held(covered, nets):
    """How many of the intervals contain α, and the 95 % interval of that rate in percent, by Clopper and Pearson."""
    found = round(covered * nets)
    ends = binomtest(found, int(nets)).proportion_ci()
    return f"{found} of {int(nets)}", f"{100 * ends.low:.0f} to {100 * ends.high:.0f} %"


def main_table(coverage):
    """Bias, error, coverage and width of each estimator."""
    lines = [
        '| condition | estimate of α | bias | rmse | intervals that contain α | mean width | "cannot tell" |',
        "|" + "---|" * 7,
    ]
    for (condition, estimator), words in LINES.items():
        if (condition, estimator) not in coverage.index:
            continue
        one = coverage.loc[(condition, estimator)]
        nets = int(one["nets"])
        cells = [CONDITIONS.get(condition, condition), words, number(one["bias"], sign="+"), number(one["rmse"])]
        cells += ["", ""] if pd.isna(one["covered"]) else [held(one["covered"], nets)[0], number(one["width"])]
        cells += ["" if pd.isna(one["cannot_tell"]) else f"{round(one['cannot_tell'] * nets)} of {nets}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n" + "\n".join(lines) + "\n"


def by_alpha(estimates, width):
    """The prior of few quanta of several cases, α by α."""
    lines = ["| α | nets | α in the interval | mean error | median width | of the prior's width |", "|" + "---|" * 6]
    for name, part in [*estimates.groupby("alpha"), ("all", estimates)]:
        median = (part["high"] - part["low"]).median()
        cells = [f"{name}", f"{len(part)}", f"{part['covered'].sum():.0f}", number((part["value"] - part["alpha"]).mean(), sign="+"),
                 number(median), f"{median / width:.0%}"]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n" + "\n".join(lines) + "\n"


def facts():
    """What pages state of the record, by name."""
    coverage = pd.read_csv(HERE / "coverage.csv").set_index(["condition", "estimator"])
    estimates = pd.read_csv(HERE / "estimates.csv")
    base = estimates[estimates["condition"] == BASE].set_index("estimator")
    wide, narrow = base.loc[PARITY], base.loc[LANGUAGE]
    low, high = planted.PRIOR["alpha"]
    errors = {
        name: np.sqrt(((one["value"] - one["alpha"]) ** 2).mean()) for name, one in (("wide", wide), ("narrow", narrow))
    }
    return {
        "coverage": held(*coverage.loc[(BASE, LANGUAGE), ["covered", "nets"]])[0],
        "coverage.interval": held(*coverage.loc[(BASE, LANGUAGE), ["covered", "nets"]])[1],
        "coverage.rmse": number(errors["narrow"]),
        "coverage.alike": f"{(narrow['verdict'] == 'like the simulations').sum()} of {len(narrow)}",
        "coverage.one.width": number(coverage.loc[(ONE, LANGUAGE), "width"]),
        "cases.one.width": number(coverage.loc[(ONE, PARITY), "width"]),
        "known_tasks": held(*coverage.loc[(LEARNED, TASKS_LEARNED), ["covered", "nets"]])[0],
        "known_tasks.width": number(coverage.loc[(LEARNED, TASKS_LEARNED), "width"]),
        "bias.cases": number(coverage.loc[(BASE, CASES), "bias"], sign="+"),
        "bias.tasks": number(coverage.loc[(BASE, TASKS), "bias"], sign="+"),
        "bias.known": number(coverage.loc[(LEARNED, TASKS_LEARNED), "bias"], sign="+"),
        "coverage.both": held(*coverage.loc[(BOTH, LANGUAGE), ["covered", "nets"]])[0],
        "coverage.one": held(*coverage.loc[(ONE, LANGUAGE), ["covered", "nets"]])[0],
        "cases": held(*coverage.loc[(BASE, PARITY), ["covered", "nets"]])[0],
        "cases.interval": held(*coverage.loc[(BASE, PARITY), ["covered", "nets"]])[1],
        "cases.width": number(coverage.loc[(BASE, PARITY), "width"]),
        "cases.share": f"{coverage.loc[(BASE, PARITY), 'width'] / (high - low):.0%}",
        "cases.rmse": number(errors["wide"]),
        "constant.rmse": number(wide["alpha"].std(ddof=0)),
        "parity.prior": number(high - low, 1),
        "parity.learned": f"{wide['learned_tasks'].min():.0f} to {wide['learned_tasks'].max():.0f}",
        "parity.table": main_table(coverage),
        "parity.by_alpha": by_alpha(wide, high - low),
    }


if __name__ == "__main__":
    for name in ("coverage.csv", "estimates.csv") if sys.argv[1:] else ():
        shutil.copy(f"{sys.argv[1]}/parity/calibration/{name}", HERE / name)
    for name, text in facts().items():
        print(f"{name}: {text}")
