"""The record of the benchmark of known skills: made of a run, and the tables and numbers that docs/known-skills.md has of it.

    python docs/results/known-skills/facts.py results/known-skills/known_skills/scores.csv   # puts a run's rows into scores.csv and skills.csv
    PYTHONPATH=workflow python docs/make.py                                                   # writes tables and numbers into the pages

The tables of single sets, such as results/known-skills/known_skills/parity/4/scores.csv, can be given too. Scores against the kinds and
cases are kept at the true number of clusters alone.
"""

import re
import sys
from pathlib import Path

import pandas as pd

HERE = Path(__file__).parent
KEYS = ["set", "affinity", "assignment", "factor", "truth", "condition", "draw"]
KEYS_OF_SKILLS = ["set", "affinity", "assignment", "draw", "skill"]
LINES = [  # of the main table
    ("cosine", "angular, spectral"),
    ("cosine", "neighbours, spectral"),
    ("cosine, checkpoints", "neighbours, spectral"),
    ("|cosine|", "neighbours, spectral"),
    ("|g|", "neighbours, spectral"),
    ("|g|, standardised", "neighbours, spectral"),
    ("|g|, standardised, all nets", "neighbours, spectral"),
    ("√|g|, standardised", "neighbours, spectral"),
    ("√|g|, standardised, checkpoints", "neighbours, spectral"),
    ("diagonal Fisher", "neighbours, spectral"),
    ("whitened", "neighbours, spectral"),
    ("Kronecker", "neighbours, spectral"),
    ("activation × gradient", "neighbours, spectral"),
    ("√|activation × gradient|, standardised", "neighbours, spectral"),
    ("√|activation × gradient|, standardised, all nets", "neighbours, spectral"),
    ("√|activation × gradient|, standardised, all nets", "average linkage"),
    ("√|g|, blocks alike", "neighbours, spectral"),
    ("√|g|, blocks alike, all nets", "neighbours, spectral"),
    ("√|g|, blocks alike, all nets", "average linkage"),
    ("√|g|, attention", "neighbours, spectral"),
    ("√|g|, attention, all nets", "neighbours, spectral"),
    ("√|g|, first attention", "neighbours, spectral"),
    ("√|g|, first attention, checkpoints", "neighbours, spectral"),
    ("√|g|, first attention, all nets", "neighbours, spectral"),
    ("√|g|, first attention, all nets", "angular, spectral"),
    ("√|g|, first attention, all nets", "HDBSCAN"),
    ("baseline: target", "as it is"),
    ("baseline: bigram", "as it is"),
    ("baseline: context", "neighbours, spectral"),
    ("baseline: last hidden state", "neighbours, spectral"),
    ("baseline: last hidden state, standardised, all nets", "neighbours, spectral"),
    ("baseline: loss curves", "neighbours, spectral"),
    ("baseline: untrained net, cosine", "neighbours, spectral"),
    ("baseline: untrained net, √|g|, first attention", "neighbours, spectral"),
]
PAPER, BEST, LINKAGE = LINES[0], ("√|g|, first attention, all nets", "neighbours, spectral"), "average linkage"
CONTEXT, BIGRAM = ("baseline: context", "neighbours, spectral"), ("baseline: bigram", "as it is")
ONE_NET = ("√|g|, first attention", "neighbours, spectral")
HIDDEN = ("baseline: last hidden state", "neighbours, spectral")
CONDITIONS = {
    "base": "equally many samples per skill",
    "0.5 of the samples": "half of the samples",
    "noise 1": "noise as long as the gradient",
    "noise 3": "noise three times as long",
    "as they occur": "samples as they occur",
    "as they occur, number by silhouette": "the same, number by silhouette",
}
PARITY, BARE, HELD_OUT = "parity", "parity, without code", (4, 5, 6)


def number(value):
    """Two decimals with a true minus sign; a dash where there is no score."""
    return "–" if pd.isna(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def span(values):
    """The least and the largest of several values."""
    return f"{number(values.min())} to {number(values.max())}"


def record(paths):
    """Put tables of runs into the record: their rows replace those of the same keys, and others stay."""
    parts = [pd.read_csv(path) for path in paths]
    skills = [pd.read_csv(Path(path).with_name("skills.csv")) for path in paths]
    for name, tables, keys in (("scores.csv", parts, KEYS), ("skills.csv", skills, KEYS_OF_SKILLS)):
        whole = pd.concat([pd.read_csv(HERE / name), *tables], ignore_index=True)
        same = whole[keys].copy()
        if "factor" in same:
            same.loc[same["condition"].str.contains("silhouette"), "factor"] = (
                0.0  # a factor that was chosen is a result
            )
        whole = whole[~same.duplicated(keep="last")]
        if "factor" in whole:
            whole = whole[(whole["factor"] == 1) | (whole["truth"] == "skill") | (whole["condition"] != "base")]
        columns = [*keys, *(column for column in tables[0].columns if column not in keys)]
        whole.sort_values(keys)[columns].round(4).to_csv(HERE / name, index=False)


class Scores:
    """The recorded scores against the skills, at the true number of clusters unless another factor is asked for."""

    def __init__(self):
        found = pd.read_csv(HERE / "scores.csv")
        self.table = found[found["truth"] == "skill"]
        self.languages = sorted(
            {int(name.split()[1]) for name in self.table["set"] if re.fullmatch(r"language \d+", name)}
        )

    def of(self, method, name, draws=None, condition="base", factor=1):
        """Scores of a method on the draws of a set."""
        affinity, assignment = method
        t = self.table[(self.table["affinity"] == affinity) & (self.table["assignment"] == assignment)]
        t = t[(t["set"] == name) & (t["condition"] == condition)]
        t = t if condition.endswith("silhouette") else t[t["factor"] == factor]
        return t["adjusted_rand"] if draws is None else t.loc[t["draw"].isin(draws), "adjusted_rand"]

    def held_out_languages(self, method, **kind):
        """Scores of a method on the languages that were not used to choose."""
        return pd.concat([self.of(method, f"language {n}", **kind) for n in self.languages if n])


def markdown(heads, rows):
    """A table."""
    heads, *rows = [[cell.replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    return "\n" + "\n".join("| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows)) + "\n"


def main_table(scores):
    """The adjusted Rand index of every line on every set."""
    heads = ["affinity", "assignment", "language 0", "languages, held out", "parity 0", "parity, held out",
             "without code 0", "without code, held out"]  # fmt: skip
    rows = []
    for line in LINES:
        nets_only = "attention" not in line[0] or line[0].startswith("baseline")  # parity's nets have none
        columns = [scores.of(line, "language 0"), scores.held_out_languages(line)]
        columns += [
            scores.of(line, name, draws) if nets_only else pd.Series(dtype=float)
            for name in (PARITY, BARE)
            for draws in ((0,), HELD_OUT)
        ]
        rows.append([*line, *(number(column.mean()) if len(column) else "–" for column in columns)])
    return markdown(heads, rows)


def languages_table(scores):
    """The winner and its rivals on each language, and their mean over those that were not used to choose."""
    methods = {
        "cosine (the paper's)": PAPER,
        "√|g|, first attention, one net": ONE_NET,
        "√|g|, first attention, three nets": BEST,
        "the same, average linkage": (BEST[0], LINKAGE),
        "context": CONTEXT,
        "last hidden state": HIDDEN,
        "bigram": BIGRAM,
    }
    rows = [
        [name, *(number(scores.of(m, f"language {n}").mean()) for n in scores.languages)] for name, m in methods.items()
    ]
    heads = ["", *(f"language {n}" for n in scores.languages), f"mean of 1 to {scores.languages[-1]}"]
    for row, m in zip(rows, methods.values(), strict=True):
        row.append(number(scores.held_out_languages(m).mean()))
    return markdown(heads, rows)


def conditions_table(scores):
    """Where the winner fails, on parity seed 0."""
    columns = [(PAPER, PARITY), (BEST, PARITY), ((BEST[0], LINKAGE), PARITY), (BEST, BARE), ((BEST[0], LINKAGE), BARE)]
    heads = ["condition", "cosine (the paper's)", "√|g|, all nets", "average linkage", "without code: √|g|, all nets",
             "without code: average linkage"]  # fmt: skip
    rows = [
        [words, *(number(scores.of(m, name, (0,), condition).mean()) for m, name in columns)]
        for condition, words in CONDITIONS.items()
    ]
    return markdown(heads, rows)


def natural_table(scores):
    """Samples as they occur and with noise: means over the languages that were not used to choose."""
    columns = {
        "cosine (the paper's)": PAPER, "√|g|, first attention": BEST, "average linkage": (BEST[0], LINKAGE),
        "context": CONTEXT, "context, average linkage": (CONTEXT[0], LINKAGE),
    }  # fmt: skip
    rows = [
        [words, *(number(scores.held_out_languages(m, condition=condition).mean()) for m in columns.values())]
        for condition, words in CONDITIONS.items()
    ]
    return markdown(["condition", *columns], rows)


def sharing_table():
    """Scores on parity without the code, by whether tasks share bits and by width: means over the seeds of sharing.csv."""
    found = pd.read_csv(HERE / "sharing.csv")
    columns = {
        "cosine": ("cosine", "neighbours, spectral"),
        "√|g|, all nets": ("√|g|, blocks alike, all nets", "neighbours, spectral"),
        "√|g|, all nets, average linkage": ("√|g|, blocks alike, all nets", LINKAGE),
        "hidden state": ("baseline: last hidden state, standardised, all nets", "neighbours, spectral"),
        "hidden state, average linkage": ("baseline: last hidden state, standardised, all nets", LINKAGE),
    }
    rows = []
    for (problem, width), mine in found.groupby(["problem", "width"], sort=False):
        means = mine.groupby(["affinity", "assignment"])["adjusted_rand"].mean()
        rows.append(
            [problem, str(width), number(mine["overlap"].mean()), *(number(means[m]) for m in columns.values())]
        )
    return markdown(["tasks", "units", "overlap", *columns], rows)


def facts():
    """What pages state of the record, by name."""
    scores = Scores()
    best, one, paper = (scores.held_out_languages(method) for method in (BEST, ONE_NET, PAPER))
    linkage = ("√|g|, blocks alike, all nets", LINKAGE)
    hidden = ("baseline: last hidden state, standardised, all nets", BEST[1])
    return {
        "known.best": number(best.mean()),
        "known.best_range": span(best),
        "known.one_net": number(one.mean()),
        "known.paper": number(paper.mean()),
        "known.bigram": number(scores.held_out_languages(BIGRAM).mean()),
        "known.context": number(scores.held_out_languages(CONTEXT).mean()),
        "known.untrained_parity": number(scores.of(LINES[-1], PARITY, (0,)).mean()),
        "known.bare": number(scores.of(linkage, BARE, HELD_OUT).mean()),
        "known.hidden": " to ".join(
            number(scores.of((hidden[0], way), BARE, HELD_OUT).mean()) for way in (hidden[1], LINKAGE)
        ),
        "known.table": main_table(scores),
        "known.by_language": languages_table(scores),
        "known.conditions": conditions_table(scores),
        "known.natural": natural_table(scores),
        "known.sharing": sharing_table(),
    }


if __name__ == "__main__":
    if sys.argv[1:]:
        record(sys.argv[1:])
    for name, text in facts().items():
        print(f"{name}: {text}")
