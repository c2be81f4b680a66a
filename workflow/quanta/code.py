"""What a script's result depends on in this package: a hash of its import closure, read and not run.

Snakemake compares a rule's own script and nothing that it imports, so each rule carries this hash as a param. It is
taken from the syntax tree without docstrings: comments, docstrings and layout rerun nothing. The versions of the
packages that compute are part of it, where a module of the closure imports them.
"""

import ast
import hashlib
import json
import os
from functools import cache
from importlib import metadata
from pathlib import Path

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
def _version(distribution: str) -> str:
    """Installed version without its local part: a build for CPUs and one for GPUs are the same release."""
    try:
        return metadata.version(distribution).split("+")[0]
    except metadata.PackageNotFoundError:
        return ""


@cache
def _read(path: Path) -> tuple[str, frozenset[str], frozenset[str]]:
    """(hash of the syntax tree, modules of `quanta` it imports, packages that compute it imports)."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    imported: set[str] = set()
    packages: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "quanta":
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("quanta."):
            imported.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            imported |= {a.name.split(".")[1] for a in node.names if a.name.startswith("quanta.")}
            packages |= {a.name.split(".")[0] for a in node.names}
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            packages.add(node.module.split(".")[0])
    digest = hashlib.sha256(_stripped(tree).encode()).hexdigest()
    return digest, frozenset(imported), frozenset(packages & set(COMPUTE))


def digest(path: str | Path) -> str:
    """Hash of one file's code, without what it imports."""
    return _read(Path(path))[0]


@cache
def code_hash(script: str | Path, package: Path = PACKAGE) -> str:
    """Short hashes of all modules of `quanta` that the script imports, directly or not, and versions of what computes.

    By name, so that a dry run shows which module is another one. The script itself and what it imports beside the
    library are left out: Snakemake watches it, and scripts compute through the library.
    """
    waiting, seen, packages = set(_read(Path(script))[1]), dict[str, str](), set[str]()
    while waiting:
        name = waiting.pop()
        path = package / f"{name}.py"
        if name not in seen and path.is_file():
            seen[name], imported, used = _read(path)
            waiting |= imported
            packages |= used
    parts = [f"{name} {seen[name][:8]}" for name in sorted(seen)]
    return ", ".join(parts + [f"{name} {_version(COMPUTE[name])}" for name in sorted(packages)])


def keep_times(scripts: Path, register: Path) -> list[str]:
    """Give scripts whose code is what it was the time that they had: Snakemake compares times, and not content.

    A touch, a comment, a checkout of a branch and back would rerun all that they made. `register` holds what was seen
    last of each script, and is written anew.

    Returns:
        the names of the scripts whose time was set back.
    """
    try:
        known = json.loads(register.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}
    seen, set_back = {}, []
    for path in sorted(scripts.glob("*.py")):
        digest = _read(path)[0]
        now = path.stat().st_mtime_ns
        before = known.get(path.name, ["", now])
        if digest == before[0] and now > before[1]:
            os.utime(path, ns=(now, before[1]))
            now = before[1]
            set_back.append(path.name)
        seen[path.name] = [digest, now]
    if seen != known:
        register.parent.mkdir(parents=True, exist_ok=True)
        temporary = register.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(seen), encoding="utf-8")
        temporary.replace(register)
    return set_back
