"""Numbers that pages state, each read from a run or a record once, and put between marks wherever a page states it.

A page writes `<!--=name-->0.124<!--/-->`. `python docs/make.py --numbers results/mini` reads the facts of a finished default run, keeps
them in docs/results/default/facts.json, and writes them into the pages. `make docs` writes pages from that file, and
`python docs/make.py --check` finds a page that states another number.
"""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import quanta

ROOT = Path(__file__).parent.parent
ORDER = "neox-1m"  # whose steps the order of learning is read over
KEPT = ROOT / "docs/results/default/facts.json"
MARKED = re.compile(r"<!--=([\w.]+)-->(.*?)<!--/-->", re.DOTALL)
PAGES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in ("tutorial", "numbers", "explorer", "faq", "interventions", "known-skills", "parity", "calibration")
    ),
)
BESIDE = (
    "identity_slope",
    "calibrated_alpha",
    "coverage.found",
)  # not in the paper, but no reader should go without them


def number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")


def interval(fit: dict[str, Any], digits: int = 2) -> str:
    """A value with its interval."""
    ends = fit.get("interval")
    told = number(fit["value"], digits)
    return f"{told} [{number(ends[0], digits)}, {number(ends[1], digits)}]" if ends else told


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
    return facts


def of_records() -> dict[str, str]:
    """Facts of records that are committed."""
    found: dict[str, str] = {}
    for record in ("known-skills", "parity-seeds"):
        found |= runpy.run_path(str(ROOT / f"docs/results/{record}/facts.py"))["facts"]()
    return found


def table(run: Any) -> str:
    """Rows of a run's table of the paper's numbers against ours that the paper has, and a few further ones."""
    found = run.paper_against_ours.astype(object).fillna("").astype(str)
    kept = found[(found["paper"] != "") | found["key"].isin(BESIDE)]
    columns = {"quantity": "", "paper": "the paper", "ours": "this run", "verdict": "verdict", "why": "why"}
    rows = [list(columns.values()), ["---"] * len(columns), *kept[list(columns)].to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def written(text: str, facts: dict[str, str]) -> str:
    """A page with each fact between its marks.

    Raises:
        KeyError: the page marks a fact that there is not.
    """
    return MARKED.sub(lambda found: f"<!--={found[1]}-->{facts[found[1]]}<!--/-->", text)


def pages() -> dict[Path, str]:
    """Text of every page that states facts, by its path."""
    facts = json.loads(KEPT.read_text(encoding="utf-8")) | of_records()
    paths = [ROOT / name for name in PAGES]
    return {path: written(path.read_text(encoding="utf-8"), facts) for path in paths if path.exists()}


def keep(folder: str) -> None:
    """Read the facts of a finished default run and keep them."""
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(of_run(folder), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
