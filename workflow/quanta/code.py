"""What a script's result depends on in this package: a hash of its import closure, read and not run.

Snakemake compares a rule's own script and nothing that it imports, so each rule carries this hash as a param. It is
taken from the syntax tree without docstrings: comments, docstrings and layout rerun nothing. The tree is written out
here and not by `ast.dump`, whose text each Python changes: another version of Python reruns nothing either. The versions
of the packages that compute are part of it, where a module of the closure imports them.
"""

import ast
import hashlib
import json
import os
from functools import cache
from importlib import metadata
from pathlib import Path

from quanta import files
from quanta.errors import QuantaError

# modules whose release may alter a result, and the distributions that have their versions
COMPUTE = {
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "transformers": "transformers",
}
PACKAGE = Path(__file__).parent
# fields of the syntax tree that say nothing of what runs, or that not every version fills
UNSAID = ("ctx", "kind", "type_comment", "type_ignores")


def _plain(value: object) -> object:
    """A syntax tree as nested lists, equal for all versions of Python that can read it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, ast.AST):
        return f"{type(value).__name__} {value!a}"
    fields = {name: field for name, field in ast.iter_fields(value) if name not in UNSAID}
    if isinstance(value, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and value.body:
        first = value.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            fields["body"] = value.body[1:]
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
def _version(distribution: str) -> str:
    """Installed version without its local part: a build for CPUs and one for GPUs are the same release."""
    try:
        return metadata.version(distribution).split("+")[0]
    except metadata.PackageNotFoundError:
        return ""


@cache
def _read(path: Path) -> tuple[str, tuple[tuple[int, str, str], ...], frozenset[str]]:
    """(hash of the syntax tree, imports, packages that compute among them).

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
    digest = hashlib.sha256(json.dumps(_plain(tree)).encode()).hexdigest()
    return digest, tuple(sorted(imports)), frozenset(packages & set(COMPUTE))


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


def closure(script: Path, package: Path = PACKAGE) -> dict[str, Path]:
    """Modules of `quanta` that a script imports, directly or not: their files by their names within the package.

    Raises:
        QuantaError: one of them is not there.
    """
    waiting, found = _imported(script, package), dict[str, Path]()
    while waiting:
        name = waiting.pop()
        file = _file(package, name)
        if name not in found and file is not None:
            found[name] = file
            waiting |= _imported(file, package)
    return found


def digest(path: str | Path) -> str:
    """Hash of one file's code, without what it imports."""
    return _read(Path(path))[0]


@cache
def code_hash(script: str | Path, package: Path = PACKAGE) -> str:
    """Short hashes of all modules of `quanta` that the script imports, directly or not, and versions of what computes.

    By name, so that a dry run shows which module is another one. The script itself and what it imports beside the
    library are left out: Snakemake watches it, and scripts compute through the library.

    Raises:
        QuantaError: a module of `quanta` that is imported is not there.
    """
    modules = closure(Path(script), package)
    parts = [f"{name or 'quanta'} {_read(modules[name])[0][:8]}" for name in sorted(modules)]
    packages = set[str]().union(*(_read(path)[2] for path in modules.values()))
    return ", ".join(parts + [f"{name} {_version(COMPUTE[name])}" for name in sorted(packages)])


def keep_times(scripts: Path, register: Path) -> list[str]:
    """Give scripts whose code is what it was the time that they had: Snakemake compares times, and not content.

    A touch, a comment, a checkout of a branch and back would rerun all that they made. `register` holds what was seen
    last of each script, by its path within `scripts`, and is written anew.

    Returns:
        the paths of the scripts whose time was set back.
    """
    try:
        known = json.loads(register.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}
    seen, set_back = {}, []
    for path in sorted(scripts.rglob("*.py")):
        name, digest = path.relative_to(scripts).as_posix(), _read(path)[0]
        now = path.stat().st_mtime_ns
        before = known.get(name, ["", now])
        if digest == before[0] and now > before[1]:
            try:
                os.utime(path, ns=(now, before[1]))
            except OSError:  # who does not own the clone may read it all the same
                pass
            else:
                now = before[1]
                set_back.append(name)
        seen[name] = [digest, now]
    if seen != known:
        with files.atomic(register) as temporary:
            temporary.write_text(json.dumps(seen), encoding="utf-8")
    return set_back
