"""What a script's result depends on in this package: a hash of its import closure, read and not run.

Snakemake compares a rule's own script and nothing that it imports, so each rule carries this hash as a param. It is
taken from the syntax tree without docstrings: comments, docstrings and layout rerun nothing.
"""

import ast
import hashlib
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent


def _stripped(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = body[1:]
    return ast.dump(tree)


@cache
def _read(path: Path) -> tuple[str, frozenset[str]]:
    """(hash of the syntax tree, modules of `quanta` it imports)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "quanta":
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("quanta."):
            imported.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            imported |= {a.name.split(".")[1] for a in node.names if a.name.startswith("quanta.")}
    return hashlib.sha256(_stripped(tree).encode()).hexdigest(), frozenset(imported)


@cache
def code_hash(script: str | Path, package: Path = PACKAGE) -> str:
    """Short hash of every module of `quanta` that the script imports, directly or not; the script itself is left out."""
    waiting, seen = set(_read(Path(script))[1]), dict[str, str]()
    while waiting:
        name = waiting.pop()
        path = package / f"{name}.py"
        if name not in seen and path.is_file():
            seen[name], more = _read(path)
            waiting |= more
    return hashlib.sha256("".join(f"{n}{seen[n]}" for n in sorted(seen)).encode()).hexdigest()[:16]
