"""Prose of README, docs, CONTRIBUTING and results/README.md, as far as it can be measured.

Each check is a function of a text. Small texts show that it can fail, and a test applies it to every page. Facts that two pages
state are compared at the end.
"""

import ast
import importlib
import json
import re
import runpy
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml
from support import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", "results/README.md", "resources/family/README.md"]
PAGES += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
# further pages of the site, which a command writes or which hold no prose of their own
DERIVED = ["config/README.md", "CHANGELOG.md", "docs/notebook/results.ipynb"]


class Limit(NamedTuple):
    """What a page may have at most, and whether it opens as a page should."""

    share: float = 0.01  # of its sentences that have more than 25 words
    longest: int = 27  # words of its longest sentence
    banned: int = 0  # banned words
    bold: int = 3  # bold phrases outside of tables
    cell: int = 14  # words of the longest sentence in a table
    opens: bool = True  # with a question, its answer beneath, and a link to the glossary


# the front page says what the project is in its first sentence
LIMITS = {"README.md": Limit(opens=False)}
# pages outside of the site, the glossary itself, and pages that have none yet
WITHOUT_GLOSSARY = {"CONTRIBUTING.md", "docs/glossary.md", "resources/family/README.md"}
WITHOUT_GLOSSARY |= {"docs/affinities.md", "docs/interventions.md", "docs/known-skills.md"}

# words that a reader of English as a second language stumbles over, or that only this project uses
BANNED = re.compile(
    r"\b(mend(s|ed|ing)?|rooms?|surprise|luck|even odds|anew|beside|leftovers?|nobody asks|(not )?to be had|"
    r"(is|are|was|were) (told|said)|told (apart|here)|held against|holds? the truth|from nothing|goes on|come by|"
    r"as language models are done|what stands)\b",
    re.IGNORECASE,
)
# what no page is about: how the project is made, and on what occasion a sentence was written
DEVELOPMENT = re.compile(
    r"\b((no|not?) (GPU|hub|processor|machine)[^.]{0,30} at hand|where this was written|came later|since then|fell over|"
    r"the engine before|before this one|some changes earlier|at another hour|last one written|in this session|"
    r"(this|our|a) workplace|helpers?|reviewers?|TODO|FIXME)\b|#\d+ on the tracker",
    re.IGNORECASE,
)
TERMS = {  # abbreviation: what stands with it, or before it, where a page has it first
    "QDG": "quanta discovery from gradients",
    "RMSE": "error",
    "DAG": "graph",
    "BPE": "byte-level",
}


def told_by_code(path: Path) -> list[str]:
    """Texts of three words and more that a Python file has, and that are no docstrings: errors, logs, titles, notes."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in silent]
    return [text for text in texts if isinstance(text, str) and len(text.split()) > 2]


def told_by_the_page() -> list[str]:
    """Texts of the page: of its template without tags, and of its code."""
    template = (ROOT / "workflow/report/page.html").read_text(encoding="utf-8")
    texts = re.sub(r"\{%.*?%\}|<style.*?</style>", "", template, flags=re.DOTALL)
    texts = re.sub(r"\{\{.*?\}\}", "Model", texts)
    found = [re.sub(r"<[^>]+>", " ", part) for part in re.split(r"</(?:p|li|h\d|td|th)>", texts)]
    for path in (ROOT / "workflow/report/explorer").glob("*.js"):
        code = re.sub(r"/\*.*?\*/|(?<= )// .*?$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        found += [a or b for a, b in re.findall(r'"([^"\n]{12,})"|`([^`\n]{12,})`', code)]
    return [text.strip() for text in found if len(text.split()) > 2]


def plain(text: str) -> str:
    """A page without comments, code and markup of links."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"^( *)```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)\s]*\)", r"\1", text)
    return re.sub(r"`[^`]*`", "code", text)


def paragraphs(text: str) -> list[str]:
    """Paragraphs and items of lists, each one line; no headings, tables or indented code."""
    found = [""]
    for line in plain(text).splitlines():
        item = re.match(r"\s*(-|\d+\.)\s+", line)
        if not line.strip() or item or re.match(r"(#|\||<| {4,}\S)", line):
            found.append("")
        if not re.match(r"(#|\||<| {4,}[^-\s])", line):
            found[-1] += " " + line.strip().removeprefix(item[0].strip() if item else "")
    return [paragraph.strip() for paragraph in found if paragraph.strip()]


def sentences(text: str) -> list[str]:
    """Sentences of three words and more."""
    ends = re.compile(r"(?<=[.!?])[*)”]*\s+(?=[*\[(“]*[A-ZαρL0-9c≤–])")
    return [one for paragraph in paragraphs(text) for one in ends.split(paragraph) if len(one.split()) > 2]


def lengths(text: str) -> tuple[float, int]:
    """Share of sentences with more than 25 words, and words of the longest."""
    words = [len(re.findall(r"\w[^\s]*", one)) for one in sentences(text)] or [0]
    return sum(n > 25 for n in words) / len(words), max(words)


def longest_in_a_table(text: str) -> int:
    """Words of the longest sentence in the cells of a page's tables; numbers are no words."""
    cells = [cell for line in plain(text).splitlines() if line.startswith("|") for cell in line.split("|")]
    return max(
        (len(re.findall(r"[A-Za-z]\S*", one)) for cell in cells for one in re.split(r"(?<=[.;!?])\s+", cell)), default=0
    )


def banned(text: str) -> list[str]:
    """Banned words outside of code, in tables and headings too."""
    return [found[0] for found in BANNED.finditer(plain(text))]


def unexplained(text: str) -> list[str]:
    """Abbreviations that a page does not spell out in the paragraph of their first use, before it, or beneath a table."""
    text = plain(text)
    found = []
    for term, meaning in TERMS.items():
        first = re.search(rf"\b{term}\b", text)
        if first:
            end = text.find("\n\n", first.end())
            if (
                end > 0 and text[text.rfind("\n", 0, first.start()) + 1] == "|"
            ):  # of a table, what stands beneath it counts
                end = text.find("\n\n", end + 2)
            if meaning.lower() not in re.sub(r"\s+", " ", text[: end if end > 0 else None]).lower():
                found.append(term)
    return found


def opening(text: str) -> bool:
    """Whether the first paragraph is a question, and the next one is no heading, list or table."""
    parts = [part.strip() for part in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).split("\n\n") if part.strip()]
    return parts[0].startswith("# ") and parts[1].endswith("?") and bool(re.match(r"[\w`*\[]", parts[2]))


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, on GitHub and on the site."""
    found: set[str] = set()
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.*)$", without_code, re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower())
        found |= {name.replace(" ", "-"), re.sub(r"[-\s]+", "-", name)}
    return found


def links(page: str, text: str) -> list[tuple[str, str]]:
    """Relative links of a page: file in the repository, anchor."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", text)):
        if "://" not in target and not target.startswith("mailto:"):
            path, _, anchor = target.partition("#")
            real = (ROOT / page).parent / path if path else ROOT / page
            found.append((real.resolve().relative_to(ROOT).as_posix(), anchor))
    return found


def broken(page: str, text: str) -> list[str]:
    """Links of a page to a file or an anchor that does not exist."""
    found = []
    for path, anchor in links(page, text):
        if not (ROOT / path).exists():
            found.append(path)
        elif anchor and path.endswith(".md"):
            there = text if path == page else (ROOT / path).read_text(encoding="utf-8")
            if anchor not in anchors(there):
                found.append(f"{path}#{anchor}")
    return found


def uneven(text: str) -> list[str]:
    """Rows of tables that have another number of cells than their header: a pipe in a cell needs a backslash."""
    found, wanted = [], None
    for line in re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).splitlines():
        number = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
        wanted = number if wanted is None else wanted if number is not None else None
        if number != wanted:
            found.append(line)
    return found


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_sentences_and_their_words_are_counted():
    text = "# Head\n\nOne is short. `x.y` is code.\nIt goes\non: see [this page](a.md).\n\n- First item\n- Second one here. Third.\n\n| a. B | c |\n"
    assert sentences(text) == [
        "One is short.",
        "code is code.",
        "It goes on: see this page.",
        "Second one here.",
    ]
    assert lengths("word " * 30 + "end. And then a short one.") == (0.5, 31)
    assert longest_in_a_table("Text with five words.\n\n| one two. three | 4 5 `six seven` |") == 2
    assert lengths("```\n" + "word " * 30 + "\n```\n") == (0, 0)


def test_banned_words_are_seen_outside_of_code():
    assert banned("Start anew, beside `the room`: the *mend*.\n\n| luck |") == ["anew", "beside", "mend", "luck"]
    assert banned("`tests/test_rooms.py` amends a mushroom. Fix it again.") == []
    assert banned("```\nanew\n```\nIt is said that it is to be had.") == ["is said", "to be had"]
    assert banned("It goes on when told apart.") == ["goes on", "told apart"]


def test_abbreviations_are_spelled_out_where_they_are_first():
    assert unexplained("# QDG\n\nQuanta discovery\nfrom gradients (QDG) is it.") == ["QDG"]
    assert unexplained("# A\n\nQuanta discovery\nfrom gradients (QDG) is it.\n\nQDG again.") == []
    assert unexplained("# A\n\nQDG first.\n\nQuanta discovery from gradients.") == ["QDG"]
    assert unexplained("| QDG |\n\nQDG: quanta discovery from gradients.\n\nMore.") == []
    assert unexplained("`QDG` is code") == []


def test_an_opening_is_a_question_and_an_answer():
    assert opening("# A\n\nWhat is it?\n\nIt is a text.\n")
    assert not opening("# A\n\nIt is a text.\n\nWhat is it?\n")
    assert not opening("# A\n\nWhat is it?\n\n## Next\n\nText\n")


def test_a_link_to_nowhere_is_named():
    text = "# Page\n\n## Two words: here\n\n[a](#two-words-here) [b](#gone) [c](costs.md) [d](gone.md) [e](costs.md#nowhere) [f](https://x.org)\n"
    assert broken("docs/faq.md", text) == ["docs/faq.md#gone", "docs/gone.md", "docs/costs.md#nowhere"]


def test_a_pipe_that_breaks_a_row_is_seen():
    table = "| key | meaning |\n|---|---|\n| `a` | `<|end|>` |\n| b | `<\\|end\\|>` |\n\n| one |\n|---|\n| c |\n"
    assert uneven(table) == ["| `a` | `<|end|>` |"]


def test_words_about_development_are_seen():
    assert DEVELOPMENT.search("No GPU was at hand when this was written")
    assert DEVELOPMENT.search("What fell over on the way")
    assert not DEVELOPMENT.search("Not tested on a GPU.")


def test_a_number_of_the_default_run_without_marks_is_found(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    facts = importlib.import_module("facts")
    known = {
        "slope": "−0.87 [−0.97, −0.77]",
        "alone": "23 of 51",
        "table.a": "\n| a |\n| --- |\n| 0.12 [0.08, 0.15] |\n",
    }
    found = facts.unmarked("The slope is -0.87\n[-0.97, -0.77], for 23 of 51. | 0.12 [0.08, 0.15] |", known)
    assert found == ["-0.87 [-0.97, -0.77] (slope)", "23 of 51 (alone)", "0.12 [0.08, 0.15] (table.a)"]
    assert facts.unmarked("It is <!--=slope-->−0.87 [−0.97, −0.77]<!--/-->.\n```\n23 of 51\n```\n", known) == []
    assert facts.unmarked("In the default run it is 7 %. Else 8 %.", known) == ["In the default run it is 7 %."]
    assert facts.written("<!--=a-b.c--><!--/-->", {"a-b.c": "1"}) == "<!--=a-b.c-->1<!--/-->"
    with pytest.raises(KeyError):
        facts.written("<!--=none--><!--/-->", known)


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_the_sentences_of_a_page_are_short(page):
    limit = LIMITS.get(page, Limit())
    share, longest = lengths(read(page))
    worst = sorted(sentences(read(page)), key=lambda one: -len(one.split()))[:3]
    assert longest_in_a_table(read(page)) <= limit.cell
    assert share <= limit.share and longest <= limit.longest, f"{share:.2f}, {longest} words: {worst}"


@pytest.mark.parametrize("page", [*PAGES, "config/README.md", "CHANGELOG.md"])
def test_a_page_has_no_banned_words_and_does_not_speak_of_its_making(page):
    found = banned(read(page))
    assert len(found) <= LIMITS.get(page, Limit()).banned, found
    if LIMITS.get(page, Limit()).opens:
        assert not DEVELOPMENT.search(plain(read(page)))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_spells_out_its_abbreviations(page):
    if LIMITS.get(page, Limit()).opens:
        assert not unexplained(read(page))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_with_its_question_and_has_few_bold_phrases(page):
    limit = LIMITS.get(page, Limit())
    outside = "\n".join(line for line in plain(read(page)).splitlines() if not line.startswith("|"))
    assert len(re.findall(r"\*\*[^*]+\*\*", outside)) <= limit.bold
    if limit.opens:
        assert opening(read(page))
        assert page in WITHOUT_GLOSSARY or "docs/glossary.md" in {path for path, _ in links(page, read(page))}


@pytest.mark.parametrize("page", [*PAGES, "config/README.md"])
def test_every_row_of_a_table_has_the_cells_of_its_header(page):
    assert not uneven(read(page))


@pytest.mark.parametrize("page", [*PAGES, "config/README.md", "CHANGELOG.md"])
def test_every_link_of_a_page_leads_somewhere(page):
    assert not broken(page, read(page))


def reachable(clicks: int) -> set[str]:
    """Pages that a reader of the README reaches with so many clicks."""
    found = {"README.md"}
    for _ in range(clicks):
        found |= {path for page in found if page.endswith(".md") for path, _ in links(page, read(page))}
        found = {path for path in found if (ROOT / path).is_file()}
    return found


def test_every_page_is_two_clicks_from_the_readme():
    assert not {*PAGES, *DERIVED} - reachable(2)
    assert "docs/gradients.md" not in reachable(0)


def test_every_picture_is_shown_by_a_page():
    shown = {path for page in PAGES for path, _ in links(page, read(page))}
    assert {f"docs/images/{path.name}" for path in (ROOT / "docs/images").iterdir()} <= shown


def test_every_page_has_its_place_on_the_site():
    placed = set(re.findall(r"[\w-]+\.md", read("mkdocs.yml")))
    assert {Path(page).name for page in PAGES if page.startswith("docs/")} <= placed


def test_the_longest_texts_of_keys_messages_and_captions_are_short():
    """Descriptions in config/schema.yaml, messages of rules, captions of figures: no banned word, no long sentence."""
    texts = re.findall(r"^ *description: (.*)$", read("config/schema.yaml"), re.MULTILINE)
    texts = [yaml.safe_load(text) for text in texts]
    for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        texts += re.findall(r'^ *message:\n *f?"(.*)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    texts += [path.read_text(encoding="utf-8") for path in (ROOT / "workflow/report").glob("*.rst")]
    assert len(texts) > 200
    for text in texts:
        assert not banned(text) and lengths(text)[1] <= 30, text


def test_messages_titles_and_the_page_have_no_banned_word():
    """Errors and logs of library and scripts, texts of the page, and comments of configurations, rules and profile."""
    texts = [text for path in (ROOT / "workflow").rglob("*.py") for text in told_by_code(path)]
    texts += told_by_the_page()
    for path in (*(ROOT / "config").glob("*.yaml"), *(ROOT / "slurm").glob("*.yaml"), *(ROOT / "rules").glob("*.smk")):
        texts += re.findall(r"# (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(texts) > 1500
    assert [(text, found) for text in texts if (found := BANNED.findall(text))] == []


def test_the_notebook_speaks_as_the_pages_do():
    cells = json.loads(read("docs/notebook/results.ipynb"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert opening(text) and not banned(text) and lengths(text)[1] <= 28
    assert 'run.plot("' in "".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_the_sentences_of_the_page_and_of_configurations_are_short():
    for text in told_by_the_page():
        assert lengths(text)[1] <= 30, text
    for path in (ROOT / "config").glob("*.yaml"):
        comments = re.findall(r"^ *# (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert lengths("\n\n".join(comments))[1] <= 28, path


def test_every_file_that_a_rule_makes_is_in_the_list_of_files():
    listed = read("results/README.md")
    for path in (ROOT / "rules").glob("*.smk"):
        for name in re.findall(
            r'f"\{R\}/((?!logs|benchmarks)[\w/]+\.(?:csv|json|parquet|npy|npz|html))"', path.read_text()
        ):
            assert Path(name).name in listed or Path(name).parent.name in ("tokenizer", "training"), name


# ---------------------------------------------------------------------------------------- one fact, two places

# a fact: its home, and how it stands there; then further pages, where it may stand or not
FACTS = {
    "drops that recur": (
        ("docs/dynamics.md", r"more than 1 nat between neighbouring model sizes \| (\d+ %)"),
        [("README.md", r"(\d+ %)[^.]{0,20} recur with another seed"), ("docs/dynamics.md", r"model sizes, (\d+ %) recur")],
    ),
    "drops that would recur by chance": (
        ("docs/dynamics.md", r"more than 1 nat between neighbouring model sizes \| \d+ % \| (\d+ %)"),
        [("README.md", r"(\d+ %)[^.]{0,9} would by chance"), ("docs/dynamics.md", r"and (\d+ %) would recur")],
    ),
    "time of the smoke run": (
        ("config/smoke.yaml", r"Time: ([^.]+)\."),
        [("CONTRIBUTING.md", r"tiny, in (\d+ to \d+ minutes)"), ("config/README.md", r"for tests, in ([^|]+) \|")],
    ),
    "published pairs within the factor": (
        ("docs/theory.md", r"the theory: α_N/\(α_N\+1\) \| (\d+)"),
        [("docs/theory.md", r"predicts (\d+) of 14"), ("README.md", r"(\d+) of 14 published")],
    ),
    "what a constant predicts": (
        ("docs/theory.md", r"one constant for all \| (\d+)"),
        [("docs/theory.md", r"One constant predicts (\d+)\."), ("README.md", r"one constant predicts (\d+)")],
    ),
    "speed against bergson": (
        ("docs/benchmarks.md", r"sketch is ([\d.]+) times as fast as bergson"),
        [("docs/benchmarks.md", r"that is ([\d.]+) times as fast as bergson"), ("README.md", r"([\d.]+) times as fast as bergson")],
    ),
    "hours of a core": (
        ("docs/costs.md", r"gives (6,9\d\d) hours"),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("fact", FACTS)
def test_a_number_that_stands_on_two_pages_is_the_same(fact):
    (home, pattern), elsewhere = FACTS[fact]
    (value,) = re.findall(pattern, read(home).replace("-", "−"))
    for page, there in elsewhere:
        for found in re.findall(there, re.sub(r"\s+", " ", read(page).replace("-", "−"))):
            assert found.strip() == value.strip(), f"{page}: {found}; {home}: {value}"


def test_the_page_on_the_embedded_family_counts_it_right():
    table = pd.read_csv(ROOT / "resources/family/family.csv")
    text = read("docs/family.md")
    steps = table.groupby("model")["step"].nunique()
    assert f"holds {table['model'].nunique()} small" in text and f"have {steps['neox-1m']} checkpoints" in text
    sizes = table["non_embedding_parameters"]
    assert f"from {sizes.min():,} to\n{sizes.max():,} non-embedding" in text
    assert steps["neox-150k"] == steps["neox-1m"] and (steps.drop(["neox-1m", "neox-150k"]) == 1).all()


def test_the_costs_in_words_are_those_of_the_table():
    text = read("docs/costs.md")
    *_, hours, memory, download, losses = re.findall(r"^\| all \|(.*)\|$", text, re.MULTILINE)[0].split("|")
    answer = re.sub(r"\s+", " ", text.split("\n\n")[2])
    assert f"about {float(hours):.0f} hours" in answer and f"needs {float(memory):.0f} GB of memory" in answer
    assert f"downloads {float(download):.0f} GB" in answer and f"writes {float(losses):.0f} GB of losses" in answer


def test_the_mutations_that_the_page_counts_are_those_of_the_script():
    functions = runpy.run_path(str(ROOT / "tests/mutations.py"))["FUNCTIONS"]
    told = int(re.findall(r"holds (\d+) mutations", read("docs/promises.md"))[0])
    assert told == sum(len(one.mutations) for one in functions)
    rows = re.findall(r"^\| [\w., ]+ \| (\d+) \| (\d+) \| \d+ \| (\d+) \|$", read("docs/promises.md"), re.MULTILINE)
    *parts, total = [[int(cell) for cell in row] for row in rows]
    assert [sum(column) for column in zip(*parts, strict=True)] == total and total[0] == told


def test_the_project_says_one_sentence_about_itself():
    site = yaml.safe_load(re.sub(r"!!python/name:\S+", "", read("mkdocs.yml")))["site_description"]
    assert f'description = "{site}"' in read("pyproject.toml")


def targets_taken_for_files(text: str) -> list[str]:
    """Commands in which Snakemake takes the target for one more configuration: `--configfile` takes all that follows."""
    return re.findall(r"--configfile (?:[\w./-]+\.yaml )+(?!--|#|for\b|and\b)[a-z_]\w*(?=`|\n|$)", text)


def test_a_target_after_a_configfile_is_told_from_it():
    assert targets_taken_for_files("`snakemake --configfile config/a.yaml parity`")
    assert not targets_taken_for_files("`snakemake --configfile config/a.yaml -- parity`\n--configfile config/a.yaml\n")
    paths = [ROOT / page for page in PAGES] + sorted((ROOT / "config").glob("*.yaml"))
    found = {path.name: targets_taken_for_files(path.read_text(encoding="utf-8")) for path in paths}
    assert not {name: commands for name, commands in found.items() if commands}
