"""What Snakemake itself costs: planning, until the first job, and in each job; CPU and wall seconds.

PYTHONPATH=workflow python tests/benchmarks/overhead.py [--shards 10000]
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psutil
import yaml
from repository import command, copy_of_the_repository, environment

MEMBERS = 4  # models and steps of the smoke run, each with its own shards


def dry_run(folder: Path, *arguments: str) -> tuple[int, float, float]:
    """Jobs that are planned, CPU and wall seconds."""
    began, before = time.monotonic(), os.times()
    done = subprocess.run(
        command("--cores", "2", "--dry-run", "--quiet", "rules", *arguments),
        cwd=folder, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    after, wall = os.times(), time.monotonic() - began
    jobs = re.search(r"^total +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return int(jobs[1]) if jobs else 1, cpu, wall


def first_job(folder: Path, *arguments: str) -> tuple[float, float]:
    """CPU and wall seconds from the start to the first job, with which the run is stopped."""
    began = time.monotonic()
    process = subprocess.Popen(
        command("--cores", "2", *arguments), cwd=folder, env=environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if re.match(r"Job \d", line):
            break
    spent, wall = psutil.Process(process.pid).cpu_times(), time.monotonic() - began
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return spent.user + spent.system, wall


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="what Snakemake itself costs")
    parser.add_argument("--shards", type=int, default=10_000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = copy_of_the_repository(Path(name) / "quanta")
        (folder / "many.yaml").write_text(yaml.safe_dump({"losses": {"shards": chosen.shards // MEMBERS}}))
        smoke, many = ("--configfile", "config/smoke.yaml"), ("--configfile", "config/smoke.yaml", "many.yaml")
        paper = ("--configfile", "config/pythia.yaml")
        one = ("--allowed-rules", "losses", "--target-jobs", "losses:model=tiny-a,step=60,shard=1")
        print("| what | jobs | CPU s | wall s |\n|---|---|---|---|")
        for what, arguments in (("smoke run", smoke), ("paper's experiment", paper), ("many shards", many)):
            jobs, cpu, wall = dry_run(folder, *arguments)
            print(f"| dry run, {what} | {jobs} | {cpu:.1f} | {wall:.1f} |")
        cpu, wall = first_job(folder, *many)
        print(f"| until the first job, many shards | {jobs} | {cpu:.1f} | {wall:.1f} |")
        _, cpu, wall = dry_run(folder, *many, *one)
        print(f"| the start that each job makes, many shards | 1 | {cpu:.1f} | {wall:.1f} |")


if __name__ == "__main__":
    main()
