import logging
import runpy
from types import SimpleNamespace

import pandas as pd
import pytest
from quanta.calibration import naive_slopes, regression, shipped, shipped_slopes, simulations
from quanta.clustering import assignment
from quanta.config import schema
from quanta.errors import QuantaError
from quanta.storage import code, files
from support import ROOT, SCRIPTS

MEND = "make them anew: PYTHONPATH=workflow OMP_NUM_THREADS=1 python resources/calibration/make.py"


@pytest.fixture(scope="module")
def defaults():
    return schema.settle({}, schema.read_schema(ROOT / "config/schema.yaml"))


def test_shipped_simulations_fit_the_code_and_the_default_settings(defaults):
    tokens, seed = min(defaults["calibration"]["tokens"], defaults["qdg"]["tokens"]), defaults["seed"]
    table = shipped.read("simulations", shipped.of_simulations(tokens, seed=seed))
    assert table is not None, MEND
    assert table["simulation"].tolist() == list(range(defaults["calibration"]["simulations"]))
    assert (table["planted_n_tokens"] == tokens).all()
    assert sum(path.stat().st_size for path in shipped.FOLDER.iterdir()) < 2_000_000
    again = shipped.simulate([17], len(table), tokens, seed=seed)
    pd.testing.assert_frame_equal(again, table.iloc[[17]].reset_index(drop=True))


def test_shipped_slopes_fit_the_code_and_the_default_settings(defaults):
    qdg, tokens = defaults["qdg"], min(defaults["calibration"]["tokens"], defaults["qdg"]["tokens"])
    how = assignment.Assignment(qdg["assign"], qdg["rows"], qdg["restarts"])
    ks = [k for k in qdg["n_clusters"] if k < tokens]
    table = shipped.read(
        "slopes", shipped_slopes.of_slopes(tokens, ks, tuple(qdg["rank_shares"]), how, seed=defaults["seed"])
    )
    assert table is not None, MEND
    made = files.read_table(shipped.FOLDER / "simulations.parquet")
    assert table["simulation"].tolist() == naive_slopes.spread_over_alpha(made, defaults["calibration"]["clustered"])


@pytest.fixture
def folder(tmp_path):
    shipped.write(
        "simulations", simulations.simulate(range(12), 60, seed=3), shipped.of_simulations(60, seed=3), tmp_path
    )
    return tmp_path


@pytest.fixture
def counted(monkeypatch):
    """Numbers of the simulations that are made."""
    numbers = []
    plain = simulations.simulate

    def simulate(some, *args, **settings):
        numbers.extend(some)
        return plain(some, *args, **settings)

    monkeypatch.setattr(simulations, "simulate", simulate)
    return numbers


def test_shipped_rows_are_what_would_be_made_and_a_few_are_checked(folder, counted):
    parts = [shipped.simulate(range(part, 12, 2), 12, 60, seed=3, folder=folder) for part in (0, 1)]
    assert counted == [0, 4, 7, 11] * 2, "each part checks the same"
    whole = pd.concat(parts).sort_values("simulation", ignore_index=True)
    pd.testing.assert_frame_equal(whole, simulations.simulate(range(12), 60, seed=3))


def test_more_simulations_than_were_shipped_are_made_beyond(folder, counted):
    found = shipped.simulate(range(1, 16, 2), 16, 60, seed=3, folder=folder)
    assert sorted(set(counted)) == [0, 4, 7, 11, 13, 15]
    pd.testing.assert_frame_equal(found, simulations.simulate(range(1, 16, 2), 60, seed=3))


@pytest.mark.parametrize(("tokens", "seed"), [(61, 3), (60, 4)])
def test_other_settings_are_simulated(folder, counted, tokens, seed):
    shipped.simulate(range(5), 5, tokens, seed=seed, folder=folder)
    assert counted == [0, 1, 2, 3, 4]


def test_other_code_is_simulated(folder, counted, monkeypatch):
    monkeypatch.setattr(code, "digest_of", lambda module: "another")
    shipped.simulate(range(5), 5, 60, seed=3, folder=folder)
    assert counted == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("column", "by"), [("pairs_0.3", 0.5), ("planted_alpha", 0.2), ("mode", float("nan"))])
def test_where_this_machine_finds_other_numbers_all_are_made_here(folder, counted, caplog, column, by):
    table = files.read_table(folder / "simulations.parquet")
    table.loc[7, column] += by
    shipped.write("simulations", table, shipped.of_simulations(60, seed=3), folder)
    with caplog.at_level(logging.WARNING):
        found = shipped.simulate(range(12), 12, 60, seed=3, folder=folder)
    assert counted == [0, 4, 7, 11, *range(12)] and f"simulation 7 of resources/calibration has {column}" in caplog.text
    pd.testing.assert_frame_equal(found, simulations.simulate(range(12), 60, seed=3))


def test_last_digits_of_another_processor_are_no_difference(folder, counted):
    table = files.read_table(folder / "simulations.parquet")
    names = simulations.summary_names(table)
    table[names] += 1e-4 * table[names].std()
    shipped.write("simulations", table, shipped.of_simulations(60, seed=3), folder)
    pd.testing.assert_frame_equal(shipped.simulate(range(12), 12, 60, seed=3, folder=folder), table)
    assert len(counted) == 4


def test_a_damaged_file_is_not_used(folder, counted, caplog):
    path = folder / "simulations.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with caplog.at_level(logging.WARNING):
        shipped.simulate(range(5), 5, 60, seed=3, folder=folder)
    assert counted == [0, 1, 2, 3, 4] and "is not used" in caplog.text


def test_shipped_slopes_are_checked_by_one_and_belong_to_their_settings(tmp_path, monkeypatch):
    ks, shares, how = [2, 4, 8], (0.01, 0.2), assignment.MAIN
    table = naive_slopes.slopes([5, 1, 3], 60, ks, shares, seed=3)
    shipped.write("slopes", table, shipped_slopes.of_slopes(60, ks, shares, how, seed=3), tmp_path)
    made, plain = [], naive_slopes.slopes
    monkeypatch.setattr(
        naive_slopes, "slopes", lambda some, *rest, **how: made.extend(some) or plain(some, *rest, **how)
    )
    found = shipped_slopes.slopes([5, 1, 3], 60, ks, shares, how, seed=3, folder=tmp_path)
    pd.testing.assert_frame_equal(found, table)
    assert len(made) == 1
    shipped_slopes.slopes([5, 1, 3], 60, ks, shares, assignment.Assignment("cluster_qr"), seed=3, folder=tmp_path)
    assert made[1:] == [5, 1, 3]


def test_simulations_have_as_many_tokens_as_were_selected(tmp_path):
    """Of a weak model fewer are selected than are asked for; their copies would count as collisions."""
    main = runpy.run_path(str(SCRIPTS / "calibration/simulate.py"), run_name="script")["main"]
    files.write_json(tmp_path / "selection.json", {"selected": 50})
    inputs = SimpleNamespace(counts=tmp_path / "selection.json")
    for part in (0, 1):
        outputs = SimpleNamespace(simulations=tmp_path / f"simulations.part{part}of2.parquet")
        main(inputs, outputs, SimpleNamespace(simulations=5, tokens=120, seed=0))
    parts = [files.read_table(tmp_path / f"simulations.part{part}of2.parquet") for part in (0, 1)]
    assert [part["simulation"].tolist() for part in parts] == [[0, 2, 4], [1, 3]]
    assert regression.n_tokens(pd.concat(parts)) == 50


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("    return x + 1", "    # why\n    return (x\n            + 1)", True),
        ('"""Sum."""', '"""Said otherwise."""', True),
        ("x + 1", "x + 2", False),
        ("f'{x}'", "f'{x!r}'", False),
    ],
)
def test_the_hash_of_shipped_files_follows_what_is_computed(tmp_path, old, new, same):
    text = '"""Sum."""\n\nfrom quanta import b, errors\n\n\ndef add(x):\n    b.note(f\'{x}\')\n    return x + 1\n'
    hashes = []
    for number, a in enumerate((text, text.replace(old, new))):
        package = tmp_path / str(number)
        package.mkdir()
        for name, content in (("a", a), ("b", "N = 1.5\n"), ("errors", f"E = {number}\n")):
            (package / f"{name}.py").write_text(content)
        hashes.append(code.digest_of("a", package))
    assert (hashes[0] == hashes[1]) == same
    (tmp_path / "0/b.py").write_text("N = 2.5\n")
    code._read.cache_clear()  # the hash remembers files by path
    assert code.digest_of("a", tmp_path / "0") != hashes[0], "what is imported counts"


def test_the_hash_is_the_same_under_every_python(tmp_path):
    """A literal, so that a version of Python that writes syntax trees otherwise is noticed."""
    (tmp_path / "a.py").write_text("def f(x, *, y=1.5):\n    return [f'{x:.2f} {y!r}' for x in x if x] or None\n")
    assert code.digest_of("a", tmp_path)[:16] == "0601a9296ee23abe"


def test_shipped_results_rest_on_these_modules_alone(tmp_path):
    """Of others a change makes no file anew."""

    def rests_on(name):
        found = code.closure(code.PACKAGE / f"calibration/{name}.py", follow=code.computes)
        return {one for one in found if found[one].name != "__init__.py"}

    own = {"arrays", "calibration.planted", "corpus.resampling", "rank_frequency.collisions"}
    assert rests_on("simulations") == own
    further = {"affinity.cosine", "calibration.simulations", "rank_frequency.size_law", "rank_frequency.zipf"}
    further |= {
        f"clustering.{name}" for name in ("assignment", "graph", "kmeans", "main_line", "membership", "spectral")
    }
    assert rests_on("naive_slopes") == own | further
    with pytest.raises(QuantaError, match="no module lost"):
        code.digest_of("lost", tmp_path)
