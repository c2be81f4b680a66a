"""Write what is derived: config/README.md from the schema, the graph of the rules in docs/architecture.md.

`make docs`; a test checks that both are fresh (`python docs/make.py --check`).
"""

import re
import subprocess
import sys
from pathlib import Path

from quanta import config

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- rules: begin -->", "<!-- rules: end -->"


def rule_graph() -> str:
    """The rules of the default run and what they hand on, as Mermaid, figures left out."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js", "--forceall", "--quiet", "all"]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S603
    names = dict(re.findall(r"^\s*(id\d+)\[([\w]+)\]", text, re.MULTILINE))
    edges = re.findall(r"^\s*(id\d+)\s*-+>\s*(id\d+)", text, re.MULTILINE)
    kept = sorted({(names[a], names[b]) for a, b in edges if not (_is_figure(names[a]) or _is_figure(names[b]))})
    return "\n".join(["```mermaid", "flowchart TB", *(f"    {a} --> {b}" for a, b in kept), "```"])


def _is_figure(name: str) -> bool:
    return name.startswith("figure_") or name == "all"


def documents() -> dict[Path, str]:
    """Text of every derived document by its path."""
    architecture = ROOT / "docs/architecture.md"
    before, _, rest = architecture.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return {
        ROOT / "config/README.md": config.describe(config.read_schema(ROOT / "config/schema.yaml")),
        architecture: f"{before}{BEGIN}\n{rule_graph()}\n{END}{after}",
    }


if __name__ == "__main__":
    stale = [path for path, text in documents().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        sys.exit(f"not fresh, run `make docs`: {', '.join(str(p.relative_to(ROOT)) for p in stale)}" if stale else 0)
    for path in stale:
        path.write_text(documents()[path], encoding="utf-8")
