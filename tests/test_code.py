import itertools
import os
from functools import cache

import pytest
from quanta import code
from support import ROOT, SCRIPTS

MODULES = {
    "spectral": '"""Clusters."""\n\nfrom quanta.errors import Bad\n\n\ndef cut(x):\n    """Cut."""\n    return x + 1\n',
    "errors": '"""Errors."""\n\nfrom quanta import shapes\n\n\nclass Bad(Exception):\n    """Bad."""\n\n    n = shapes.N\n',
    "shapes": "N = 3\n",
    "gradients": "def grad(x):\n    return x\n",
    "zipf": "import quanta.shapes\n\nM = quanta.shapes.N\n",
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
            (package / f"{name}.py").write_text(text.replace(old, new) if name == module else text)
        (package / "script.txt").write_text(script)
        return code.code_hash(package / "script.txt", package)

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


def test_a_release_of_a_package_that_computes_changes_what_imports_it(hashed, monkeypatch):
    with_scipy = ("def cut(x)", "import scipy.linalg\n\n\ndef cut(x)")
    before, without = hashed("spectral", *with_scipy), hashed()
    versions = {"scipy": "9.9"}
    monkeypatch.setattr(code, "_version", cache(code._version.__wrapped__))
    monkeypatch.setattr(code.metadata, "version", lambda name: versions.get(name, "1.0"))
    assert hashed("spectral", *with_scipy) != before
    assert hashed() == without
    after = hashed("spectral", *with_scipy)
    versions["scipy"] = "9.9+cu124"
    code._version.cache_clear()
    assert hashed("spectral", *with_scipy) == after, "another build of one release"


@pytest.fixture
def scripts(tmp_path):
    """A script that was seen at 1 s, and its register."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    write(folder / "a.py", SCRIPT, 1)
    assert code.keep_times(folder, tmp_path / "register.json") == []
    return folder


def write(path, text, seconds):
    path.write_text(text)
    os.utime(path, (seconds, seconds))
    code._read.cache_clear()  # each start of Snakemake reads anew


def seen(folder):
    return code.keep_times(folder, folder.parent / "register.json"), (folder / "a.py").stat().st_mtime


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


def test_the_hash_of_each_stage_covers_its_own_science_only():
    """What the stages of this pipeline depend on: the reason why a change in `spectral` reruns no gradients."""

    def closure(script):
        waiting, seen = set(code._read(SCRIPTS / f"{script}.py")[1]), set()
        while waiting:
            name = waiting.pop()
            if name not in seen and (ROOT / f"workflow/quanta/{name}.py").is_file():
                seen.add(name)
                waiting |= code._read(ROOT / f"workflow/quanta/{name}.py")[1]
        return seen

    assert {"gradients", "losses", "models", "storage", "errors"} <= closure("gradients")
    assert not {"spectral", "zipf", "figures", "training"} & closure("gradients")
    assert {"spectral", "affinity"} <= closure("embedding")
    assert not {"gradients", "models", "losses"} & closure("labels")
    assert "figures" in closure("figure_spectrum") and "spectral" not in closure("figure_spectrum")
