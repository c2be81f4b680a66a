"""No job loads what it does not use: an import of seconds, in each of a hundred jobs, is minutes of a run."""

import ast
import subprocess
import sys
from functools import cache

import pytest
from support import ROOT, SCRIPTS

PACKAGE = ROOT / "workflow/quanta"
NAMES = sorted(path.relative_to(SCRIPTS).with_suffix("").as_posix() for path in SCRIPTS.rglob("*.py"))
# what costs half a second to five seconds each, and the scripts that may load it before their `main` begins
MODELS = {
    "affinity/exact_affinity",
    "affinity/magnitudes",
    "affinity/statistics",
    "models/export",
    "models/family",
    "models/fetch",
    "gradients/gradients",
    "gradients/probe",
    "interventions/interventions",
    "known_skills/language",
    "known_skills/nets",
    "losses/losses",
    "validation/relative",
    "models/train",
    "validation/untrained",
}
NETS = {"parity/calibration", "parity/data", "parity/fresh", "parity/qdg", "known_skills/parity"}
CALIBRATION = {
    "calibration/calibrate",
    "calibration/naive_bias",
    "validation/nulls",
    "validation/second_nulls",
    "parity/calibration",
}
DRAWING = {name for name in NAMES if "/figure_" in name} | {"report/page"}
ALLOWED = {
    "transformers": MODELS,
    "torch": MODELS | NETS,
    "sklearn": CALIBRATION | {"parity/qdg", "validation/stability"},
    "matplotlib": DRAWING,
    "seaborn": DRAWING,
    "datasets": {"corpus/texts"},
}


def names_at_import(tree):
    """Modules that a file imports when it is imported itself: not in functions, not for types alone."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif isinstance(node, ast.If | ast.Try | ast.With | ast.ClassDef):
            waiting += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


@cache
def read(path):
    return frozenset(names_at_import(ast.parse(path.read_text(encoding="utf-8"))))


def closure(name):
    """All modules that a script loads, those of the library followed."""
    waiting, seen = [SCRIPTS / f"{name}.py"], set()
    while waiting:
        for module in read(waiting.pop()) - seen:
            seen.add(module)
            if module.startswith("quanta."):
                path = PACKAGE.joinpath(*module.split(".")[1:])
                waiting += [one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()]
    return seen


@pytest.mark.parametrize("package", ALLOWED)
def test_only_scripts_that_use_a_heavy_package_load_it(package):
    loading = {name for name in NAMES if any(one.split(".")[0] == package for one in closure(name))}
    assert not loading - ALLOWED[package], "move the import into the function that needs it"
    assert not ALLOWED[package] - loading, "the table names scripts that do not load it any more"


@pytest.mark.parametrize(
    ("name", "most"),
    # of the pinned packages 345, 345, 725, 1,112, 1,645 and 3,200 were counted
    [
        ("models/adopt", 420),
        ("report/figures", 420),
        ("gradients/select", 850),
        ("clustering/labels", 1250),
        ("calibration/toy", 1800),
        ("losses/losses", 3500),
    ],
)
def test_a_script_loads_few_modules(name, most):
    code = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT / "workflow")!r})
runpy.run_path({str(SCRIPTS / f"{name}.py")!r}, run_name="imported")
print(len(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= most
