"""A cluster's own settings that a run would trip over only after hours."""

import re
import subprocess

from quanta.errors import QuantaError

LONGEST_PAUSE = 180  # s between two looks at the queue (snakemake-executor-plugin-slurm 2.8.0)


def check_queue(status_command: str | None) -> None:
    """Refuse a queue that forgets ended jobs before the plugin looks again: the run would wait for them for ever.

    Args:
        status_command: what the plugin asks; only `squeue` forgets.

    Raises:
        QuantaError: Slurm's MinJobAge is too short.
    """
    if status_command != "squeue":
        return
    command = ["scontrol", "show", "config"]
    try:
        shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout  # noqa: S603 (a fixed command)
    except (OSError, subprocess.SubprocessError):
        return  # the plugin says what is wrong with a Slurm that does not answer
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", shown, re.MULTILINE)
    if found and int(found[1]) <= LONGEST_PAUSE:
        raise QuantaError(
            "Slurm's MinJobAge",
            f"{found[1]} s, after which squeue forgets a job that has ended",
            f"more than {LONGEST_PAUSE} s, the longest pause between two looks",
            "set slurm-status-command: sacct in slurm/config.yaml",
        )
