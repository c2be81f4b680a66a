"""What a user reads when a run has failed: of each job that did, what its log says last, and what to do.

Read from Snakemake's own log, which names the logs of the jobs. Imported while Snakemake parses: nothing heavy here.
"""

import re
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


def last_words(snakemake_log: str) -> str:
    """All of it as text; empty where no job failed, because another error has been said already."""
    parts = []
    for path, rule in failed(snakemake_log).items():
        file = Path(path)
        lines = last_lines(file.read_text(encoding="utf-8", errors="replace")) if file.is_file() else [SILENT]
        parts.append("\n".join([f"{rule} failed; its log, {path}, ends with", *(f"  {line}" for line in lines)]))
    if not parts:
        return ""
    return "\n\n".join(["", *parts, "Mended, the same command goes on from here: what is done stays done.\n"])
