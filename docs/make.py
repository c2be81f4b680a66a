"""Write what is derived: config/README.md from the schema, and tables of other pages.

The pages are docs/architecture.md, docs/choose-a-size.md, docs/costs.md and README.md. `make docs` writes them; a test checks that all are fresh (`python docs/make.py --check`). After a default run,
`python docs/make.py --numbers results/mini` writes its numbers into the pages that state them (docs/facts.py).
"""

import ast
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import facts
import yaml
from quanta.config import costs, schema

ROOT = Path(__file__).parent.parent
TABLE = "<!-- packages: begin -->", "<!-- packages: end -->"
PACKAGES = (
    *("storage", "corpus", "models", "losses", "scaling", "gradients", "affinity", "clustering", "rank_frequency"),
    *(
        "calibration",
        "validation",
        "catalogue",
        "interventions",
        "theory",
        "parity",
        "known_skills",
        "report",
        "config",
        "jobs",
    ),
)
TIERS = "<!-- tiers: begin -->", "<!-- tiers: end -->"
SIZES = ("smoke", "config", "pythia-laptop", "pythia-hour", "pythia-day", "pythia")
COSTS = "<!-- costs: begin -->", "<!-- costs: end -->"


def configuration(schema: Mapping[str, Any]) -> str:
    """config/README.md: one table per section, every key with its meaning and default."""
    lines = [
        "# Configuration",
        "",
        "Which keys does a configuration have, what do they mean, and which files are there?",
        "",
        "`snakemake --configfile FILE` puts FILE over `config.yaml`: sections are merged, lists are replaced. A key that FILE leaves out has the value",
        "of `config.yaml`, or else the default below. Unknown keys are errors.",
        "",
        "This page is written from `schema.yaml` by `make docs`. Change it there.",
        "",
        "| file | what it runs |",
        "|---|---|",
        "| `config.yaml` | the default: the embedded family, on Python sources of installed packages |",
        "| `pythia.yaml` | the paper's own experiment: Pythia and the Pile, on GPUs |",
        "| `pythia-laptop.yaml`, `pythia-hour.yaml`, `pythia-day.yaml` | smaller experiments, over `pythia.yaml`; each says what it needs |",
        "| `pythia-*.yaml`, `polypythias.yaml`, `gpt2.yaml`, `olmo.yaml`, `tinystories.yaml` | further families, over `pythia.yaml` |",
        "| `custom.yaml` | your own checkpoints and texts |",
        "| `hub-example.yaml` | one or two models of the hub by their names, with every line explained |",
        f"| `smoke.yaml` | the whole pipeline for tests, in {_time('smoke')} |",
        "| `train.yaml` | five model sizes, trained from scratch and then analysed |",
        "| `family.yaml` | the training of the embedded family |",
        "| `parity.yaml` | sparse parity in the paper's setting; needs a GPU, not run by us |",
        "| `parity-steps.yaml` | the paper's parity tasks with fewer widths, training sets and steps, for CPUs: docs/results/parity-steps |",
        "| `parity-cpu.yaml` | smaller parity tasks, all three resources, for CPUs: docs/results/parity-cpu |",
        "| `known-skills.yaml` | the whole benchmark of affinities where skills are known: docs/known-skills.md |",
        "",
    ]

    def section(name: str, entry: Mapping[str, Any]) -> None:
        plain = {k: e for k, e in entry["properties"].items() if e.get("type") != "object"}
        if name:
            lines.extend([f"## `{name}`", "", entry.get("description", ""), ""])
        lines.extend(["| key | default | meaning |", "|---|---|---|"])
        for key, e in plain.items():
            full = f"{name}.{key}" if name else key
            choices = f" One of {', '.join(f'`{c}`' for c in e['enum'])}." if "enum" in e else ""
            cells = (f"`{full}`", _shown(e["default"]), f"{e['description']}{choices}")
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
        for key, e in entry["properties"].items():
            if e.get("type") == "object":
                section(f"{name}.{key}" if name else key, e)

    section("", schema)
    lines.append("[Glossary](../docs/glossary.md): one meaning per word.")
    return "\n".join(lines) + "\n"


def _time(name: str) -> str:
    """The time that a configuration says it takes."""
    text = (ROOT / f"config/{name}.yaml").read_text(encoding="utf-8")
    return re.findall(r"^# Hardware: .* Time: ([^.]+)\.", text, re.MULTILINE)[0]


def _shown(default: Any) -> str:
    if isinstance(default, list) and default and isinstance(default[0], dict):
        return "<br>".join(
            f"`{item['name']}`: " + ", ".join(f"{k} {v}" for k, v in item.items() if k != "name") for item in default
        )
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def packages() -> str:
    """The packages of the library in the paper's order, as a table: what each holds and what it may import."""
    rows = ["| package | what it holds | imports |", "|---|---|---|"]
    for name in PACKAGES:
        told = ast.get_docstring(ast.parse((ROOT / f"workflow/quanta/{name}/__init__.py").read_text(encoding="utf-8")))
        what, _, imports = (told or "").partition("\n\nMay import: ")
        rows.append(f"| `{name}` | {what} | {imports.rstrip('.')} |")
    return "\n".join(rows)


def tiers() -> str:
    """The configurations by size, from the first lines of each file."""
    rows = ["| configuration | what it runs | hardware | download | time | run by us |", "|---|---|---|---|---|---|"]
    for name in SIZES:
        lines = (ROOT / f"config/{name}.yaml").read_text(encoding="utf-8").splitlines()
        needs = next(line for line in lines if line.startswith("# Hardware: "))
        found = re.fullmatch(r"# Hardware: (.*)\. Download: (.*)\. Time: (.*)\. Run by us: (yes|no)\.", needs)
        assert found, f"config/{name}.yaml: {needs}"
        what = lines[0].removeprefix("# ").rstrip(".")
        rows.append(f"| `{name}.yaml` | {what} | {' | '.join(found.groups())} |")
    return "\n".join(rows)


def cost() -> str:
    """What the paper's experiment costs at 100 TFLOP/s and 500 tokens per document."""
    given = yaml.safe_load((ROOT / "config/pythia.yaml").read_text(encoding="utf-8"))
    config = schema.settle(given, schema.read_schema(ROOT / "config/schema.yaml"))
    return costs.report(config, mean_length=500.0, tflops=100.0)


def between(path: Path, marks: tuple[str, str], text: str) -> str:
    """The document with what stands between two marks replaced."""
    return put(path.read_text(encoding="utf-8"), marks, text)


def put(document: str, marks: tuple[str, str], text: str) -> str:
    """The same for the text of a document."""
    before, _, rest = document.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}\n{text}\n{marks[1]}{after}"


def documents() -> dict[Path, str]:
    """Text of every derived document by its path."""
    architecture, readme = ROOT / "docs/architecture.md", ROOT / "README.md"
    stated = facts.pages()
    return stated | {
        ROOT / "config/README.md": configuration(schema.read_schema(ROOT / "config/schema.yaml")),
        architecture: between(architecture, TABLE, packages()),
        ROOT / "docs/costs.md": between(ROOT / "docs/costs.md", COSTS, cost()),
        ROOT / "docs/choose-a-size.md": between(ROOT / "docs/choose-a-size.md", TIERS, tiers()),
        readme: put(stated[readme], TIERS, tiers()),
    }


if __name__ == "__main__":
    if "--numbers" in sys.argv:
        facts.keep(sys.argv[-1])
    derived = documents()
    stale = [path for path, text in derived.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        wrong = [f"not fresh, run `make docs`: {path.relative_to(ROOT)}" for path in stale]
        for path, text in facts.pages().items():
            if path.relative_to(ROOT).as_posix() in facts.OWN_TABLES:
                continue
            wrong += [
                f"{path.relative_to(ROOT)}: put <!--=name-->…<!--/--> around {one}, as docs/facts.py says"
                for one in facts.unmarked(text, facts.known())
            ]
        sys.exit("\n".join(wrong) or 0)
    for path in stale:
        path.write_text(derived[path], encoding="utf-8")
