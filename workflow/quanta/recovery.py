"""What a killed Snakemake leaves behind is cleared, so that the same command goes on: its locks and half-made outputs.

Snakemake itself asks for `--unlock` and `--rerun-incomplete` after a SIGKILL. Every main process of this workflow enters
itself in a register; the leftovers are cleared only where each process in it is known to be dead. Processes on another
host cannot be seen, so that one entry of theirs leaves all as it is.

Jobs that a dead Snakemake sent to Slurm go on without it, and nobody waits for them: Snakemake would send them again,
and two would write one file. They are known by their folder (Snakemake's own note of a job's number is gone once the
job runs), and are cancelled when the run starts, not in a dry run.
"""

import base64
import glob
import json
import logging
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

from quanta import cluster
from quanta.errors import QuantaError

log = logging.getLogger("quanta")
REGISTER = "quanta_processes"
AWAY = "quanta_sent_away"  # exists where some run sent jobs to a cluster

_orphans: list[str] = []

Entry = tuple[str, int, float]


def clear_after_kill(folder: Path) -> list[str]:
    """Enter this process in the register under `folder` (`.snakemake`), after clearing what dead ones left.

    Where jobs are still in Slurm, only the locks go, and `cancel_orphans` is for the rest.

    Returns:
        the outputs that were removed.
    """
    register = folder / REGISTER
    entries = _read(register)
    others = [entry for entry in entries if entry[1] != os.getpid() or entry[0] != socket.gethostname()]
    alive = [entry for entry in others if _may_live(entry)]
    removed: list[str] = []
    if others and not alive:
        jobs = cluster.jobs(folder.resolve().parent) if (folder / AWAY).exists() else []
        if jobs is not None:
            _orphans[:] = [job.number for job in jobs]
            removed = _clear(folder, only_locks=bool(jobs))
    folder.mkdir(parents=True, exist_ok=True)
    me: Entry = (socket.gethostname(), os.getpid(), psutil.Process().create_time())
    temporary = register.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps([*alive, me]), encoding="utf-8")
    temporary.replace(register)
    return removed


def note_cluster(folder: Path) -> None:
    """Note under `folder` that this run sends jobs away: the next start will ask Slurm for them."""
    (folder / AWAY).touch()


def cancel_orphans(seconds: float = 60) -> list[str]:
    """Cancel the Slurm jobs that a dead Snakemake left running here, and wait until they are gone.

    To be called before the first job of a run, after `clear_after_kill`.

    Returns:
        the numbers of the jobs.

    Raises:
        QuantaError: they are still there after `seconds`.
    """
    jobs, _orphans[:] = list(_orphans), []
    if not jobs:
        return []
    log.warning("An earlier run here was killed: its jobs are cancelled and done again: %s.", ", ".join(jobs))
    subprocess.run(["scancel", *jobs], check=False, capture_output=True, timeout=60)  # noqa: S603, S607 (numbers that squeue gave)
    last = time.monotonic() + seconds
    while set(left := [job.number for job in cluster.jobs(Path.cwd()) or []]) & set(jobs):
        if time.monotonic() > last:
            raise QuantaError(
                "Slurm",
                f"jobs {', '.join(left)} of an earlier run in this folder, cancelled and still there",
                "none: two jobs would write one file",
                "wait until squeue shows none of them, then start again",
            )
        time.sleep(1)
    return jobs


def _read(register: Path) -> list[Entry]:
    try:
        return [(str(host), int(pid), float(began)) for host, pid, began in json.loads(register.read_text("utf-8"))]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def _may_live(entry: Entry) -> bool:
    host, pid, began = entry
    if host != socket.gethostname():
        return True
    try:
        process = psutil.Process(pid)
        return bool(abs(process.create_time() - began) < 1 and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _clear(folder: Path, *, only_locks: bool) -> list[str]:
    """Remove locks, and outputs marked as incomplete, with their marks."""
    locks = list((folder / "locks").glob("*.lock"))
    removed = []
    seek = bool(locks) and not only_locks
    marks = [path for path in (folder / "incomplete").rglob("*") if path.is_file()] if seek else []
    for mark in marks:
        try:
            encoded = "".join(part.removeprefix("@") for part in mark.relative_to(folder / "incomplete").parts)
            output = Path(base64.urlsafe_b64decode(encoded).decode())
            sent_away = json.loads(mark.read_text("utf-8")).get("external_jobid")
        except (ValueError, AttributeError):
            continue
        if sent_away:
            continue
        # a writer that was killed leaves its temporary file (quanta.storage.atomic), as large as the output
        for half in output.parent.glob(f".{glob.escape(output.stem)}.*.????????{glob.escape(output.suffix)}"):
            half.unlink(missing_ok=True)
        if output.is_dir() and not output.is_symlink():
            shutil.rmtree(output)
        else:
            output.unlink(missing_ok=True)
        mark.unlink()
        removed.append(str(output))
    for lock in locks:
        lock.unlink(missing_ok=True)
    if locks:
        log.warning(
            "An earlier run here was killed: its lock and %d unfinished outputs were removed; it goes on.", len(removed)
        )
    return removed
