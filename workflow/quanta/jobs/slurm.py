"""Slurm, beside what the plugin does: its queue, a setting that a run would trip over after hours, jobs that nobody wakes.

What it says of snakemake-executor-plugin-slurm is of version 2.8.0; docs/cluster.md lists its troubles.
"""

import logging
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import NamedTuple

from quanta.errors import QuantaError

log = logging.getLogger("quanta")
PREFIX = "quanta_"  # of the names of Slurm jobs (slurm/config.yaml)
LONGEST_PAUSE = 180  # s between two looks of the plugin at the queue
PAUSE = 60  # s between two looks of ours: below MinJobAge, which `check_queue` wants above 180 s
# reasons to wait that no time mends: limits of a single job, a wrong account or feature, a person's hold
STUCK = re.compile("TimeLimit|PerJob|PartitionNodeLimit|BadConstraints|InvalidAccount|InvalidQOS|JobHeld")
HELD = ("launch failed requeued held", "launch_failed_requeued_held")  # as older and newer Slurms write it


class Job(NamedTuple):
    """One that Snakemake sent: its number, state and reason as `squeue` has them."""

    number: str
    state: str
    reason: str


def jobs(folder: Path, states: str = "") -> list[Job] | None:
    """Jobs of this user that Snakemake sent from `folder`, those of `states` alone; None where Slurm does not answer.

    Args:
        folder: an absolute path without links.
        states: with commas between them; empty for all that have not ended.
    """
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%i|%j|%T|%r|%Z"]
    try:
        listed = _ask([*command, f"--states={states}"] if states else command).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.split("|", 4) for line in listed.splitlines() if line.count("|") >= 4]
    return [
        Job(number, state, reason)
        for number, name, state, reason, place in rows
        if name.startswith(PREFIX) and Path(place).resolve() == folder
    ]


def check_client() -> None:
    """Refuse a machine from which no job can be sent; one whose Slurm does not answer is left to the plugin.

    Raises:
        QuantaError: there is no `sbatch`.
    """
    if shutil.which("sbatch") is None:
        raise QuantaError("the profile of Slurm", "no sbatch on this machine", "a login node of a cluster with Slurm",
                          "log in there; on one machine write --cores 4 in place of --profile slurm")  # fmt: skip


def check_queue(status_command: str | None) -> None:
    """Refuse a queue that forgets ended jobs before the plugin looks again: the run would wait for them for ever.

    Args:
        status_command: what the plugin asks; only `squeue` forgets.

    Raises:
        QuantaError: Slurm's MinJobAge is too short.
    """
    if status_command != "squeue":
        return
    try:
        shown = _ask(["scontrol", "show", "config"]).stdout
    except (OSError, subprocess.SubprocessError):
        return  # the plugin says what is wrong with a Slurm that does not answer
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", shown, re.MULTILINE)
    if found and int(found[1]) <= LONGEST_PAUSE:
        raise QuantaError(
            "Slurm's MinJobAge",
            f"{found[1]} s, after which squeue forgets a job that has ended",
            f"more than {LONGEST_PAUSE} s, the longest pause between two looks",
            "set slurm-status-command: sacct, and slurm-no-requeue: true in place of slurm-requeue, in slurm/config.yaml",
        )


class Waker(threading.Thread):
    """Sends on what Slurm stopped through no fault of the job, and what the plugin would wait for for ever.

    A job that was preempted comes back by itself only where the partition's PreemptMode is REQUEUE; one that a node
    could not launch is held. The first look, at the start, is at what an earlier run left, which stays as it is.
    Jobs that wait for something that will not come are named, for the run would stand still without a word.
    """

    def __init__(self, folder: Path, pause: float = PAUSE) -> None:
        """Of the jobs sent from `folder`, looked at every `pause` seconds."""
        super().__init__(name="waker", daemon=True)
        self.folder, self.pause = folder.resolve(), pause
        self._leave: set[str] | None = None
        self._named: set[Job] = set()
        self._refused: set[str] = set()

    def run(self) -> None:
        """Look until the process ends."""
        while True:
            try:
                self.look()
            except Exception:  # without this thread some jobs would be waited for for ever
                log.exception("A look at Slurm's queue failed; the next one is in %g s.", self.pause)
            time.sleep(self.pause)

    def look(self) -> list[str]:
        """Look once; returns the numbers of the jobs that were sent on."""
        found = jobs(self.folder, "PREEMPTED,PENDING")
        if found is None:
            return []
        stopped = {job.number: "requeue" for job in found if job.state == "PREEMPTED"}
        stopped |= {job.number: "release" for job in found if job.reason in HELD}
        if self._leave is None:
            self._leave = set(stopped)
        for job in sorted({job for job in found if job.state == "PENDING" and STUCK.search(job.reason)} - self._named):
            self._named.add(job)
            log.warning(
                "Job %s waits, and will not start by itself (%s): `scontrol show job %s` says what it asks for; "
                "docs/cluster.md, which key sets it.",
                job.number, job.reason, job.number,
            )  # fmt: skip
        sent_on = []
        for number in sorted(stopped.keys() - self._leave):
            why = "was preempted" if stopped[number] == "requeue" else "could not be launched by its node and was held"
            try:
                _ask(["scontrol", stopped[number], number])
            except subprocess.CalledProcessError as error:
                if number not in self._refused:  # it may have come back since squeue was asked
                    self._refused.add(number)
                    continue
                self._leave.add(number)
                log.error(
                    "Job %s %s, and Slurm will not %s it (%s). Nothing else would: interrupt Snakemake when all other "
                    "jobs are done, set slurm-requeue: true in slurm/config.yaml, and start it again.",
                    number, why, stopped[number], error.stderr.strip(),
                )  # fmt: skip
            except (OSError, subprocess.SubprocessError):
                continue  # too busy to answer; the next look tries again
            else:
                log.warning("Job %s %s: it is in the queue again.", number, why)
                sent_on.append(number)
        return sent_on


def _ask(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 (fixed words, and numbers that squeue gave)
        command, check=True, capture_output=True, text=True, errors="replace", timeout=60
    )
