"""What a killed Snakemake leaves behind is cleared, so that the same command goes on: its locks and half-made outputs.

Snakemake itself asks for `--unlock` and `--rerun-incomplete` after a SIGKILL. Every main process of this workflow holds
a shared lock on one file for its life. The lock is the kernel's: it ends with the process, however that ends, and NFS
carries it between hosts. Who gets it exclusively knows that all others are dead, and clears what they left. Each main
process enters itself in a register as well. It says that somebody was here, and stands in where locks do not work.

Jobs that a dead Snakemake sent to Slurm go on without it, and nobody waits for them: Snakemake would send them again,
and two would write one file. They are known by their folder (Snakemake's own note of a job's number is gone once the
job runs). They are noted while all others are known to be dead, and cancelled when the run starts, not in a dry run.
"""

import atexit
import base64
import fcntl
import glob
import json
import logging
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import IO, NamedTuple

import psutil

from quanta.errors import QuantaError
from quanta.jobs import slurm
from quanta.storage import writing

log = logging.getLogger("quanta")
ALIVE = "quanta.alive"
REGISTER = "quanta_processes"
AWAY = "quanta_sent_away"  # exists where some run sent jobs to a cluster
ORPHANS = "quanta_orphans"  # numbers of jobs in Slurm whose Snakemake is dead
# mounts whose locks other hosts do not see, by their options
LOCAL = re.compile(r"\b(nolock|local_lock=(flock|all)|localflock)\b")

_held: dict[Path, IO[str]] = {}  # by file: on NFS, closing a second handle would give the lock away


class Entry(NamedTuple):
    """A main process: its host's name, the boot and the name space that its number belongs to, number and start."""

    host: str
    machine: str
    pid: int
    began: str


def clear_after_kill(folder: Path) -> list[str]:
    """Take this process's lock under `folder` (`.snakemake`) and enter it in the register; clear what dead ones left.

    Where jobs are still in Slurm, only the locks go, and `cancel_orphans` is for the rest.

    Returns:
        the outputs that were removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stream = _open(folder / ALIVE)
    alone = _alone(stream)
    me = entry_of(os.getpid())
    others = [entry for entry in _read(folder / REGISTER) if entry != me]
    removed: list[str] = []
    try:
        alive = [entry for entry in others if _may_live(entry, me)]
        if alone and _seen_by_all(folder):
            alive = []
        if others and not alive and alone is not False:
            jobs = slurm.jobs(folder.resolve().parent) if (folder / AWAY).exists() else []
            if jobs is not None:
                _note_orphans(folder, [job.number for job in jobs])
                removed = _clear(folder, only_locks=bool(jobs))
            else:
                alive = others  # what they left is there still: the next start looks again
        _write(folder / REGISTER, [*alive, me])
    finally:
        if alone is not None:
            # waits only for one that clears just now; it is done within the minute that squeue has
            fcntl.flock(stream, fcntl.LOCK_SH)
        else:
            atexit.register(_leave, folder / REGISTER, me)
    return removed


def entry_of(pid: int) -> Entry:
    """The process of this number. Its start is in ticks since boot where the system tells: no set clock moves them."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        machine = f"{boot} {Path('/proc/self/ns/pid').readlink()}"
        began = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        machine, began = "", f"{psutil.Process(pid).create_time():.0f}"
    return Entry(socket.gethostname(), machine, pid, began)


def _open(path: Path) -> IO[str]:
    path = path.resolve()
    if path not in _held:
        _held[path] = path.open("a", encoding="utf-8")
    return _held[path]


def _alone(stream: IO[str]) -> bool | None:
    """Whether no other process holds the lock, which is then held exclusively; None where locks do not work."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # ENOLCK, ENOSYS, EOPNOTSUPP and others, by file system
        return None
    return True


def _seen_by_all(folder: Path) -> bool:
    """Whether locks here hold for other hosts too, as far as the mount says."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    place, found = folder.resolve(), ("", "")
    for line in lines:
        fields = line.split()
        root = fields[4].encode().decode("unicode_escape")
        if place.is_relative_to(root) and len(root) >= len(found[0]):
            found = (root, line)
    return not LOCAL.search(found[1])


def note_cluster(folder: Path) -> None:
    """Note under `folder` that this run sends jobs away: the next start will ask Slurm for them."""
    (folder / AWAY).touch()


def cancel_orphans(folder: Path, seconds: float = 60) -> list[str]:
    """Cancel the Slurm jobs that a dead Snakemake left running here, and wait until they are gone.

    To be called before the first job of a run, after `clear_after_kill`, while Snakemake holds its own lock.

    Args:
        folder: `.snakemake`.
        seconds: how long to wait for them to go.

    Returns:
        the numbers of the jobs.

    Raises:
        QuantaError: they are still there after `seconds`; Slurm does not answer; or nobody knows whether the Snakemake
            that sent them lives.
    """
    here, me = folder.resolve().parent, entry_of(os.getpid())
    noted = _noted(folder)
    unseen = [one for one in _read(folder / REGISTER) if one != me and not _in_sight(one, me)]
    unsure = bool(unseen) and (folder / AWAY).exists() and not _carried(folder)
    if not noted and not unsure:
        return []
    found = slurm.jobs(here)
    if found is None:
        raise QuantaError(
            "Slurm",
            "squeue does not answer",
            f"what became of the jobs that an earlier run sent from here: {', '.join(noted) or 'unknown'}",
            f"start again when it does, or delete {folder / (ORPHANS if noted else AWAY)} if none of them is left",
        )
    left = {job.number for job in found} & set(noted)
    if unsure and (others := sorted({job.number for job in found} - left)):
        raise QuantaError(
            "Slurm",
            f"jobs {', '.join(others)} of this folder, and a Snakemake on {unseen[0].host} that may live",
            "none: locks on this file system do not tell, and two jobs would write one file",
            f"wait until that one ends; if it is dead, `scancel {' '.join(others)}` and start again",
        )
    jobs = sorted(left, key=lambda number: (len(number), number))
    if jobs:
        log.warning("An earlier run here was killed: its jobs are cancelled and done again: %s.", ", ".join(jobs))
        subprocess.run(["scancel", *jobs], check=False, capture_output=True, timeout=60)  # noqa: S603, S607 (numbers that squeue gave)
    last = time.monotonic() + seconds
    while left and (left := {job.number for job in slurm.jobs(here) or []} & set(jobs)):
        if time.monotonic() > last:
            raise QuantaError(
                "Slurm",
                f"jobs {', '.join(sorted(left))} of an earlier run in this folder, cancelled and still there",
                "none: two jobs would write one file",
                "wait until squeue shows none of them, then start again",
            )
        time.sleep(1)
    (folder / ORPHANS).unlink(missing_ok=True)
    return jobs


def _carried(folder: Path) -> bool:
    """Whether this process holds the lock, for all hosts to see."""
    stream = _held.get((folder / ALIVE).resolve())
    try:
        if stream is None:
            return False
        fcntl.flock(stream, fcntl.LOCK_SH)
    except OSError:
        return False
    return _seen_by_all(folder)


def _note_orphans(folder: Path, numbers: list[str]) -> None:
    """Note them on the disk: another start than this one may be the first that gets as far as cancelling them."""
    if numbers:
        with writing.atomic(folder / ORPHANS) as temporary:
            temporary.write_text("\n".join(numbers), encoding="utf-8")
    else:
        (folder / ORPHANS).unlink(missing_ok=True)


def _noted(folder: Path) -> list[str]:
    try:
        return (folder / ORPHANS).read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []


def _read(register: Path) -> list[Entry]:
    try:
        return [
            Entry(str(host), str(machine), int(pid), str(began))
            for host, machine, pid, began in json.loads(register.read_text("utf-8"))
        ]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def _write(register: Path, entries: list[Entry]) -> None:
    with writing.atomic(register) as temporary:
        temporary.write_text(json.dumps(entries), encoding="utf-8")


def _leave(register: Path, me: Entry) -> None:
    """Take this process out at its end: on another host nobody could tell that it has ended."""
    _write(register, [entry for entry in _read(register) if entry != me])


def _in_sight(entry: Entry, me: Entry) -> bool:
    """Whether this process can know whether that one lives: it was started on this machine, within this container."""
    if entry.machine == me.machine:
        return bool(me.machine) or entry.host == me.host
    started_again = entry.machine.split()[:1] != me.machine.split()[:1]
    return bool(entry.machine and me.machine) and entry.host == me.host and started_again


def _may_live(entry: Entry, me: Entry) -> bool:
    if not _in_sight(entry, me):
        return True
    if entry.machine != me.machine:
        return False  # the machine was started again since
    try:
        return entry_of(entry.pid).began == entry.began and psutil.Process(entry.pid).status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, OSError):
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
        # a writer that was killed leaves its temporary file (quanta.storage.writing.atomic), as large as the output
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
            "An earlier run here was killed: its lock and what it had not finished (%d files or folders) were removed; it goes on.",
            len(removed),
        )
    return removed
