import io
import itertools
import logging
import re
from types import SimpleNamespace

import pytest
from quanta import progress


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when it is told to."""
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_log_gets_ever_fewer_lines_and_never_none_for_long(clock, caplog):
    caplog.set_level(logging.INFO, logger="quanta")
    bar = progress.Progress("training x", 100_000, "tokens")
    times = []
    for second in range(1, 36_001):
        clock[0] = second
        before = len(caplog.records)
        bar.advance(1)
        times += [second] * (len(caplog.records) - before)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert times[0] == 10 and gaps == sorted(gaps), "soon at first, then less often"
    assert max(gaps) <= progress.LONGEST + 1 and len(times) < 100, "ten hours in fewer than a hundred lines"
    assert all(record.passing for record in caplog.records), "a terminal, which has its own line, leaves them out"


def test_on_a_terminal_one_line_is_written_over_and_over(clock, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "60")
    bar = progress.Progress("training of a model with a long name", 1000, "tokens")
    for tick in range(1, 1001):
        clock[0] = tick / 10
        bar.advance(1, note="loss 3.141 nats")
    text = screen.getvalue()
    assert "\n" not in text
    lines = text.split(progress.CLEAR)[1:]
    assert 150 <= len(lines) <= 200, "twice a second, not each time"
    assert all(line.endswith("\r") and len(line) <= 60 for line in lines), "no line wraps"
    assert "1000 of 1000 tokens" in lines[-1]


def test_no_line_is_written_where_nobody_looks(clock, capsys, caplog):
    bar = progress.Progress("x", 10, "tokens")
    for tick in range(10):
        clock[0] = tick
        bar.advance(1)
    assert capsys.readouterr().err == ""


def test_what_an_earlier_run_did_makes_this_one_no_faster(clock, caplog):
    caplog.set_level(logging.INFO, logger="quanta")
    bar = progress.Progress("x", 1000, "tokens")
    bar.skip(900)
    clock[0] = 10
    bar.advance(50)
    assert bar.rate == 5
    assert re.search(r"950 of 1000 tokens \(95 %\), 5 tokens/s, 0:10 left", caplog.messages[-1])
    bar.done()
    assert "in 0:10, 5 tokens/s" in caplog.messages[-1]
