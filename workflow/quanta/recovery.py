"""What a killed Snakemake leaves behind is cleared, so that the same command goes on: its locks and half-made outputs.

Snakemake itself asks for `--unlock` and `--rerun-incomplete` after a SIGKILL. Every main process of this workflow enters
itself in a register; the leftovers are cleared only where each process in it is known to be dead. Processes on another
host cannot be seen, so that one entry of theirs leaves all as it is.
"""

import base64
import glob
import json
import logging
import os
import shutil
import socket
from pathlib import Path

import psutil

log = logging.getLogger("quanta")
REGISTER = "quanta_processes"

Entry = tuple[str, int, float]


def clear_after_kill(folder: Path) -> list[str]:
    """Enter this process in the register under `folder` (`.snakemake`), after clearing what dead ones left.

    Jobs that went to a cluster may still be running: their outputs are left to Snakemake.

    Returns:
        the outputs that were removed.
    """
    register = folder / REGISTER
    entries = _read(register)
    others = [entry for entry in entries if entry[1] != os.getpid() or entry[0] != socket.gethostname()]
    alive = [entry for entry in others if _may_live(entry)]
    removed = _clear(folder) if others and not alive else []
    folder.mkdir(parents=True, exist_ok=True)
    me: Entry = (socket.gethostname(), os.getpid(), psutil.Process().create_time())
    temporary = register.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps([*alive, me]), encoding="utf-8")
    temporary.replace(register)
    return removed


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


def _clear(folder: Path) -> list[str]:
    """Remove locks, and outputs marked as incomplete, with their marks."""
    locks = list((folder / "locks").glob("*.lock"))
    removed = []
    marks = [path for path in (folder / "incomplete").rglob("*") if path.is_file()] if locks else []
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
