"""What tests of the workflow share: a copy of the repository, Snakemake in it, hashes of what it made."""

import hashlib
import os
import shutil
import subprocess
import sys

from support import ROOT


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
    """SHA-256 of every table and array of the run."""
    results = folder / "results/smoke"
    kinds = {".npy", ".csv", ".parquet", ".json", ".safetensors"}
    files = [p for p in results.rglob("*") if p.suffix in kinds and p.is_file()]
    names = {str(p.relative_to(results)): p for p in files}
    kept = {n: p for n, p in names.items() if not n.startswith(("benchmarks/", "logs/", "made/"))}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(kept.items())}
