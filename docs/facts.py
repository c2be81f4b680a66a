"""Numbers that pages state, each read from a run or a record once, and put between marks wherever a page states it.

A page writes `<!--=name-->0.124<!--/-->`. `python docs/make.py --numbers results/mini` reads the facts of a finished default run, keeps
them in docs/results/default/facts.json, and writes them into the pages. `make docs` writes pages from that file, and
`python docs/make.py --check` finds a page that states another number, and a number of the default run that stands without marks.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import default_run
import pandas as pd
import quanta
from default_run import interval, number
from quanta.parity.learning_curves import LANGUAGE

ROOT = Path(__file__).parent.parent
ORDER = "neox-1m"  # whose steps the order of learning is read over
KEPT = ROOT / "docs/results/default/facts.json"
MARKED = re.compile(r"<!--=([^>]+)-->(.*?)<!--/-->", re.DOTALL)
PAGES = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
# pages whose tables are written by commands of their own, which the pages name
OWN_TABLES = ("docs/affinities.md", "docs/interventions.md")
# settings of the default run, which are no results
OF_THE_SETTING = ("which also has an exponent of 1.3", "otherwise as in the default run")
BESIDE = (
    "identity_slope",
    "calibrated_alpha",
    "coverage.found",
)  # not in the paper, but no reader should go without them


def of_run(folder: str) -> dict[str, str]:
    """Facts of a finished default run, by name."""
    run = quanta.load(folder)
    summary = run.summary["numbers"]
    counts = {
        (one["kind"], one["grouping"], one["halving"]): one for one in run.read("interventions/alone.json")["counts"]
    }

    def alone(grouping: str, halving: str = "documents") -> str:
        one = counts[("removal", grouping, halving)]
        return f"{one['alone']} of {one['groups'] if halving == 'documents' else one['halved']}"

    drops = summary["seeds"]["recurs"]["drop"]["another seed"]
    order = summary["order_of_learning"][f"step of {ORDER}"]
    facts = {
        "slope": interval(summary["envelope_slope"]),
        "rho": interval(order),
        "drops": f"{100 * drops['value']:.0f} %",
        "drops_expected": f"{100 * drops['expected']:.0f} %",
        "alone": alone("clusters"),
        "alone_bare": alone("clusters", "no common bigram"),
        "alone_random": alone("random"),
        "alone_bigrams": alone("bigram"),
        "headline": "\n```\n" + "\n".join(run.summary["headline"]) + "\n```\n",
        "table": "\n" + table(run) + "\n",
    }
    for null in run.nulls.iloc[1:].to_dict("records"):
        if pd.notna(null["slope"]):
            facts["null." + re.sub(r"\W+", "_", null["model"]).strip("_")] = number(null["slope"])
    return facts | default_run.facts(run)


def of_records() -> dict[str, str]:
    """Facts of records that are committed."""
    scores = pd.read_csv(ROOT / "docs/results/known-skills/scores.csv")
    held = scores[(scores["set"] == "language") & (scores["draw"] == 1) & (scores["condition"] == "base")]
    held = held[(held["factor"] == 1) & (held["truth"] == "skill")].set_index(["affinity", "assignment"])[
        "adjusted_rand"
    ]
    coverage = pd.read_csv(ROOT / "docs/results/parity-seeds/coverage.csv").set_index(["condition", "estimator"])
    coverage = coverage.loc[("base", LANGUAGE)]
    return {
        "known.best": number(held["√|g|, first attention", "neighbours, spectral"]),
        "known.paper": number(held["cosine", "angular, spectral"]),
        "coverage": f"{coverage['covered'] * coverage['nets']:.0f} of {coverage['nets']:.0f}",
    }


def table(run: Any) -> str:
    """Rows of a run's table of the paper's numbers against ours that the paper has, and a few further ones."""
    found = run.paper_against_ours.astype(object).fillna("").astype(str)
    kept = found[((found["paper"] != "") & ~found["quantity"].str.contains("recorded")) | found["key"].isin(BESIDE)]
    columns = {"quantity": "", "paper": "the paper", "ours": "this run", "verdict": "verdict", "why": "why"}
    rows = [list(columns.values()), ["---"] * len(columns), *kept[list(columns)].to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def written(text: str, facts: dict[str, str]) -> str:
    """A page with each fact between its marks.

    Raises:
        KeyError: the page marks a fact that there is not.
    """
    return MARKED.sub(lambda found: f"<!--={found[1]}-->{facts[found[1]]}<!--/-->", text)


def known() -> dict[str, str]:
    """All facts by name: those that were kept, and those of records."""
    return json.loads(KEPT.read_text(encoding="utf-8")) | of_records()


def alike(text: str) -> str:
    """Text with one kind of minus sign and of blank, without what stands between marks and without blocks of code."""
    text = re.sub(r"^```.*?^```", "", MARKED.sub("", text), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"\s+", " ", text.replace("−", "-"))


def telling(facts: dict[str, str]) -> dict[str, str]:
    """Numbers that belong to one fact alone, as `alike` writes them, and the names of their facts.

    These are values with an interval and counts out of a number, in tables too, and numbers with a comma.
    """
    found = {}
    for name, value in facts.items():
        cells = value.split("|") if name.startswith("table") else [value]
        for cell in (re.sub(r"\s+", " ", one.replace("−", "-")).strip() for one in cells):
            with_interval = re.fullmatch(r"-?\d+\.\d+ \[-?\d+\.\d+, -?\d+\.\d+\]|\d+ of \d\d+", cell)
            if with_interval or (len(cells) == 1 and re.fullmatch(r"\d{1,3}(,\d{3})+", cell)):
                found[cell] = name
    return found


def unmarked(text: str, facts: dict[str, str]) -> list[str]:
    """Numbers of the default run that stand without marks on a page: its own ones, and any in a sentence that names it."""
    text = alike(text)
    found = [
        f"{one} ({name})"
        for one, name in telling(facts).items()
        if re.search(rf"(?<![\d.,-]){re.escape(one)}(?!\d|,\d)", text)
    ]
    named = (one.strip() for one in re.split(r"(?<=[.!?:|]) ", text) if "default run" in one)
    settings = re.compile("|".join(map(re.escape, OF_THE_SETTING)))
    return found + [one for one in named if re.search(r"\d\.\d|\d ?%", one) and not settings.search(one)]


def pages() -> dict[Path, str]:
    """Text of every page that states facts, by its path."""
    facts = known()
    paths = [ROOT / name for name in PAGES]
    return {path: written(path.read_text(encoding="utf-8"), facts) for path in paths if path.exists()}


def keep(folder: str) -> None:
    """Read the facts of a finished default run and keep them, and the figures that pages show."""
    for picture in (ROOT / "docs/images").glob("*.png"):
        made = Path(folder) / "report/figures" / picture.name
        if made.exists():
            shutil.copyfile(made, picture)
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(of_run(folder), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
