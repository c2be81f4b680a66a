"""What tests of the workflow share: a copy of the repository, Snakemake in it, hashes of what it made."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch

import yaml
from support import ROOT

SMOKE = "config/smoke.yaml"


def copy_of_the_repository(target):
    """The tracked files, as they are now: nothing else may be needed."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"],
            cwd=ROOT, capture_output=True, check=True, text=True,
        ).stdout.split("\0")  # fmt: skip
    except (OSError, subprocess.CalledProcessError):  # an archive without its history
        wanted = ("Snakefile", "config", "envs", "rules", "slurm", "workflow")
        listed = [str(p.relative_to(ROOT)) for name in wanted for p in [ROOT / name, *(ROOT / name).rglob("*")]]
    for name in listed:
        if name and (ROOT / name).is_file() and not name.startswith("tests/") and "__pycache__" not in name:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def command(*arguments):
    return [sys.executable, "-m", "snakemake", *arguments]


def environment():
    """Without what the tests themselves set, and without a way out to the network."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "HF_", "PYTHONPATH", "QUANTA_"))}
    return kept | {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}


def hashes(folder):
    """SHA-256 of every table and array of the run, but for parts: a kill between a join and their removal leaves some."""
    results = folder / "results/smoke"
    kinds = {".npy", ".csv", ".parquet", ".json", ".safetensors"}
    files = [p for p in results.rglob("*") if p.suffix in kinds and p.is_file()]
    names = {str(p.relative_to(results)): p for p in files}
    apart = re.compile(r"(benchmarks|logs|made)/|.*\.part\d+of\d+\.")
    kept = {n: p for n, p in names.items() if not apart.match(n)}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(kept.items())}


def snakemake(folder, *arguments, fails=False, env=None):
    """Run it; its output, checked for the exit status that is expected."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder, env=environment() | (env or {}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert (done.returncode != 0) == fails, done.stdout[-6000:]
    return done.stdout


def smoke(folder, *arguments, cores=2, over=None, **kwargs):
    """The smoke run; `over` is laid over its configuration as a further file."""
    files = [SMOKE]
    if over is not None:
        (folder / "config/over.yaml").write_text(yaml.safe_dump(over))
        files.append("config/over.yaml")
    return snakemake(folder, "--cores", str(cores), "--configfile", *files, *arguments, **kwargs)


def restore(copy, original):
    """Make a copy of a run what it was: contents and times of files and folders, Snakemake's notes included."""
    kept, there = ({path.relative_to(folder): path for path in folder.rglob("*")} for folder in (original, copy))
    for name, path in there.items():
        if name not in kept and not path.is_dir():
            path.unlink()
    for name, path in kept.items():
        if path.is_file() and not path.is_symlink():
            now, was = copy / name, path.stat()
            if not now.exists() or (now.stat().st_size, now.stat().st_mtime_ns) != (was.st_size, was.st_mtime_ns):
                shutil.copy2(path, now)
    for name, path in kept.items():
        if path.is_dir() and not path.is_symlink():
            shutil.copystat(path, copy / name)


def not_in_the_tree(results):
    """Files of a run that the tree of results/README.md names neither by path, nor by name in a line of its folder, nor by folder."""
    lines = (ROOT / "results/README.md").read_text(encoding="utf-8").split("```")[1].strip().splitlines()
    entries = []
    for line in lines:
        first, *others = re.sub(r"\{\w+\}", "*", line.split("  ")[0]).split(", ")
        folder = first.rstrip("/").rpartition("/")[0]
        entries += [
            (first, folder, line),
            *((n if n.startswith(folder) else f"{folder}/{n}", folder, line) for n in others),
        ]

    def named(path):
        for name, folder, line in entries:
            if fnmatch(path, name) or (name.endswith("/") and fnmatch(path, f"{name}*")):
                return True
            inside, _, own = path.rpartition("/")
            if fnmatch(inside, folder) and re.search(rf"(?<![\w.]){re.escape(own)}(?!\w)", line):
                return True
        return "report/figures/" in path

    found = [p.relative_to(results).as_posix() for p in sorted(results.rglob("*")) if p.is_file() and p.name[0] != "."]
    return [path for path in found if not named(path)]
