"""The plan of the library: each package says in its docstring which others it may import."""

import ast
import importlib
import re
import tomllib

import pytest
from support import ROOT

PACKAGE = ROOT / "workflow/quanta"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def imported(path):
    """Packages and modules at the top of `quanta` that a file imports, in functions and for types as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").partition(".")[0] == "quanta":
            parts = node.module.split(".")
            yield from parts[1:2] or [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("quanta."))


def allowed(room):
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8")))
    return set(re.search(r"May import: (.*)\.$", text)[1].split(", ")) & set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_imports_those_that_its_docstring_names(room):
    found = {one for path in (PACKAGE / room).glob("*.py") for one in imported(path)} & set(ROOMS) - {room}
    assert found == allowed(room)


def test_no_arrow_runs_back():
    waiting = {room: allowed(room) for room in ROOMS}
    while free := {room for room, rest in waiting.items() if not rest & set(waiting)}:
        waiting = {room: rest for room, rest in waiting.items() if room not in free}
    assert not waiting, "these import each other in a circle"


def test_what_every_package_speaks_imports_no_package():
    for path in PACKAGE.glob("*.py"):
        if path.stem != "results":  # the door for notebooks, which no package imports
            assert not set(imported(path)) & set(ROOMS), path.name
    for room in ROOMS:
        for path in (PACKAGE / room).glob("*.py"):
            assert "results" not in set(imported(path)), path


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_is_three_to_nine_modules_and_a_docstring(room):
    """Anything more in __init__.py would be loaded by every job that uses one of its modules."""
    assert 3 <= len(list((PACKAGE / room).glob("*.py"))) - 1 <= 9
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    assert len(tree.body) == 1 and ast.get_docstring(tree)
    assert not {"utils", "common", "helpers", "misc"} & {path.stem for path in PACKAGE.rglob("*")}


def test_scripts_and_tests_have_the_packages_words():
    for folder in ("workflow/scripts", "tests"):
        named = {path.parent.name for path in (ROOT / folder).glob("*/*.py")}
        assert named <= {*ROOMS, "workflow", "benchmarks", "browser", "faults", "slurm"}, folder


def test_what_is_public_is_there_and_the_types_come_with_the_package():
    text = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
    named = re.findall(r"`(quanta\.[\w.]+)`", text.partition("Public,")[2])
    assert len(named) >= 4
    for name in named:
        module, _, member = name.rpartition(".")
        assert hasattr(importlib.import_module(module), member), name
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert settings["package-data"]["quanta"] == ["py.typed"] and (PACKAGE / "py.typed").is_file()


def test_documentation_imports_what_is_public():
    """Other names of the library may change, so that a page must not show them."""
    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/*.md"):
        for module, names in re.findall(
            r"^from (quanta[\w.]*) import ([\w, ]+)$", page.read_text(encoding="utf-8"), re.M
        ):
            for name in names.split(", "):
                assert f"`{module}.{name}`" in text, f"{page.name}: {module}.{name}"
