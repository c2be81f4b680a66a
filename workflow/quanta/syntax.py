"""A hash of code for results that go from machine to machine (`quanta.shipped`): of syntax alone, no versions in it.

`quanta.code` says what a run has to make again and knows the releases of packages. Here a result is compared with what the machine
itself computes, so that only the code has to be pinned.
"""

import ast
import hashlib
from pathlib import Path

from quanta.errors import QuantaError

PACKAGE = Path(__file__).parent
NEUTRAL = {"errors", "progress", "shapes", "storage"}  # alter what is said and where it is kept, not what is computed


def closure(module: str, package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Syntax trees of a module of `quanta` and of all that it imports of it, but for `NEUTRAL`, by name.

    Raises:
        QuantaError: one of them is not there.
    """
    waiting, found = {module}, dict[str, ast.Module]()
    while waiting:
        name = waiting.pop()
        path = package / f"{name}.py"
        if not path.is_file():
            raise QuantaError(str(path), "no such module", "a module of the library", "correct the import")
        found[name] = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        waiting |= _imported(found[name]) - NEUTRAL - set(found)
    return found


def _imported(tree: ast.Module) -> set[str]:
    names = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "quanta":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("quanta."):
            names.add(str(node.module).removeprefix("quanta."))
        elif isinstance(node, ast.Import):
            names |= {a.name.removeprefix("quanta.") for a in node.names if a.name.startswith("quanta.")}
    return names


def digest(module: str, package: Path = PACKAGE) -> str:
    """Hash of the syntax of a module's closure: comments, docstrings, layout and the version of Python do not change it."""
    trees = closure(module, package)
    return hashlib.sha256("\n".join(f"{name} {_text(trees[name])}" for name in sorted(trees)).encode()).hexdigest()


def _text(node: object) -> str:
    """A syntax tree as text that all versions of Python agree on: no places, no empty fields, no docstrings."""
    if isinstance(node, list):
        return f"[{', '.join(map(_text, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        fields["body"] = node.body[ast.get_docstring(node, clean=False) is not None :]
    kept = {name: value for name, value in fields.items() if value not in (None, [])}
    return f"{type(node).__name__}({', '.join(f'{name}={_text(value)}' for name, value in kept.items())})"
