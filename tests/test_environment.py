"""The lock, the conda environments and the project's own list of dependencies say the same."""

import re
import tomllib
from importlib import metadata

import pytest
import yaml
from quanta.surroundings import locked_versions, normalise
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


def test_every_rule_with_a_script_names_the_conda_environment():
    for path in ROOT.glob("rules/*.smk"):
        text = path.read_text()
        scripts, environments = text.count("script:\n"), text.count("conda:\n")
        assert scripts == environments == text.count('"../envs/quanta.yaml"'), path.name
