"""Write the lock files anew: the newest versions that pyproject.toml admits, torch as it is.

`python envs/lock.py` (`make lock`). pip resolves; nothing is installed. `--keep` keeps every pin that there is and only
adds what a new dependency needs. The conda environments follow by hand; tests/workflow/test_environment.py says where they differ.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ENVS = Path(__file__).parent
KEPT = ("torch",)  # a new torch is another build for each device: it is changed by hand


def pins(path: Path) -> dict[str, str]:
    """Versions by name, as the file spells it."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def resolve(requirements: list[str], constraints: dict[str, str]) -> dict[str, str]:
    """All that the requirements need, as pip would install it into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        fixed = Path(folder) / "constraints.txt"
        fixed.write_text("".join(f"{name}=={version}\n" for name, version in constraints.items()), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--report",
            "-",
        ]
        command += ["-c", str(fixed), *requirements]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 (pip, with names from pyproject.toml)
    items = json.loads(done.stdout)["install"]
    found = {item["metadata"]["name"]: item["metadata"]["version"].split("+")[0] for item in items}
    # a CUDA build of torch brings its own; setuptools comes with what builds a wheel
    return {name: version for name, version in found.items() if not re.match("nvidia-|cuda-|triton|setuptools$", name)}


def write(path: Path, found: dict[str, str]) -> None:
    """The head of the file as it is, then the pins in the order of their names."""
    head = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith(("#", "-"))]
    order = sorted(found, key=lambda name: name.lower().replace("_", "-"))
    lines = [f"{name}=={found[name]}" for name in order]
    path.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


def main() -> None:
    """Both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="keep every pin that there is")
    keep = parser.parse_args().keep
    project = tomllib.loads((ENVS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    run, dev = ENVS / "requirements.lock", ENVS / "dev.lock"
    fixed = {name: version for name, version in pins(run).items() if keep or name in KEPT}
    needed = resolve(project["dependencies"], fixed)
    further = resolve(
        [*project["dependencies"], *project["optional-dependencies"]["dev"]], needed | (pins(dev) if keep else {})
    )
    write(run, needed)
    write(dev, {name: version for name, version in further.items() if name not in needed})


if __name__ == "__main__":
    main()
