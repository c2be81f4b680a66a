"""The table of docs/known-skills.md is that of the recorded scores."""

import pandas as pd
import pytest
from support import ROOT

COLUMNS = {"language 0": ("language", [0]), "parity 0": ("parity", [0]), "parity, held out": ("parity", [4, 5, 6]),
           "without code 0": ("parity, without code", [0]), "without code, held out": ("parity, without code", [4, 5, 6])}  # fmt: skip


def test_the_table_of_the_page_is_what_was_recorded():
    scores = pd.read_csv(ROOT / "docs/results/known-skills/scores.csv")
    scores = scores[(scores["condition"] == "base") & (scores["factor"] == 1) & (scores["truth"] == "skill")]
    lines = (ROOT / "docs/known-skills.md").read_text(encoding="utf-8").splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("| affinity | assignment"))
    heads = [cell.strip() for cell in lines[begin].strip("|").split("|")]
    compared = 0
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip().replace("\0", "|") for cell in line.replace("\\|", "\0").strip("|").split("|")]
        row = dict(zip(heads, cells, strict=True))
        mine = scores[(scores["affinity"] == row["affinity"]) & (scores["assignment"] == row["assignment"])]
        for head, (name, draws) in COLUMNS.items():
            found = mine[(mine["set"] == name) & mine["draw"].isin(draws)]["adjusted_rand"]
            if len(found) and row[head] != "–":
                number, marked = row[head].removesuffix(" †"), row[head].endswith(" †")
                assert float(number.replace("−", "-")) == pytest.approx(found.mean(), abs=0.0051), (row, head)
                assert marked == (len(found) < len(draws)), (row, head)
                compared += 1
    assert compared > 80
