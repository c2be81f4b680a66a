import os

import pytest
from quanta.jobs import together
from quanta.storage import checksums


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder of a run with one input and one output that has been made and recorded, and its key."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/r"
    folder.mkdir(parents=True)
    (folder / "in.txt").write_text("1")
    checksums.record(["results/r/in.txt"])
    (folder / "out.txt").write_text("made of 1")
    key = together.key(["results/r/in.txt"], {"dpi": 80})
    together.record(["results/r/out.txt"], key)
    return folder, key


def test_what_was_made_under_a_key_is_made_and_counts_as_new(run):
    folder, key = run
    os.utime(folder / "out.txt", (1, 1))
    assert together.is_made(["results/r/out.txt"], key)
    assert (folder / "out.txt").stat().st_mtime > 1e9, "Snakemake would call it older than its inputs"


@pytest.mark.parametrize("what", ["lost", "altered", "never noted", "one of two"])
def test_what_is_lost_or_altered_is_made_again(run, what):
    folder, key = run
    outputs = ["results/r/out.txt"]
    if what == "lost":
        (folder / "out.txt").unlink()
    if what == "altered":
        (folder / "out.txt").write_text("made of 2")
    if what == "never noted":
        (folder / "made/out.txt.json").unlink()
    if what == "one of two":
        outputs.append("results/r/other.txt")
    assert not together.is_made(outputs, key)


def test_the_key_follows_inputs_names_and_facts(run):
    folder, key = run
    assert together.key(["results/r/in.txt"], {"dpi": 80}) == key
    assert together.key(["results/r/in.txt"], {"dpi": 60}) != key
    (folder / "in.txt").write_text("2")
    checksums.record(["results/r/in.txt"])
    assert together.key(["results/r/in.txt"], {"dpi": 80}) != key
    (folder / "in.txt").rename(folder / "renamed.txt")
    assert together.key(["results/r/renamed.txt"], {"dpi": 80}) != key


def test_an_input_that_no_run_made_is_read_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paper.csv").write_text("1")
    before = together.key(["paper.csv"], {})
    (tmp_path / "paper.csv").write_text("2")
    assert together.key(["paper.csv"], {}) != before
