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


def test_one_net_and_all_nets_are_scores_of_their_own_and_held_out_languages_are_averaged():
    scores = FACTS["Scores"]()
    name, way = "√|g|, first attention", "neighbours, spectral"
    row = {"assignment": way, "condition": "base", "factor": 1}
    rows = [
        row | {"set": f"language {n}", "draw": n, "affinity": name, "adjusted_rand": 0.5 + n / 10} for n in (0, 1, 2)
    ]
    rows += [one | {"affinity": f"{name}, all nets", "adjusted_rand": 0.9} for one in rows]
    scores.table, scores.languages = pd.DataFrame(rows), [0, 1, 2]
    assert scores.of((name, way), "language 2").tolist() == [0.7]
    assert scores.held_out_languages((name, way)).tolist() == [0.6, 0.7]
    assert scores.held_out_languages((f"{name}, all nets", way)).tolist() == [0.9, 0.9]
    assert "mean of 1 to 2" in FACTS["languages_table"](scores)


def test_a_run_replaces_the_rows_of_another_true_number_and_of_another_chosen_number(tmp_path):
    record = FACTS["record"]
    record.__globals__["HERE"] = tmp_path
    keys, columns = FACTS["KEYS"], ["adjusted_rand", "n_clusters"]
    row = dict.fromkeys(keys, "x") | {"factor": 1.0, "condition": "base", "adjusted_rand": 0.1, "n_clusters": 30}
    chosen = row | {"condition": "as they occur, number by silhouette", "factor": 2.0}
    skill = dict.fromkeys(FACTS["KEYS_OF_SKILLS"], "x") | {"recall": 0.1}
    pd.DataFrame([row, chosen])[keys + columns].to_csv(tmp_path / "scores.csv", index=False)
    pd.DataFrame([skill]).to_csv(tmp_path / "skills.csv", index=False)
    (tmp_path / "run").mkdir()
    later = pd.DataFrame(
        [row | {"n_clusters": 32, "adjusted_rand": 0.2}, chosen | {"factor": 3.0, "adjusted_rand": 0.2}]
    )
    later[keys + columns].to_csv(tmp_path / "run/scores.csv", index=False)
    pd.DataFrame([skill]).to_csv(tmp_path / "run/skills.csv", index=False)
    record([str(tmp_path / "run/scores.csv")])
    assert pd.read_csv(tmp_path / "scores.csv")["adjusted_rand"].tolist() == [0.2, 0.2]
    record.__globals__["HERE"] = FOLDER


@pytest.mark.parametrize("language", range(5))
def test_every_method_was_scored_on_every_language(language):
    scores = pd.read_csv(FOLDER / "scores.csv")
    mine = scores[(scores["set"] == f"language {language}") & (scores["condition"] == "base")]
    mine = mine[(mine["truth"] == "skill") & (mine["factor"] == 1)]
    found = set(zip(mine["affinity"], mine["assignment"], strict=True))
    assert {(affinity, way) for affinity in AFFINITIES for way in ASSIGNMENTS} <= found and len(mine) == len(found)
