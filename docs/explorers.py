"""Make a page for the site from a run: its explorer without figures.

PYTHONPATH=workflow python docs/explorers.py results/mini docs/explorers/default.html
"""

import sys
from pathlib import Path

from quanta.report import rendering
from quanta.storage import writing

LARGEST = 3_000_000  # bytes, so that the site and the repository stay small

if __name__ == "__main__":
    run, target = map(Path, sys.argv[1:])
    page = rendering.without_figures((run / "report/index.html").read_text(encoding="utf-8"))
    if len(page.encode()) > LARGEST:
        sys.exit(f"{target}: {len(page.encode()):,} bytes, at most {LARGEST:,} are wanted: cluster fewer tokens")
    target.parent.mkdir(parents=True, exist_ok=True)
    with writing.atomic(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
