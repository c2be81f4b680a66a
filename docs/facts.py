"""Numbers that pages state, each read from a run or a record once, and put between marks wherever a page states it.

A page writes `<!--=name-->0.124<!--/-->`. `python docs/make.py --numbers results/mini` reads the facts of a finished default run, keeps
them in docs/results/default/facts.json, and writes them into the pages. `make docs` writes pages from that file, and
`python docs/make.py --check` finds a page that states another number, and a number of the default run that stands without marks.
"""

import json
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import default_run
import pandas as pd
import quanta
from default_run import interval, number

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

    def alone(grouping: str, halving: str = "documents", kind: str = "removal") -> str:
        return _alone(counts[(kind, grouping, halving)], halving)

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
        "noise": alone("clusters", kind="noise"),
        "noise_second": next(
            _alone(one, "documents")
            for (kind, name, _), one in counts.items()
            if kind == "noise" and name not in GROUPS
        ),
        "noise_bigrams": alone("bigram", kind="noise"),
        "noise_random": alone("random", kind="noise"),
        "noise_table": "\n" + noise_table(run, counts) + "\n",
        "removal": "\n" + removal_table(run, counts) + "\n",
        "insertion": "\n" + insertion_table(run, counts) + "\n",
        "headline": "\n```\n" + "\n".join(run.summary["headline"]) + "\n```\n",
        "table": "\n" + table(run) + "\n",
    }
    facts |= shares(run)
    for null in run.nulls.iloc[1:].to_dict("records"):
        if pd.notna(null["slope"]):
            facts["null." + re.sub(r"\W+", "_", null["model"]).strip("_")] = number(null["slope"])
    return facts | default_run.facts(run)


def of_records() -> dict[str, str]:
    """Facts of records that are committed."""
    parity = pd.read_csv(ROOT / "docs/results/parity-removal/shares.csv")
    rows = [["seed", "way", "learned tasks", "cases", "same case", "same task and answer", "same task, other answer", "other tasks"],
            ["---"] * 8]  # fmt: skip
    for one in parity[parity["weights"] == "all"].to_dict("records"):
        found = [f"{number(one[f'{name}_median'], 3)} [{number(one[f'{name}_low'], 3)}, {number(one[f'{name}_high'], 3)}]"
                 for name in ("same_case", "same_answer", "other_answer", "other_tasks")]  # fmt: skip
        rows.append([str(one["seed"]), one["way"], str(one["learned_tasks"]), str(one["reached"]), *found])
    found = {"parity_removal": "\n" + _lines(rows) + "\n"}
    languages = pd.read_csv(ROOT / "docs/results/language-removal/counts.csv")
    found["language_removal"] = "\n" + language_removal_table(languages) + "\n"
    short = languages[(languages["half_tokens"] == 8) & (languages["halving"] == "documents")]
    sums = short.groupby(["kind", "grouping"])[["alone", "groups"]].sum()
    for kind, words in (("removal", "gradient"), ("noise", "noise")):
        for grouping in ("skills", "bigram"):
            found[f"language.{words}.{grouping}"] = "{} of {}".format(*sums.loc[(kind, grouping)])
    for record in ("known-skills", "parity-seeds"):
        found |= runpy.run_path(str(ROOT / f"docs/results/{record}/facts.py"))["facts"]()
    return found


def _medians(run: Any) -> dict[tuple[str, str, str, str], pd.DataFrame]:
    """Medians of the interventions by kind, grouping, halving and subset; each by share."""
    table = run.read("interventions/medians.csv")
    names = ["kind", "grouping", "halving", "subset"]
    return {(str(k), str(g), str(h), str(s)): part.set_index("share") for (k, g, h, s), part in table.groupby(names)}


def shares(run: Any) -> dict[str, str]:
    """Medians that a page states in a sentence, by name."""
    medians = _medians(run)
    wanted = {
        "tight": ("clusters", "documents", "tight", 2),
        "bare": ("clusters", "no common bigram", "all", 2),
        "bare_target": ("target", "no common bigram", "all", 2),
        "random": ("random", "documents", "all", 3),
        "bigrams": ("bigram", "documents", "all", 2),
    }
    return {
        f"removal.{name}": number(medians["removal", grouping, halving, subset].loc["other", "median"], digits)
        for name, (grouping, halving, subset, digits) in wanted.items()
        if ("removal", grouping, halving, subset) in medians
    }


GROUPS = {"clusters": "clusters", "": "clusters of the second affinity", "bigram": "bigrams", "target": "targets",
          "untrained": "clusters of an untrained model", "random": "random groups"}  # fmt: skip
REMOVED = ("target", "bigram", "near", "else", "plain")


def _rows(run: Any, kind: str) -> list[tuple[str, str, str, str, pd.DataFrame]]:
    """Words, grouping, halving, subset and medians of each row of a table of interventions, in the order of `GROUPS`."""
    medians, found = _medians(run), []
    second = {grouping for _, grouping, _, _ in medians} - set(GROUPS)
    for name, words in GROUPS.items():
        for grouping in sorted(second) if not name else [name]:
            for halving in ("documents", "no common bigram"):
                for subset, more in (("all", ""), ("tight", ", mean cosine above 0.2")):
                    if (kind, grouping, halving, subset) in medians:
                        found.append(
                            (words + more, grouping, halving, subset, medians[kind, grouping, halving, subset])
                        )
    return found


def _cells(part: pd.DataFrame, names: tuple[str, ...]) -> list[str]:
    """The other half's median with its interval, and the medians of further shares; empty where there are none."""
    own = part.loc["other"]
    digits = 3 if abs(own["median"]) < 0.01 else 2
    first = f"{number(own['median'], digits)} [{number(own['low'], digits)}, {number(own['high'], digits)}]"
    return [first, *(number(part.loc[name, "median"], 3) if name in part.index else "" for name in names)]


def _alone(one: dict[str, Any], halving: str) -> str:
    return f"{one['alone']} of {one['groups'] if halving == 'documents' else one['halved']}"


def _lines(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def removal_table(run: Any, counts: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """What removals took: a row per grouping, way to halve, and subset."""
    rows = [["groups", "halves", "n", "the other half", "same target", "same bigram", "near", "all else", "plain text", "alone"],
            ["---"] * 10]  # fmt: skip
    for words, grouping, halving, subset, part in _rows(run, "removal"):
        how = "by documents" if halving == "documents" else halving
        alone = _alone(counts["removal", grouping, halving], halving) if subset == "all" else ""
        rows.append([words, how, str(int(part.loc["other", "groups"])), *_cells(part, REMOVED), alone])
    return _lines(rows)


def noise_table(run: Any, counts: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """What noise took: a row per grouping, all halved by documents."""
    rows = [["groups", "n", "the other half", "same target", "same bigram", "all else", "plain text", "alone"],
            ["---"] * 8]  # fmt: skip
    for words, grouping, halving, subset, part in _rows(run, "noise"):
        if subset == "all":
            n, alone = str(int(part.loc["other", "groups"])), _alone(counts["noise", grouping, halving], halving)
            rows.append([words, n, *_cells(part, ("target", "bigram", "else", "plain")), alone])
    return _lines(rows)


WAYS = {
    ("removal", "documents"): "gradient",
    ("removal", "no common bigram"): "gradient, no common bigram",
    ("noise", "documents"): "noise",
}
ON_LANGUAGES = {"skills": "the true skills", "√|g|, first attention, neighbours": "clusters, √\\|g\\| of the first attention",
                "cosine, angular": "clusters, the paper's cosine", "bigram": "bigrams", "target": "targets", "random": "random groups"}  # fmt: skip


def language_removal_table(found: pd.DataFrame) -> str:
    """How many groups are removed alone on the made languages, all languages together: by way, and by tokens of a half."""
    sums = found.groupby(["grouping", "half_tokens", "kind", "halving"])[["alone", "groups"]].sum()
    lengths = sorted(found["half_tokens"].unique())
    rows = [["groups", *(f"{way}, {n} tokens" for way in WAYS.values() for n in lengths)]]
    rows.append(["---"] * len(rows[0]))
    for grouping, words in ON_LANGUAGES.items():
        keys = [(grouping, n, *way) for way in WAYS for n in lengths]
        cells = [f"{sums.loc[key, 'alone']} of {sums.loc[key, 'groups']}" if key in sums.index else "" for key in keys]
        rows.append([words, *cells])
    return _lines(rows)


def insertion_table(run: Any, counts: dict[tuple[str, str, str], dict[str, Any]]) -> str:
    """What insertions gave: a row per grouping."""
    rows = [
        ["groups", "gained enough", "the other half", "same target", "all else", "plain text", "alone"],
        ["---"] * 7,
    ]
    for words, grouping, halving, subset, part in _rows(run, "insertion"):
        one = counts["insertion", grouping, halving]
        if subset == "all":
            gained = f"{one['reached']} of {one['groups']}"
            rows.append([words, gained, *_cells(part, ("target", "else", "plain")), _alone(one, halving)])
    return _lines(rows)


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
