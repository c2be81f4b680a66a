"""Runs a script's `main` under Snakemake: logging, numerical threads, errors without frames, no orphans."""

import errno
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from threadpoolctl import threadpool_limits

from quanta import progress
from quanta.devices import keep_freed_memory
from quanta.errors import QuantaError
from quanta.jobs import gpu_locks
from quanta.storage import checksums

THREADS = 1  # results of eigh and of a backward pass depend on it, so it is no option (docs/architecture.md)
PARENT = "QUANTA_SNAKEMAKE_PID"
FULL = {errno.ENOSPC, errno.EDQUOT}
NO_ROOM = re.compile(r"No space left on device|quota exceeded|\d+ requested and \d+ written", re.IGNORECASE)
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_hold: gpu_locks.Hold | None = None  # of the card that the job computes on: one per process, as CUDA has it
FREE = ("batch_tokens",)  # resources that scripts see as params: no result depends on them, and no change reruns
ONLINE = ("pin", "pins", "fetch", "fetch_texts")  # the only rules that touch the network


def prepare(library: str) -> None:
    """Set the environment of the jobs that this Snakemake process starts.

    Scripts find the library without its being installed, and end when the process that started them is gone.
    """
    paths = [library, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(path for path in paths if path))
    os.environ[PARENT] = str(os.getpid())
    os.environ.setdefault(
        "HF_HUB_DISABLE_PROGRESS_BARS", "1"
    )  # a log keeps every state of a bar; transformers obeys too


def run(main: Callable[[Any, Any, Any], None], snakemake: Any) -> None:
    """Call `main(inputs, outputs, params)`. A QuantaError is printed as it is and ends the job with status 1."""
    _log_to(snakemake.log[0] if snakemake.log else None, snakemake.rule)
    _die_with(os.environ.get(PARENT))
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    if snakemake.rule not in ONLINE:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    log = logging.getLogger("quanta")
    try:
        if "torch" in sys.modules:
            _settle_torch(_gpus(snakemake.resources))
        checksums.check(snakemake.input)
        with threadpool_limits(THREADS):
            main(snakemake.input, snakemake.output, _with_free(snakemake.params, snakemake.resources))
        checksums.record(snakemake.output)
    except QuantaError as error:
        log.error("%s: %s", snakemake.rule, error)
        sys.exit(1)
    except Exception as error:
        if (known := _disk(error, snakemake.input, snakemake.output)) is not None:
            log.error("%s: %s", snakemake.rule, known)
        else:
            log.exception("%s failed; this is a defect of Quanta or of the machine, not of the input", snakemake.rule)
        sys.exit(1)


def _disk(error: Exception, inputs: Sequence[str], outputs: Sequence[str]) -> QuantaError | None:
    """What a user reads when a disk is full, or a file may not be read or written; None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    named = getattr(error, "filename", None)
    file = Path(os.fsdecode(named) if isinstance(named, str | bytes) else next(iter(outputs), "."))
    # some libraries pass on the text alone
    if number in FULL or (number is None and NO_ROOM.search(str(error))):
        found = error.strerror if isinstance(error, OSError) and number else str(error)
        return QuantaError(str(file.parent), f"{found}", "space for the outputs", "free some space, then start again")
    if number not in CLOSED:
        return None
    if named and any(file == one or file.is_relative_to(one) for one in map(Path, inputs)):
        return QuantaError(
            str(file), f"{os.strerror(number)}", "a file that this user may read", "let it be read, then start again"
        )
    return QuantaError(
        str(file.parent), f"{os.strerror(number)}", "a folder that can be written", "make it so, then start again"
    )


def _with_free(params: Any, resources: Any) -> Any:
    """The params, with those resources that only say how a result is made."""
    for name in FREE:
        if resources.get(name) is not None:
            setattr(params, name, int(resources.get(name)))
    return params


def _gpus(resources: Any) -> int:
    """Cards that the rule asks for: by number, or as a scheduler's generic resource ("gpu:h100:1")."""
    return int(resources.get("gpu") or str(resources.get("gres") or "").startswith("gpu"))


def device() -> str:
    """Where a model goes, "cuda" or "cpu"; which one, and why, is logged.

    The GPU, if the rule asks for one (its resource `gpu`) and the machine has one; else the CPU. `run` has locked the
    card before, and CUDA sees no other.
    """
    import torch

    log = logging.getLogger("quanta")
    if _hold is not None and torch.cuda.is_available():
        log.info("runs on GPU %s, %s", _hold.card, torch.cuda.get_device_name())
        return "cuda"
    log.info("runs on the CPU%s", "" if _hold is None else f": CUDA cannot use GPU {_hold.card} that the job was given")
    return "cpu"


def _settle_torch(gpu: int) -> None:
    global _hold
    import torch

    _hold = gpu_locks.settle(gpu, torch.cuda.device_count)
    keep_freed_memory()

    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(_hold is None or not torch.cuda.is_available())
    # filling fresh memory costs a third of the training of small models, and nothing here reads it unwritten
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010 (a property of the module, unknown to mypy)


class _Brief(logging.Formatter):
    """What a user reads: the message, and of an unexpected exception its name and no frames; those stand in the log."""

    def format(self, record: logging.LogRecord) -> str:
        """One record; on a terminal over the line of progress that may stand there."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f"\n  {type(record.exc_info[1]).__name__}: {record.exc_info[1]}\n  where: the end of the job's log"
        return (progress.CLEAR if sys.stderr.isatty() else "") + text


def _log_to(path: str | None, rule: str) -> None:
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(_Brief())
    stream.addFilter(lambda record: not (getattr(record, "passing", False) and sys.stderr.isatty()))
    handlers: list[logging.Handler] = [stream]
    if path:
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
        handlers[1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("quanta").setLevel(logging.INFO)
    logging.captureWarnings(True)


def _die_with(parent: str | None) -> None:
    """End this process when Snakemake is gone: an orphan would write beside the job that replaces it."""
    if not parent or not parent.isdigit():
        return

    def watch() -> None:
        while _alive(int(parent)):
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:  # killed, but not yet collected by its own parent
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
