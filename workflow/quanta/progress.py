"""Progress lines of long jobs: what is done, how fast, how long it will take."""

import logging
import time

log = logging.getLogger("quanta")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _count(number: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= limit:
            return f"{number / limit * (10 if unit == 'k' else 1):.1f}{unit}"
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}".removesuffix(".0")


class Progress:
    """Log a line every few seconds: `Progress("losses of neox-1m", 512000, "tokens")`, then `advance(n)`, then `done()`."""

    def __init__(self, label: str, total: int, unit: str, every_seconds: float = 10.0) -> None:
        self.label, self.total, self.unit, self.every = label, total, unit, every_seconds
        self.count = self.skipped = 0
        self.began = self.said = time.monotonic()

    @property
    def rate(self) -> float:
        """Units per second since the start."""
        return (self.count - self.skipped) / max(time.monotonic() - self.began, 1e-9)

    def skip(self, number: int) -> None:
        """Count `number` that were done in an earlier run: they do not make this one faster."""
        self.count += number
        self.skipped += number
        log.info("%s: goes on at %s of %s %s", self.label, _count(self.count), _count(self.total), self.unit)

    def advance(self, number: int = 1, note: str = "") -> None:
        """Count `number` more; log a line if the last one is old enough. `note` is appended to it."""
        self.count += number
        now = time.monotonic()
        if now - self.said >= self.every:
            self.said = now
            left = _clock((self.total - self.count) / self.rate) if self.rate else "?"
            share = 100 * self.count / max(self.total, 1)
            log.info(
                "%s: %s of %s %s (%.0f %%), %s %s/s, %s left%s",
                *(self.label, _count(self.count), _count(self.total), self.unit, share),
                *(_count(self.rate), self.unit, left, f", {note}" if note else ""),
            )

    def done(self, note: str = "") -> None:
        """Log the last line: total, time and rate."""
        log.info(
            "%s: %s %s in %s, %s %s/s%s",
            *(self.label, _count(self.count), self.unit, _clock(time.monotonic() - self.began)),
            *(_count(self.rate), self.unit, f", {note}" if note else ""),
        )
