"""Code as data: which modules of `quanta` a file imports, and a hash of what they say, read and not run.

The hash is taken from the syntax tree without docstrings: comments, docstrings and layout change nothing. The tree is written out
here and not by `ast.dump`, whose text each Python changes. `quanta.jobs.rerun_hash` says by it what a run makes again,
`quanta.calibration.shipped` whether a table that comes with the project is of this code.
"""

import ast
import hashlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

from quanta.errors import QuantaError

PACKAGE = Path(__file__).parents[1]
# a new purpose of random streams alters no stream that there is: tests/test_streams.py pins all of them
PINNED = {"streams"}
# fields of the syntax tree that say nothing of what runs, or that not every version fills
UNSAID = ("ctx", "kind", "type_comment", "type_ignores")


def _stripped(tree: ast.Module) -> ast.Module:
    """The tree without its docstrings, which are taken out of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            text = first.value.value if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) else None
            if isinstance(text, str):
                node.body = node.body[1:]
    return tree


def _plain(value: object) -> object:
    """A syntax tree as nested lists, equal for all versions of Python that can read it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, ast.AST):
        return f"{type(value).__name__} {value!a}"
    fields = {name: field for name, field in ast.iter_fields(value) if name not in UNSAID}
    if isinstance(value, ast.JoinedStr):  # versions cut the text of f-strings at different places
        fields["values"] = _joined(value.values)
    # what is empty is left out, because newer versions have more fields
    return [type(value).__name__, *([name, _plain(f)] for name, f in fields.items() if f is not None and f != [])]


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """Parts of an f-string: neighbouring texts as one, none of them empty."""
    found: list[ast.expr] = []
    for one in values:
        if isinstance(one, ast.Constant) and found and isinstance(last := found[-1], ast.Constant):
            found[-1] = ast.Constant(f"{last.value!s}{one.value!s}")
        else:
            found.append(one)
    return [one for one in found if not (isinstance(one, ast.Constant) and one.value == "")]


@cache
def _read(path: Path) -> tuple[str, tuple[tuple[int, str, str], ...], frozenset[str]]:
    """(hash of the syntax tree, imports, packages from elsewhere among them).

    An import is (level, module, name), the name empty for a whole module.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imports: set[tuple[int, str, str]] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imports |= {(node.level, node.module or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            imports |= {(0, alias.name, "") for alias in node.names}
    packages = {module.split(".")[0] for level, module, _ in imports if not level}
    digest = hashlib.sha256(json.dumps(_plain(_stripped(tree))).encode()).hexdigest()
    return digest, tuple(sorted(imports)), frozenset(packages)


@cache
def _defined(path: Path) -> frozenset[str]:
    """Names that a module defines anywhere: more than it offers, and enough to notice one that is missing."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return frozenset(names)


def _file(package: Path, name: str) -> Path | None:
    """The file of a module by its name within the package ("a.b"), the empty name being the package's own."""
    base = package.joinpath(*name.split(".")) if name else package
    candidates = [base / "__init__.py", *([base.with_name(f"{base.name}.py")] if name else [])]
    return next((path for path in candidates if path.is_file()), None)


def _imported(path: Path, package: Path) -> set[str]:
    """Modules of the package that a file imports, by their names within it, packages on the way included.

    Raises:
        QuantaError: it imports one that is not there.
    """
    found: set[str] = set()
    for level, module, name in _read(path)[1]:
        if level:
            if not path.is_relative_to(package):
                continue  # a script's neighbour, none of the library
            parents = path.relative_to(package).parts[:-1]
            within = ".".join([*parents[: len(parents) - level + 1], *filter(None, [module])])
        elif module == "quanta" or module.startswith("quanta."):
            within = module.removeprefix("quanta").removeprefix(".")
        else:
            continue
        deeper = ".".join(filter(None, [within, name]))
        wanted = deeper if name and _file(package, deeper) else within
        file = _file(package, wanted)
        # a package's own file defines what is taken from it; where it does not, a module was meant
        absent = wanted == within and name not in ("", "*") and file is not None and file.name == "__init__.py"
        if file is None or (absent and name not in _defined(file)):
            raise QuantaError(
                str(path),
                f"imports quanta.{deeper}",
                f"a module under {package}: what a result depends on has to be known",
                "correct the import, or add the module",
            )
        parts = wanted.split(".") if wanted else [""]
        found |= {one for i in range(len(parts)) if _file(package, one := ".".join(parts[: i + 1]))}
    return found


def closure(
    path: Path, package: Path = PACKAGE, *, follow: Callable[[str], bool] = lambda name: True
) -> dict[str, Path]:
    """Modules of `quanta` that a file imports, directly or not: their files by their names within the package.

    Those that `follow` refuses are left out, with what only they import.

    Raises:
        QuantaError: one of them is not there.
    """
    waiting, found = _imported(path, package), dict[str, Path]()
    while waiting:
        name = waiting.pop()
        file = _file(package, name)
        if name not in found and file is not None and follow(name):
            found[name] = file
            waiting |= _imported(file, package)
    return found


def digest(path: str | Path) -> str:
    """Hash of one file's code, without what it imports."""
    return _read(Path(path))[0]


def packages(path: str | Path) -> frozenset[str]:
    """Packages that a file imports, `quanta` and Python's own among them."""
    return _read(Path(path))[2]


def digest_of(module: str, package: Path = PACKAGE) -> str:
    """Hash of a module of `quanta` ("calibration.simulations") and of all that it computes with.

    Left out are modules that alter what is said and where it is kept, not what is computed: errors, progress, storage.

    Raises:
        QuantaError: a module of `quanta` that is imported is not there.
    """
    own = _file(package, module)
    if own is None:
        raise QuantaError(str(package), f"no module {module}", "a module of the library", "correct the name")
    modules = closure(own, package, follow=computes) | {module: own}
    texts = [f"{name} {digest(modules[name])}" for name in sorted(modules)]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def computes(module: str) -> bool:
    """Whether a module of `quanta` may alter a result."""
    return module.split(".")[0] not in {"", "errors", "progress", "storage", *PINNED}
