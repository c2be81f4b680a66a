"""What a user reads when a run has ended: the headline and what to do next, or of each failed job what its log says last.

Failures are read from Snakemake's own log, which names the logs of the jobs. Imported while Snakemake parses: nothing heavy here.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

LINES = 12  # of a log at most
_BLOCK = re.compile(r"^Error in rule (\w+).*?:$(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
_LOG = re.compile(r"^ +log: (.+?)(?: \(check log.*)?$", re.MULTILINE)
_FINISHED = re.compile(r"^Finished jobid: (\d+) ", re.MULTILINE)
_HEAD = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (\w+) ")
SILENT = "The job ended without a word, as one does that is killed, for memory perhaps: resources.memory_factor raises what jobs ask for."


def failed(snakemake_log: str) -> dict[str, str]:
    """Rule by the log of each job that failed and was not tried again with success."""
    found = {}
    finished = {job[1]: job.start() for job in _FINISHED.finditer(snakemake_log)}  # the last time of each
    for block in _BLOCK.finditer(snakemake_log):
        log, job = _LOG.search(block[2]), re.search(r"jobid: (\d+)", block[2])
        if log and not (job and finished.get(job[1], -1) >= block.end()):
            found[log[1].split(", ")[0]] = block[1]
    return found


def last_lines(log: str) -> list[str]:
    """The end of a job's log: its last error without the frames, after the two lines before it."""
    lines = log.splitlines()
    errors = [i for i, line in enumerate(lines) if (head := _HEAD.match(line)) and head[1] in ("ERROR", "CRITICAL")]
    if not errors:
        return [*lines[-3:], SILENT]
    begin = errors[-1]
    told = lines[begin:]
    frames = next((i for i, line in enumerate(told) if line.startswith("Traceback")), None)
    if frames is not None:
        # of a chain of exceptions the last is the one that ended the job
        names = [i for i, line in enumerate(told) if i > frames and re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
        told = [*told[:frames], *told[names[-1] if names else -1 :]]
    return [*lines[max(begin - 2, 0) : begin], *told[:LINES]]


def done(run: Path) -> str:
    """Of a run that is done, in its folder: the page, the headline, what to do next; empty where it made no page."""
    page, summary = run / "report/index.html", run / "report/summary.json"
    if not (page.is_file() and summary.is_file()):
        return ""
    lines = json.loads(summary.read_text(encoding="utf-8"))["headline"]
    further = [
        "read clusters in the report and name some: figures.labels puts your names into the figures",
        f'in Python: quanta.load("{run}"), docs/notebook/results.ipynb',
        "your own models and texts: config/custom.yaml; every key: config/README.md",
    ]
    return "\n".join(
        ["", f"Report: {page.resolve()}", *(f"  {line}" for line in lines), "Next", *(f"  {line}" for line in further)]
    )


def last_words(logs: Sequence[str | Path]) -> str:
    """Of a run that failed; empty where no job did, because another error has been said already. `logs` are Snakemake's own."""
    files = [path for path in map(Path, logs) if path.exists()]
    snakemake_log = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in files)
    parts = []
    for path, rule in failed(snakemake_log).items():
        file = Path(path)
        lines = last_lines(file.read_text(encoding="utf-8", errors="replace")) if file.is_file() else [SILENT]
        parts.append("\n".join([f"{rule} failed; its log, {path}, ends with", *(f"  {line}" for line in lines)]))
    if not parts:
        return ""
    return "\n\n".join(["", *parts, "After the fix, type the same command again. Finished jobs are kept.\n"])
