import json

import numpy as np
import pytest
from quanta.config import members as settings
from quanta.scaling import recurrence
from support import counted_as_nominal, settled

LIMITS = {"above": 5.0, "below": 0.3, "drop": 1.0, "share": 0.5}


def noisy(signal, noise, n_tokens=4000, n_seeds=3, seed=0):
    """Curves (seed, 3 scales, token): a drop shared by all seeds, and noise of each."""
    rng = np.random.default_rng(seed)
    shared = 6 - np.cumsum(rng.normal(0, signal, (3, n_tokens)), axis=0)
    return np.abs(shared[None] + rng.normal(0, noise, (n_seeds, 3, n_tokens))), np.repeat(np.arange(n_tokens // 20), 20)


def compared(curves, document, draws=100):
    table = recurrence.compare(curves, list(range(len(curves))), document, **LIMITS, draws=draws, seed=0)
    return table.set_index(["kind", "threshold_nats", "recurs_in"]).sort_index()


def test_what_all_seeds_share_recurs_in_all_of_them():
    curves, document = noisy(1.0, 0.0)
    table = compared(curves, document)
    seen = table[table["n"] > 0]
    assert len(seen) > 20 and (seen["share"] == 1).all() and (seen["n"] == seen["n_other"]).all()
    assert recurrence.correlation(curves) == pytest.approx([1, 1])


def test_luck_recurs_as_often_as_independence_says():
    curves, document = noisy(0.0, 1.0, n_tokens=20000)
    table = compared(curves, document).loc["drop", 1.0]
    row = table.loc[recurrence.ANOTHER]
    assert row["low"] < row["expected"] < row["high"] and row["share"] == pytest.approx(row["expected"], abs=0.02)
    assert table.loc[recurrence.AVERAGE, "share"] > 1.3 * table.loc[recurrence.AVERAGE, "expected"], (
        "it holds the seed's own luck"
    )
    assert table.loc[recurrence.OTHERS, "share"] == pytest.approx(table.loc[recurrence.OTHERS, "expected"], abs=0.02)


def test_intervals_hold_the_share_as_often_as_they_say_where_texts_differ():
    """Of 200 corpora, drops of some texts recur and those of others do not: whole texts must be drawn, not tokens."""
    covered, by_token, number, share = 0, 0, 200, 0.5
    for seed in range(number):
        rng = np.random.default_rng(seed)
        text = np.repeat(np.arange(80), rng.integers(2, 30, 80))
        likely = rng.beta(0.8, 0.8, 80)[text]
        first, second = np.ones((1, len(text)), dtype=bool), (rng.random(len(text)) < likely)[None]
        for groups in (text, np.arange(len(text))):
            found = recurrence.recurrence([(first, second)], groups, draws=200, seed=seed)
            held = found["low"] <= share <= found["high"]
            covered, by_token = covered + held * (groups is text), by_token + held * (groups is not text)
    assert counted_as_nominal(covered, number)
    assert by_token < 0.6 * number


def test_more_luck_recurs_less_and_higher_thresholds_pick_more_of_it():
    shares = [compared(*noisy(0.6, noise)).loc[("drop", 1.0, recurrence.ANOTHER), "share"] for noise in (0.1, 0.4, 1.0)]
    assert shares[0] > shares[1] > shares[2]
    table = compared(*noisy(0.6, 0.6, n_tokens=20000))
    assert table.loc[("drop", 0.5, recurrence.ANOTHER), "share"] > table.loc[("drop", 2.0, recurrence.ANOTHER), "share"]


def test_monogenic_tokens_are_those_of_the_definition():
    curves = np.full((2, 3, 40), 4.0)
    curves[0, :, :10] = np.array([6.0, 6.0, 0.1])[:, None]
    curves[1, :, :5] = np.array([6.0, 0.2, 0.1])[:, None]
    row = compared(curves, np.arange(40)).loc[("monogenic", 5.0, "seed 1")]
    assert row["n"] == 10 and row["n_other"] == 5 and row["share"] == 0.5 and row["expected"] == 5 / 40


def test_the_table_of_drops_holds_every_pair_once_and_is_symmetric():
    curves, _ = noisy(1.0, 0.5, n_tokens=500)
    table = recurrence.drops_table(curves)
    assert table["n"].sum() == 2 * 6 * 500
    grid = table[table["step"] == 0].pivot(index="drop_nats", columns="other_nats", values="n").fillna(0)
    assert grid.equals(grid.T.rename_axis(index="drop_nats", columns="other_nats"))


def ladder(*sizes):
    steps = {"steps": 2048, "sizes": [{"heads": 2, "layers": 1, "width": width, "seed": seed, "name": name}
                                      for name, width, seed in sizes]}  # fmt: skip
    return settled(
        models={"source": "train", "train": steps}, dynamics={"model": None}, qdg={"model": sizes[0][0]},
    )  # fmt: skip


def test_only_sizes_with_the_same_several_seeds_take_part():
    config = ladder(("b", 16, 0), ("a", 8, 0), ("a1", 8, 1), ("b1", 16, 1), ("b2", 16, 2), ("c", 32, 0))
    assert settings.seeded(config) == {0: ["a", "b"], 1: ["a1", "b1"]}
    assert settings.seeded(ladder(("a", 8, 0), ("a1", 8, 1), ("b", 16, 0))) == {}, "one size has no drop"
    assert settings.seeded(ladder(("a", 8, 0), ("a1", 8, 1), ("b", 16, 1), ("b2", 16, 2))) == {}, "one seed is shared"


def test_seeds_of_a_given_folder_are_those_of_its_table(tmp_path):
    rows = [("a", 0, 10), ("a1", 1, 10), ("b", 0, 20), ("b1", 1, 20), ("c", 0, 40)]
    lines = ["model,step,seed,non_embedding_parameters,sha256", *(f"{m},9,{s},{n},00" for m, s, n in rows)]
    (tmp_path / "family.csv").write_text("\n".join(lines) + "\n")
    config = settled(
        models={"source": "folder", "folder": {"path": str(tmp_path), "final_step": 9}},
        dynamics={"model": None}, qdg={"model": "c"},
    )  # fmt: skip
    assert settings.seeded(config) == {0: ["a", "b"], 1: ["a1", "b1"]}
    assert json.loads(json.dumps(settings.seeded(config))) == {"0": ["a", "b"], "1": ["a1", "b1"]}
