"""The record that docs/known-skills.md has its tables of is whole where the page says so."""

import runpy

import pandas as pd
import pytest
from quanta.known_skills.affinities import AFFINITIES
from quanta.known_skills.assignments import ASSIGNMENTS
from support import ROOT

FOLDER = ROOT / "docs/results/known-skills"
FACTS = runpy.run_path(str(FOLDER / "facts.py"))


@pytest.mark.parametrize("draw", [0, 4, 5, 6])
@pytest.mark.parametrize("name", ["parity", "parity, without code"])
def test_every_method_was_scored_on_parity(name, draw):
    scores = pd.read_csv(FOLDER / "scores.csv")
    mine = scores[(scores["set"] == name) & (scores["draw"] == draw) & (scores["condition"] == "base")]
    mine = mine[(mine["truth"] == "skill") & (mine["factor"] == 1)]
    found = set(zip(mine["affinity"], mine["assignment"], strict=True))
    assert {(affinity, way) for affinity in AFFINITIES for way in ASSIGNMENTS} <= found
    assert len(mine) == len(found)


def test_lines_of_the_table_are_registered_methods():
    for affinity, way in FACTS["LINES"]:
        assert affinity in AFFINITIES or affinity in ("baseline: target", "baseline: bigram")
        assert way in ASSIGNMENTS or way == "as it is"


def test_rows_of_a_run_replace_those_of_the_same_keys_and_others_stay(tmp_path, monkeypatch):
    record = FACTS["record"]
    monkeypatch.setitem(record.__globals__, "HERE", tmp_path)
    keys, columns = FACTS["KEYS"], ["adjusted_rand"]
    one = dict.fromkeys(keys, "x") | {"factor": 1, "adjusted_rand": 0.1}
    skill = dict.fromkeys(FACTS["KEYS_OF_SKILLS"], "x") | {"recall": 0.1}
    pd.DataFrame([one, one | {"set": "other"}]).to_csv(tmp_path / "scores.csv", index=False)
    pd.DataFrame([skill]).to_csv(tmp_path / "skills.csv", index=False)
    (tmp_path / "run").mkdir()
    pd.DataFrame([one | {"adjusted_rand": 0.25}])[keys + columns].to_csv(tmp_path / "run/scores.csv", index=False)
    pd.DataFrame([skill | {"recall": 0.5}]).to_csv(tmp_path / "run/skills.csv", index=False)
    record([str(tmp_path / "run/scores.csv")])
    assert pd.read_csv(tmp_path / "scores.csv").set_index("set")["adjusted_rand"].to_dict() == {"x": 0.25, "other": 0.1}
    assert pd.read_csv(tmp_path / "skills.csv")["recall"].tolist() == [0.5]


def test_with_one_net_both_names_of_an_affinity_are_one_score():
    scores = FACTS["Scores"]()
    name, way = "√|g|, first attention", "neighbours, spectral"
    row = {"set": "language 2", "draw": 2, "assignment": way, "condition": "base", "factor": 1, "adjusted_rand": 0.5}
    both = [row | {"affinity": name}, row | {"affinity": f"{name}, all nets"}]
    scores.table, scores.languages = pd.DataFrame(both), [0, 2]
    assert scores.of((name, way), "language 2").tolist() == [0.5]
    scores.table = pd.DataFrame(both[1:])
    assert scores.held_out_languages((name, way)).tolist() == [0.5]
    assert "mean of 1 to 2" in FACTS["languages_table"](scores)
