import itertools
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from quanta.errors import QuantaError
from quanta.jobs import rerun_hash
from quanta.storage import code
from support import ROOT, SCRIPTS

MODULES = {
    "spectral": '"""Clusters."""\n\nfrom quanta.errors import Bad\n\n\ndef cut(x):\n    """Cut."""\n    return x + 1\n',
    "errors": '"""Errors."""\n\nfrom quanta import shapes\n\n\nclass Bad(Exception):\n    """Bad."""\n\n    n = shapes.N\n',
    "shapes": "N = 3\n",
    "gradients": "def grad(x):\n    return x\n",
    "zipf": "import quanta.shapes\n\nM = quanta.shapes.N\n",
    "__init__": "def load(run):\n    return run\n",
    "deep/__init__": "HERE = 1\n",
    "deep/down": "from . import beside\nfrom ..shapes import N\n\nD = beside.B + N\n",
    "deep/beside": "B = 2\n",
}
SCRIPT = "from quanta import spectral\n\n\ndef main(inputs, outputs, params):\n    spectral.cut(1)\n"
count = itertools.count()


@pytest.fixture
def hashed(tmp_path):
    """Hash of the script's import closure after replacing text in one module."""

    def run(module=None, old="", new="", script=SCRIPT):
        package = tmp_path / str(next(count))  # the hash remembers files by path
        package.mkdir()
        for name, text in MODULES.items():
            assert name != module or old in text
            (package / f"{name}.py").parent.mkdir(exist_ok=True)
            (package / f"{name}.py").write_text(text.replace(old, new) if name == module else text)
        (package / "script.txt").write_text(script)
        return rerun_hash.code_hash(package / "script.txt", package)

    return run


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Clusters."""', '"""Clusters, otherwise said."""'),
        ('    """Cut."""\n', ""),
        ("    return x + 1", "    # why one: it is the next\n    return x + 1  # here"),
        ("    return x + 1", "\n\n    return (\n        x\n        + 1\n    )"),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(hashed, old, new):
    assert hashed("spectral", old, new) == hashed()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("spectral", "x + 1", "x + 2"),
        ("spectral", "def cut(x)", "def cut(x, y=0)"),
        ("errors", "n = shapes.N", "n = shapes.N + 1"),
        ("shapes", "3", "4"),
    ],
)
def test_a_change_in_an_imported_module_changes_the_hash(hashed, module, old, new):
    """`spectral` is imported by the script, `errors` by spectral, `shapes` by errors."""
    assert hashed(module, old, new) != hashed()


def test_unrelated_modules_and_the_script_itself_change_nothing(hashed):
    assert hashed("gradients", "return x", "return -x") == hashed()
    assert hashed(script=SCRIPT.replace("cut(1)", "cut(2)")) == hashed()


@pytest.mark.parametrize(
    "line",
    ["from quanta import zipf", "from quanta.zipf import M", "import quanta.zipf", "import os, quanta.zipf as z"],
)
def test_all_ways_of_importing_are_seen(hashed, line):
    script = f"def main(inputs, outputs, params):\n    {line}\n"
    assert hashed(script=script) != hashed(script="")
    assert hashed("shapes", "3", "4", script) != hashed(script=script)


@pytest.mark.parametrize(
    "line", ["from quanta.deep import down", "from quanta.deep.down import D", "import quanta.deep.down"]
)
@pytest.mark.parametrize(
    ("module", "old", "new"),
    [("deep/down", "+ N", "- N"), ("deep/beside", "2", "3"), ("deep/__init__", "1", "2"), ("shapes", "3", "4")],
)
def test_packages_within_the_package_are_followed(hashed, line, module, old, new):
    script = f"def main(inputs, outputs, params):\n    {line}\n"
    assert "deep.down" in hashed(script=script) and "deep.beside" in hashed(script=script)
    assert hashed(module, old, new, script) != hashed(script=script)


@pytest.mark.parametrize("line", ["from quanta import deep", "from quanta.deep import HERE", "import quanta.deep"])
def test_a_package_is_its_own_file(hashed, line):
    assert hashed("deep/__init__", "1", "2", line) != hashed(script=line)
    assert hashed("deep/down", "+ N", "- N", line) == hashed(script=line)


def test_what_the_package_itself_defines_is_part_of_it(hashed):
    line = "from quanta import load"
    assert hashed("__init__", "return run", "return None", line) != hashed(script=line)


@pytest.mark.parametrize(
    "line",
    [
        "from quanta import absent",
        "import quanta.absent",
        "from quanta.absent import x",
        "from quanta.deep import absent",
        "from quanta.deep.absent import x",
        "import quanta.deep.absent",
    ],
)
def test_a_module_that_is_not_there_is_an_error(hashed, line):
    with pytest.raises(QuantaError, match=r"script\.txt: imports quanta[.\w]*absent"):
        hashed(script=line)
    with pytest.raises(QuantaError, match=r"shapes\.py: imports quanta[.\w]*absent"):
        hashed("shapes", "N = 3", f"{line}\nN = 3")


OF_ALL_PYTHONS = '''"""Doc."""
from __future__ import annotations
import os.path as p, sys
from typing import *


@p.cached(a=1)
class A(B, metaclass=C):
    """Doc."""

    x: int = 0xFF
    y: "str"

    async def f(self, a, /, b: int = 1, *c, d=2.5e-3, **e) -> None:
        """Doc."""
        async with a as b, c:
            await (yield)
        return {**d, 1: 2j}, [*a], {z for z in y if z}, a[1:2, ...], lambda *k: k


def g(x):
    global h
    match x:
        case {"a": [1, *_], **r} if r:
            pass
        case A(x=1) | None:
            raise ValueError(f"a{x!r:>{w}.3f}b{{c}}" f"d{x=}" "\\u2028é", b"\\x00") from None
    try:
        del x[0], y.z
    except* (A, B) as e:
        assert not e, "x"
    else:
        while (n := n - 1) > -1 is not True:
            continue
    finally:
        nonlocal_ = x if y else -z @ w // 2 ** 3
    h += 1
'''


def test_the_hash_of_a_module_is_the_same_in_all_versions_of_python(tmp_path):
    """Known digests: a version that reads another tree would rerun everything."""
    (tmp_path / "a.py").write_text(OF_ALL_PYTHONS, encoding="utf-8")
    assert code._read(tmp_path / "a.py")[0][:16] == "da4dcc5796b58407"


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14"])
def test_other_pythons_of_this_machine_hash_the_library_alike(tmp_path, version):
    (tmp_path / "a.py").write_text(OF_ALL_PYTHONS, encoding="utf-8")
    ask = """
import sys
from pathlib import Path
from quanta.storage import code
print(*(code._read(path)[0] for path in [Path("a.py"), *sorted(Path(sys.argv[1]).rglob("*.py"))]))
"""
    found = next(pythons(version), None)
    if found is None:
        pytest.skip(f"no Python {version} here")
    here, there = (
        subprocess.run(
            [python, "-c", ask, ROOT / "workflow"],
            cwd=tmp_path, env={"PYTHONPATH": str(ROOT / "workflow")}, capture_output=True, text=True,
        )
        for python in (sys.executable, found)
    )  # fmt: skip
    assert there.returncode == 0, there.stderr
    assert here.stdout == there.stdout and len(here.stdout) > 1000


def pythons(version):
    """Paths of this version that answer: a shim of a version manager may be there without one behind it."""
    candidates = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for path in filter(None, candidates):
        asked = subprocess.run(
            [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True, text=True
        )
        if asked.stdout.strip() == version:
            yield path


def test_a_release_of_a_package_that_computes_changes_what_imports_it(hashed, monkeypatch):
    with_scipy = ("def cut(x)", "import scipy.linalg\n\n\ndef cut(x)")
    before, without = hashed("spectral", *with_scipy), hashed()
    versions = {"scipy": "9.9"}
    monkeypatch.setattr(rerun_hash, "_version", cache(rerun_hash._version.__wrapped__))
    monkeypatch.setattr(rerun_hash.metadata, "version", lambda name: versions.get(name, "1.0"))
    assert hashed("spectral", *with_scipy) != before
    assert hashed() == without
    after = hashed("spectral", *with_scipy)
    versions["scipy"] = "9.9+cu124"
    rerun_hash._version.cache_clear()
    assert hashed("spectral", *with_scipy) == after, "another build of one release"


@pytest.fixture
def scripts(tmp_path):
    """A script that was seen at 1 s, and its register."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    write(folder / "a.py", SCRIPT, 1)
    assert rerun_hash.keep_times(folder, tmp_path / "register.json") == []
    return folder


def write(path, text, seconds):
    path.write_text(text)
    os.utime(path, (seconds, seconds))
    code._read.cache_clear()  # each start of Snakemake reads anew


def seen(folder):
    return rerun_hash.keep_times(folder, folder.parent / "register.json"), (folder / "a.py").stat().st_mtime


@pytest.mark.parametrize("text", [SCRIPT, f"# why\n{SCRIPT}"])
def test_a_touched_script_gets_its_time_back(scripts, text):
    write(scripts / "a.py", text, 9)
    assert seen(scripts) == (["a.py"], 1)
    assert seen(scripts) == ([], 1)


def test_an_edited_script_keeps_its_new_time_and_so_does_one_that_is_edited_back(scripts):
    write(scripts / "a.py", SCRIPT.replace("cut(1)", "cut(2)"), 9)
    assert seen(scripts) == ([], 9)
    write(scripts / "a.py", SCRIPT, 12)
    assert seen(scripts) == ([], 12), "what the other one made is older, and must be made anew"


def test_a_script_that_got_older_is_left_alone(scripts):
    write(scripts / "a.py", SCRIPT, 0.5)
    assert seen(scripts) == ([], 0.5)


def test_a_damaged_register_sets_no_time(scripts):
    (scripts.parent / "register.json").write_text("{")
    write(scripts / "a.py", SCRIPT, 9)
    assert seen(scripts) == ([], 9)


def test_scripts_in_folders_are_known_by_their_paths(scripts):
    """Two of one name in two folders."""
    for name in ("x", "y"):
        (scripts / name).mkdir()
        write(scripts / name / "a.py", f"{SCRIPT}{name} = 1\n", 1)
    seen(scripts)
    write(scripts / "y/a.py", f"{SCRIPT}y = 1\n", 9)
    assert seen(scripts) == (["y/a.py"], 1)
    assert (scripts / "y/a.py").stat().st_mtime == 1


def test_scripts_of_somebody_else_keep_their_times(scripts, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    write(scripts / "a.py", SCRIPT, 9)
    monkeypatch.setattr(os, "utime", refuse)
    assert seen(scripts) == ([], 9)


def test_every_script_of_the_pipeline_imports_what_is_there():
    for path in SCRIPTS.rglob("*.py"):
        assert code.closure(path)


def test_the_hash_of_each_stage_covers_its_own_science_only():
    """What the stages of this pipeline depend on: the reason why a change in clustering reruns no gradients."""

    def rooms(script):
        return {name.split(".")[0] for name in code.closure(SCRIPTS / f"{script}.py")}

    assert {"gradients", "losses", "models", "storage", "errors"} <= rooms("gradients/gradients")
    assert not {"clustering", "rank_frequency", "report"} & rooms("gradients/gradients")
    assert not {"gradients", "models", "losses"} & rooms("clustering/labels")
    assert "report" in rooms("clustering/figure_spectrum") and "clustering" not in rooms("clustering/figure_spectrum")
