"""Write what is derived: config/README.md from the schema, the graph of the rules in docs/architecture.md.

`make docs`; a test checks that both are fresh (`python docs/make.py --check`). After a default run,
`python docs/make.py --numbers results/mini` writes its table of the paper's numbers against ours into README.md.
"""

import re
import subprocess
import sys
from pathlib import Path

import quanta
from quanta.config import members

ROOT = Path(__file__).parent.parent
RULES = "<!-- rules: begin -->", "<!-- rules: end -->"
NUMBERS = "<!-- numbers: begin -->", "<!-- numbers: end -->"
# not in the paper, but no reader should go without them
BESIDE = ("identity_slope", "calibrated_alpha", "coverage.found")


def rule_graph() -> str:
    """The rules of the default run and what they hand on, as Mermaid, figures left out."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--forceall", "--quiet", "all"]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603 (a fixed command)
    names = dict(re.findall(r"^\s*(id\d+)\[([\w]+)\]", text, re.MULTILINE))
    edges = re.findall(r"^\s*(id\d+)\s*-+>\s*(id\d+)", text, re.MULTILINE)
    # rules made in a loop are one rule to a reader
    names = {node: re.sub(r"_\d+$", "", name) for node, name in names.items()}
    kept = sorted({(names[a], names[b]) for a, b in edges if not (_is_figure(names[a]) or _is_figure(names[b]))})
    return "\n".join(["```mermaid", "flowchart TB", *(f"    {a} --> {b}" for a, b in kept), "```"])


def _is_figure(name: str) -> bool:
    return name.startswith("figures_") or name == "all"


def between(path: Path, marks: tuple[str, str], text: str) -> str:
    """The document with what stands between two marks replaced."""
    before, _, rest = path.read_text(encoding="utf-8").partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}\n{text}\n{marks[1]}{after}"


def numbers(run: str) -> str:
    """Rows of a run's table of the paper's numbers against ours that the paper has, and a few beside them."""
    table = quanta.load(run).paper_against_ours.astype(object).fillna("").astype(str)
    kept = table[(table["agrees"] != "") | table["key"].isin(BESIDE)]
    columns = {"quantity": "", "paper": "the paper", "ours": "this run", "agrees": "agrees", "why": "why, or why not"}
    rows = [list(columns.values()), ["---"] * len(columns), *kept[list(columns)].to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def documents() -> dict[Path, str]:
    """Text of every derived document by its path."""
    architecture = ROOT / "docs/architecture.md"
    return {
        ROOT / "config/README.md": members.describe(members.read_schema(ROOT / "config/schema.yaml")),
        architecture: between(architecture, RULES, rule_graph()),
    }


if __name__ == "__main__":
    if "--numbers" in sys.argv:
        readme = ROOT / "README.md"
        readme.write_text(between(readme, NUMBERS, numbers(sys.argv[-1])), encoding="utf-8")
        sys.exit(0)
    derived = documents()
    stale = [path for path, text in derived.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        sys.exit(f"not fresh, run `make docs`: {', '.join(str(p.relative_to(ROOT)) for p in stale)}" if stale else 0)
    for path in stale:
        path.write_text(derived[path], encoding="utf-8")
