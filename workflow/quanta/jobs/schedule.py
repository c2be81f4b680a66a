"""What this workflow adds to Snakemake's scheduler: rest between two jobs, how long it will take, reasons of a line.

They reach into Snakemake and touch nothing where its insides are others than expected.
"""

import csv
import heapq
import logging
import re
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quanta.progress import CLEAR, clock

DEFAULT_LIMIT = (100, 1)  # jobs in seconds: `--max-jobs-per-timespan` where nobody sets it
UNKNOWN = 5.0  # seconds that are forecast for a job of a rule without a record
FIRST_LINE = 30.0  # seconds until a log gets its first line; then ever fewer
LONGEST = 900.0


def calm(workflow: Any) -> None:
    """Take Snakemake's default limit of jobs in a second away.

    With a limit, each round of the scheduler sets a timer of a second that starts another round (9.27, JobScheduler.
    _schedule_reevalutation), and each job that ends adds a chain of its own: after a hundred jobs the main process looks
    for jobs a hundred times a second. A limit that a user sets is left.
    """
    limiter = getattr(getattr(workflow, "scheduler", None), "job_rate_limiter", None)
    if limiter is not None and (getattr(limiter, "max_jobs", 0), getattr(limiter, "timespan", 0)) == DEFAULT_LIMIT:
        workflow.scheduler.job_rate_limiter = None


MOST_NAMED = 3  # files in a reason


def shortened(reason: str) -> str:
    """Snakemake's reason for a job with a few of the files that it names; that of the last job names them all."""

    def few(found: re.Match[str]) -> str:
        names = found[2].split(", ")
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return f"{found[1]}{', '.join(names[:MOST_NAMED])}{more}"

    reason = reason.replace("Union of exclusive params before and now across all output: ", "")
    return re.sub(r"((?:[Ff]iles|updated by another job): )([^;]*)", few, reason)


class ShortReasons(logging.Filter):
    """Of Snakemake's logger: reasons of a line or two, so that a screen holds what else there is to read."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten the record's reason, if it has one; every record is kept."""
        if isinstance(reason := getattr(record, "reason", None), str):
            record.reason = shortened(reason)
        return True


@dataclass
class Job:
    """A job that a run has to do."""

    rule: str
    seconds: float  # forecast
    needs: set[int] = field(default_factory=set)  # jobs that must end before
    began: float | None = None


def kind(rule: str) -> str:
    """A rule's name without the number of a rule that is written in a loop."""
    return re.sub(r"_\d+$", "", rule)


def recorded(benchmarks: Iterable[Path], shipped: Path) -> dict[str, float]:
    """Seconds of a job by rule: means of a run's benchmarks, and those shipped for rules without.

    A benchmark's path begins with the name of its rule.
    """
    known: dict[str, float] = {}
    if shipped.is_file():
        with shipped.open(encoding="utf-8", newline="") as file:
            known = {row["rule"]: float(row["seconds"]) for row in csv.DictReader(file)}
    own: dict[str, list[float]] = {}
    for folder in benchmarks:
        for path in folder.rglob("*.tsv"):
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
                seconds = [float(line.split("\t")[0]) for line in lines[1:]]
            except (OSError, ValueError, IndexError):
                continue
            own.setdefault(kind(path.relative_to(folder).parts[0].removesuffix(".tsv")), []).extend(seconds)
    return known | {rule: sum(values) / len(values) for rule, values in own.items() if values}


def left(jobs: Mapping[int, Job], cores: int, now: float) -> float:
    """Forecast of the seconds until all of `jobs` are done on so many cores, longest chains first."""
    followers: dict[int, list[int]] = {number: [] for number in jobs}
    waits = {number: len([n for n in job.needs if n in jobs]) for number, job in jobs.items()}
    for number, job in jobs.items():
        for needed in job.needs:
            if needed in followers:
                followers[needed].append(number)
    chains: dict[int, float] = {}

    def chain(number: int) -> float:
        todo = [number]
        while todo:
            one = todo[-1]
            open_ones = [f for f in followers[one] if f not in chains]
            if open_ones:
                todo += open_ones
                continue
            chains[one] = jobs[one].seconds + max((chains[f] for f in followers[one]), default=0.0)
            todo.pop()
        return chains[number]

    ready = [(-chain(n), n) for n in jobs if not waits[n] and jobs[n].began is None]
    running = [(max(job.seconds - (now - job.began), 1.0), n) for n, job in jobs.items() if job.began is not None]
    heapq.heapify(ready)
    heapq.heapify(running)
    at = 0.0
    while ready or running:
        while ready and len(running) < max(cores, 1):
            _, number = heapq.heappop(ready)
            heapq.heappush(running, (at + jobs[number].seconds, number))
        at, number = heapq.heappop(running)
        for follower in followers[number]:
            waits[follower] -= 1
            if not waits[follower]:
                heapq.heappush(ready, (-chain(follower), follower))
    return at


class Overview(logging.Handler):
    """One line with jobs done, time gone and time left: on a terminal over and over, in a log now and then.

    The forecast is that of the records, times how much longer this machine has taken for what is done.
    """

    def __init__(self, jobs: dict[int, Job], cores: int) -> None:
        super().__init__()
        self.jobs, self.cores, self.total = jobs, cores, len(jobs)
        self.forecast = self.taken = 0.0
        self.began = time.monotonic()
        self.pause, self.said = FIRST_LINE, self.began
        self.ended = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Take Snakemake's word of jobs that start and end."""
        event = getattr(getattr(record, "event", None), "value", None)
        now = time.monotonic()
        if event == "job_started":
            for number in getattr(record, "jobs", None) or ():
                if number in self.jobs:
                    self.jobs[number].began = now
        elif event == "job_finished":
            job = self.jobs.pop(getattr(record, "job_id", -1), None)
            if job is not None and job.began is not None:
                self.forecast += job.seconds
                self.taken += now - job.began
            self._say_in_log(now)

    def line(self, now: float) -> str:
        """What a user reads."""
        factor = (self.taken + 20) / (
            self.forecast + 20
        )  # twenty seconds as forecast, so that first jobs alone decide little
        rest = left(dict(self.jobs), self.cores, now) * factor
        gone = f"{self.total - len(self.jobs)} of {self.total} jobs done, {clock(now - self.began)} gone"
        return f"{gone}, about {clock(max(round(rest / 10) * 10, 10))} left" if self.jobs else gone

    def _say_in_log(self, now: float) -> None:
        if not sys.stderr.isatty() and now - self.said >= self.pause and self.jobs:
            self.said, self.pause = now, min(self.pause * 1.5, LONGEST)
            sys.stderr.write(f"{self.line(now)}\n")
            sys.stderr.flush()

    def _watch(self) -> None:
        while not self.ended.wait(1.0) and self.jobs:
            sys.stderr.write(f"{CLEAR}{self.line(time.monotonic())}\r")
            sys.stderr.flush()

    def start(self, logger: logging.Logger) -> "Overview":
        """Listen to Snakemake's logger; on a terminal a thread writes the line each second."""
        logger.addHandler(self)
        if sys.stderr.isatty():
            threading.Thread(target=self._watch, daemon=True).start()
        return self


def jobs_of(dag: Any, seconds: Mapping[str, float]) -> dict[int, Job]:
    """Jobs of Snakemake's graph that a run has to do, by number, with what they wait for and their forecast."""
    # the job that makes nothing is among Snakemake's own "of 78 steps", too
    numbers = {job: dag.jobid(job) for job in dag.needrun_jobs(exclude_finished=False)}
    return {
        number: Job(
            job.rule.name,
            0.0 if job.is_norun else seconds.get(kind(job.rule.name), UNKNOWN),
            {numbers[needed] for needed in dag.dependencies.get(job, ()) if needed in numbers},
        )
        for job, number in numbers.items()
    }
