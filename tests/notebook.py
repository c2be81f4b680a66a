"""Runs a notebook's code cells one after the other, as a kernel would: `python notebook.py NOTEBOOK RUN`.

Without a kernel: nbclient needs one, and with it some thirty packages in the lock for cells of plain Python.
"""

import ast
import json
import sys
from pathlib import Path

notebook, run = Path(sys.argv[1]), sys.argv[2]
cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
names = {"__name__": "__main__"}
named = 0
for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
    text = "".join(cell["source"])
    named += text.count('RUN = "mini"')
    body = ast.parse(text.replace('RUN = "mini"', f"RUN = {run!r}")).body
    shown = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
    where = f"{notebook.name}, code cell {number}"
    exec(compile(ast.Module(body, []), where, "exec"), names)
    value = None if shown is None else eval(compile(shown, where, "eval"), names)
    if value is not None:
        print(repr(value))
assert named == 1, "the notebook names its run once"
