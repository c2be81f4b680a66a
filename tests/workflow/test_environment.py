"""The lock, the conda environments and the project's own list of dependencies say the same."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from quanta.corpus.packages import locked_versions, normalise
from support import ROOT

LOCKED = locked_versions(ROOT / "envs/requirements.lock")
DIRECT = [normalise(re.match(r"[\w.-]+", line)[0]) for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]]  # fmt: skip
CONDA_NAMES = {"pytorch": "torch", "pytorch-gpu": "torch", "matplotlib-base": "matplotlib"}


@pytest.mark.parametrize("name", ["requirements.lock", "dev.lock"])
def test_every_line_of_a_lock_is_an_exact_pin(name):
    lines = [line.split("#")[0].strip() for line in (ROOT / "envs" / name).read_text(encoding="utf-8").splitlines()]
    pins = [line for line in lines if line and not line.startswith(("-r ", "--"))]
    assert len(pins) > 15
    for line in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][^\s*]*( ?;.*)?", line), line
    names = [normalise(line.split("==")[0]) for line in pins]
    assert len(names) == len(set(names))


def test_every_direct_dependency_is_locked():
    assert set(DIRECT) <= set(LOCKED)


def test_the_lock_is_closed_under_what_its_packages_require():
    """What a pinned package needs on this machine is pinned too: an installation from the lock resolves nothing."""
    from packaging.requirements import Requirement

    for name in LOCKED:
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for text in requires:
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            needed = normalise(requirement.name)
            # a CUDA build of torch brings its own; build tools come with Python's venv
            if needed.startswith(("nvidia-", "cuda-", "triton")) or needed in {"setuptools", "pip", "wheel"}:
                continue
            assert needed in LOCKED, f"{name} needs {needed}"
            assert requirement.specifier.contains(LOCKED[needed], prereleases=True), f"{name} needs {requirement}"


@pytest.mark.parametrize(("name", "torch"), [("quanta.yaml", "pytorch"), ("quanta-cuda.yaml", "pytorch-gpu")])
def test_conda_environments_pin_the_direct_dependencies_as_the_lock_does(name, torch):
    environment = yaml.safe_load((ROOT / "envs" / name).read_text(encoding="utf-8"))
    assert "nodefaults" in environment["channels"] and environment["channels"][0] == "conda-forge"
    pins = dict(line.split("=", 1) for line in environment["dependencies"])
    assert torch in pins
    found = {}
    for package, version in pins.items():
        if package == "python":
            continue
        found[normalise(CONDA_NAMES.get(package, package))] = version.lstrip("=")
    assert set(found) == set(DIRECT)
    for package, version in found.items():
        assert version == LOCKED[package], package


def test_containers_are_built_from_the_lock_for_the_same_python():
    """They cannot be built in the tests: what they would install is compared."""
    docker, apptainer = ((ROOT / "envs" / name).read_text() for name in ("Dockerfile", "quanta.def"))
    conda = yaml.safe_load((ROOT / "envs/quanta.yaml").read_text())["dependencies"]
    python = next(line.split("=")[1] for line in conda if line.startswith("python="))
    for recipe in (docker, apptainer):
        assert f"python:{python}-slim" in recipe
        installs = re.findall(r"pip install (.*)", recipe)
        assert installs == ["--no-cache-dir -r /requirements.lock"]
    assert "COPY requirements.lock /requirements.lock" in docker
    assert "envs/requirements.lock /requirements.lock" in apptainer


@pytest.mark.workflow
def test_a_user_without_a_name_can_run_it_with_the_environment_of_the_recipes(tmp_path):
    """`docker run --user` gives a number that /etc/passwd does not know."""
    recipe = (ROOT / "envs/Dockerfile").read_text()
    settings = " ".join(re.findall(r"^ENV (.*)$", recipe, re.MULTILINE)).split()
    given = dict(setting.split("=", 1) for setting in settings)
    apptainer = re.findall(r'export LOGNAME="\$\{LOGNAME:-(\w+)\}"', (ROOT / "envs/quanta.def").read_text())
    assert apptainer == [given["LOGNAME"]]
    (tmp_path / "card.py").write_text("from quanta.jobs import gpu_locks\nprint(gpu_locks.lock_folder({}))\n")
    (tmp_path / "Snakefile").write_text(
        f"""
rule all:
    output: "card.txt"
    shell: "{sys.executable} card.py > {{output}}"
"""
    )
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "workflow")}
    environment |= given | {key: str(tmp_path) for key in ("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME")}
    nameless = ["unshare", "--user", "--map-user=54321", sys.executable]
    ask = "import os, pwd; print(os.getuid()); pwd.getpwuid(54321)"
    try:
        asked = subprocess.run([*nameless, "-c", ask], env=environment, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no unshare here ({error})")
    if "54321\n" not in asked.stdout or "uid not found" not in asked.stderr:
        pytest.skip(f"nobody can be without a name here ({asked.stderr.strip()})")
    done = subprocess.run(
        [*nameless, "-m", "snakemake", "--cores", "1"], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "quanta-cards-54321" in (tmp_path / "card.txt").read_text()


def test_a_moved_or_copied_clone_runs_its_own_environment(tmp_path):
    """First lines of scripts in .venv/bin name the folder they were made in: gone after `mv`, the old clone's after `cp`."""
    makefile = (ROOT / "Makefile").read_text()
    assert not re.findall(r"\$\(BIN\)/(?!python\b)\w+", makefile)
    clone = tmp_path / "clone"
    (clone / "envs").mkdir(parents=True)
    (clone / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "envs/requirements.lock", "envs/dev.lock"):
        shutil.copy2(ROOT / name, clone / name)
    for stamp in (".run-stamp", ".dev-stamp"):
        (clone / ".venv" / stamp).touch()
    (clone / ".venv/bin/python").write_text('#!/bin/sh\necho "the clone\'s own: $@"\n')
    (clone / ".venv/bin/snakemake").write_text("#!/absent/.venv/bin/python\n")
    for path in (clone / ".venv/bin").iterdir():
        path.chmod(0o755)
    moved = clone.rename(tmp_path / "moved")
    done = subprocess.run(["make", "run", "CORES=1"], cwd=moved, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the clone's own: -m snakemake --cores 1" in done.stdout
