"""docs/promises.md: every test that it names exists, and every other row has a command."""

import re

from support import ROOT

PAGE = (ROOT / "docs/promises.md").read_text(encoding="utf-8")
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
}


def test_every_test_that_the_page_names_exists():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) >= 50
    assert not named - TESTS


def test_every_promise_has_a_test_or_a_command():
    promises = PAGE.split("## Mutations")[0]
    rows = [line.split("|") for line in promises.splitlines() if line.startswith("| ") and "| test |" not in line]
    assert len(rows) >= 50
    for row in rows:
        answer = row[-2].strip()
        assert re.search(r"`test_\w+`", answer) or re.fullmatch(r"by hand.*: `[^`]+`", answer), row[1]
