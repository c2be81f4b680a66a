"""Cards: which GPU a job computes on, and how much fits its memory.

Snakemake counts GPUs and hands out none by number: two jobs on one machine would both take the first. So a job locks a
card before it uses one. The lock is the kernel's: it ends with the process, however that ends.
"""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from quanta.errors import QuantaError

log = logging.getLogger("quanta")
VISIBLE = "CUDA_VISIBLE_DEVICES"
# the job of a scheduler; its numbers of cards may be its own (cgroups), so that locks of two jobs must not meet
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


class Hold(NamedTuple):
    """A locked card. The lock ends when `lock` is closed, also by the end of the process: whoever uses the card keeps this."""

    card: str
    lock: IO[str]


def candidates(environment: Mapping[str, str], count: Callable[[], int]) -> list[str]:
    """Names of the cards that this process may use: what it was given, else all of the machine."""
    given = environment.get(VISIBLE)
    if given is None:
        return [str(number) for number in range(count())]
    return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]


def lock_folder(environment: Mapping[str, str]) -> Path:
    """Where this machine's locks of this user lie, a scheduler's job by itself."""
    job = next((f"-job{environment[name]}" for name in SCHEDULERS if environment.get(name)), "")
    name = f"quanta-cards-{os.getuid()}{job}".replace("/", "_")
    return Path(tempfile.gettempdir()) / name


def take(cards: Sequence[str], folder: Path, *, pause: float = 1.0) -> Hold:
    """Lock one of `cards` (at least one), the first that is free, and wait while none is.

    Returns:
        the card's name, and the open file that holds the lock until it is closed or the process ends.

    Raises:
        QuantaError: the folder is somebody else's, whose locks could hold this process for ever.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (owner := folder.lstat().st_uid) != os.getuid():
        raise QuantaError(
            str(folder),
            f"a folder of the user with the number {owner}",
            f"one of this user ({os.getuid()}), for locks of GPUs",
            "remove it, or set TMPDIR to a folder of your own",
        )
    waiting = False
    while True:
        for card in cards:
            stream = (folder / f"{card.replace('/', '_')}.lock").open("a")
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.close()
                continue
            return Hold(card, stream)
        if not waiting:
            log.info(
                "waits for a GPU: %s in use by other jobs; --resources gpu=%d starts no more jobs than there are",
                ", ".join(cards),
                len(cards),
            )
        waiting = True
        time.sleep(pause)


def settle(wanted: int, count: Callable[[], int]) -> Hold | None:
    """Give this process a card if it asks for one and there is one, and hide all others from CUDA.

    To be called before CUDA starts. `count` gives the number of the machine's cards, and is asked only where no list
    was given to the process.

    Returns:
        the card and its lock, which the caller keeps; None if the process computes on the CPU.
    """
    cards = candidates(os.environ, count) if wanted else []
    hold = take(cards, lock_folder(os.environ)) if cards else None
    os.environ[VISIBLE] = hold.card if hold else ""
    return hold
