"""What `mkdocs` does besides: pages whose text lives elsewhere in the repository, a page for each module of the library.

One text, one place: config/README.md, results/README.md, the README and the notebook are read and not copied.
"""

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parent.parent
PAGES = {  # page of the site: file of the repository
    "index.md": "README.md",
    "configuration.md": "config/README.md",
    "results-tree.md": "results/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "notebook.md": "docs/notebook/results.ipynb",
}
# attributes of a run say what they are in their definition
OF_RESULTS = """    options:
      members: [Run, Fits, Context]
      show_if_no_docstring: true
      filters: ["!^_"]
"""


def modules() -> dict[str, list[str]]:
    """Modules of the library by package, in the order of docs/architecture.md; what every package uses comes first."""
    package = ROOT / "workflow/quanta"
    found = {"Used by all": sorted(path.stem for path in package.glob("*.py") if path.stem != "__init__")}
    architecture = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    for room in re.findall(r"^\| `(\w+)` \|", architecture.partition("packages: begin")[2], re.MULTILINE):
        found[room] = [
            f"{room}.{path.stem}" for path in sorted((package / room).glob("*.py")) if path.stem != "__init__"
        ]
    return found


def as_markdown(notebook: str) -> str:
    """A notebook's cells without their output."""
    parts = []
    for cell in json.loads(notebook)["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def on_config(config: Any) -> Any:
    """Add to the navigation the library, and under Findings the pages of docs/ that mkdocs.yml does not place."""
    placed = set(re.findall(r"[\w-]+\.md", json.dumps(config.nav)))
    section = next(entry["Findings"] for entry in config.nav if "Findings" in entry)
    section += sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in placed)
    reference = next(entry["Project"] for entry in config.nav if "Project" in entry)
    reference.append(
        {"Library": [{s: [{n.rpartition(".")[2]: f"api/{n}.md"} for n in names]} for s, names in modules().items()]}
    )
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text = as_markdown(text) if source.endswith(".ipynb") else text
        files.append(File.generated(config, page, content=text, inclusion=InclusionLevel.INCLUDED))
    for names in modules().values():
        for name in names:
            options = OF_RESULTS if name == "results" else ""
            text = f"# quanta.{name}\n\n::: quanta.{name}\n{options}"
            files.append(File.generated(config, f"api/{name}.md", content=text, inclusion=InclusionLevel.INCLUDED))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Point links at the site's pages; a link to a file that the site does not have becomes its name."""
    here = page.file.src_uri
    source = PAGES.get(here, f"docs/{here}")
    site_of = {source: page for page, source in PAGES.items()}

    def link(match: re.Match[str]) -> str:
        picture, text, target = match.groups()
        path, _, anchor = target.partition("#")
        if not path or "://" in path:
            return match[0]
        real = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if not (ROOT / real).exists():
            raise FileNotFoundError(f"{source}: link to {target}, which does not exist")
        uri = site_of.get(real, real.removeprefix("docs/") if real.startswith("docs/") else None)
        if uri is None or files.get_file_from_path(uri) is None:
            return text
        there = posixpath.relpath(uri, posixpath.dirname(here) or ".")
        return f"{picture}[{text}]({there}{'#' + anchor if anchor else ''})"

    markdown = re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, markdown)
    return re.sub(r"^\|.*$", lambda row: re.sub(r"`[^`]*`", unescaped, row[0]), markdown, flags=re.MULTILINE)


def unescaped(code: re.Match[str]) -> str:
    """Code in a table as mkdocs wants it: GitHub needs a backslash before a pipe there, and mkdocs would show it."""
    return code[0].replace("\\|", "|")
