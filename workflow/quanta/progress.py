"""Progress lines of long jobs: what is done, how fast, how long it will take.

On a terminal one line is written over and over; a log gets a line now and then, ever less often.
"""

import logging
import shutil
import sys
import time

log = logging.getLogger("quanta")
PASSING = {"passing": True}  # marks lines of the log that a terminal has seen already
CLEAR = "\r\x1b[K"
LONGEST = 600.0  # seconds between two lines of a log


def clock(seconds: float) -> str:
    """Minutes and seconds, hours before them where there are any."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _count(number: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / limit * (10 if unit == 'k' else 1):.1f}{unit}"
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")


class Progress:
    """Say how far a job is: `Progress("losses of neox-1m", 512000, "tokens")`, then `advance(n)`, then `done()`."""

    def __init__(self, label: str, total: int, unit: str, every_seconds: float = 10.0) -> None:
        self.label, self.total, self.unit, self.pause = label, total, unit, every_seconds
        self.count = self.skipped = 0
        self.began = self.said = self.shown = time.monotonic()

    @property
    def rate(self) -> float:
        """Units per second since the start."""
        return (self.count - self.skipped) / max(time.monotonic() - self.began, 1e-9)

    def skip(self, number: int) -> None:
        """Count `number` that were done in an earlier run: they do not make this one faster."""
        self.count += number
        self.skipped += number
        log.info("%s: continues at %s of %s %s", self.label, _count(self.count), _count(self.total), self.unit)

    def advance(self, number: int = 1, note: str = "") -> None:
        """Count `number` more, and say so where the last time is long enough ago. `note` is appended."""
        self.count += number
        now = time.monotonic()
        if now - self.shown >= 0.5 and sys.stderr.isatty():
            self.shown = now
            width = shutil.get_terminal_size().columns - 1
            # back to the start of the line, so that what others print next is written over it
            sys.stderr.write(f"{CLEAR}{self._line(note)[:width]}\r")
            sys.stderr.flush()
        if now - self.said >= self.pause:
            self.said = now
            self.pause = min(max(self.pause, (now - self.began) / 2), LONGEST)
            log.info("%s", self._line(note), extra=PASSING)

    def _line(self, note: str) -> str:
        left = clock((self.total - self.count) / self.rate) if self.rate else "?"
        return (
            f"{self.label}: {_count(self.count)} of {_count(self.total)} {self.unit} "
            f"({100 * self.count / max(self.total, 1):.0f} %), {_count(self.rate)} {self.unit}/s, {left} left"
            + (f", {note}" if note else "")
        )

    def done(self, note: str = "") -> None:
        """Log the last line: total, time and rate."""
        log.info(
            "%s: %s %s in %s, %s %s/s%s",
            *(self.label, _count(self.count), self.unit, clock(time.monotonic() - self.began)),
            *(_count(self.rate), self.unit, f", {note}" if note else ""),
        )
