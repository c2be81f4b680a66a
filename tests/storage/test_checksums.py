import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta.errors import QuantaError
from quanta.storage import checksums, files


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A file and a folder of a run with their checksums, as `results/r/a.npy` and `results/r/m`."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results/r"
    (folder / "m/deep").mkdir(parents=True)
    (folder / "a.npy").write_bytes(bytes(range(256)) * 8)
    (folder / "m/config.json").write_text("{}")
    (folder / "m/deep/w.safetensors").write_bytes(b"weights")
    checksums.record(["results/r/a.npy", "results/r/m"])
    return folder


BOTH = ["results/r/a.npy", "results/r/m"]


def test_what_was_written_is_read(made):
    checksums.check(BOTH)
    (made / "m/.snakemake_timestamp").touch()
    os.utime(made / "a.npy", (1, 1))
    checksums.check(BOTH)


@given(place=st.integers(0, 2047), bit=st.integers(0, 7), shorter=st.integers(1, 2048))
def test_any_bit_and_any_length_is_seen(tmp_path_factory, place, bit, shorter):
    folder = tmp_path_factory.mktemp("sums")
    content = bytearray(bytes(range(256)) * 8)
    file = folder / "x"
    file.write_bytes(content)
    whole = files.file_hash(file)
    content[place] ^= 1 << bit
    file.write_bytes(content)
    assert files.file_hash(file) != whole
    file.write_bytes(bytes(range(256)) * 8)
    os.truncate(file, 2048 - shorter)
    assert files.file_hash(file) != whole


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "a.npy").write_bytes(b""), "a.npy has another content"),
        (lambda f: (f / "m/deep/w.safetensors").write_bytes(b"weightS"), "w.safetensors has another content"),
        (lambda f: (f / "m/config.json").unlink(), "config.json is missing"),
        (lambda f: (f / "m/more.safetensors").touch(), "more.safetensors is none of its files"),
    ],
)
def test_damage_is_named_with_the_file_and_the_mend(made, damage, said):
    damage(made)
    with pytest.raises(QuantaError, match=said) as caught:
        checksums.check(BOTH)
    assert "start the run again" in caught.value.mend and caught.value.where in BOTH


@pytest.mark.parametrize("name", ["m/.DS_Store", "m/deep/.nfs000001", "m/.w.swp"])
def test_what_file_managers_and_editors_leave_is_no_damage(made, name):
    (made / name).write_text("mine")
    checksums.check(BOTH)
    checksums.record(BOTH)
    (made / name).unlink()
    checksums.check(BOTH)


@pytest.mark.parametrize("mark", ["\u0085", "\u2028", "\x0b"])
def test_names_may_hold_what_other_systems_end_lines_with(made, mark):
    (made / f"m/a{mark}b.json").write_text("{}")
    checksums.record(BOTH)
    checksums.check(BOTH)


def test_outputs_without_checksums_are_named_once(made, caplog):
    for sums in made.glob("checksums/*"):
        sums.unlink()
    checksums.check(BOTH)
    assert [record.message.count("results/r/") for record in caplog.records] == [2]
    assert "no checksums of results/r/a.npy, results/r/m" in caplog.text


def test_what_no_run_has_made_is_not_looked_at(made):
    (made.parent.parent / "texts.jsonl").write_text("mine")
    checksums.check(["texts.jsonl", "workflow/report/page.html", "results/README.md", "results/r/absent.npy"])
    checksums.record(["texts.jsonl", "results/README.md"])
    assert not (made.parent / "checksums").exists()


def test_the_files_are_those_that_sha256sum_takes(made):
    import shutil
    import subprocess

    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum")
    sums = sorted(str(path) for path in made.glob("checksums/*.sha256"))
    assert subprocess.run(["sha256sum", "--check", "--quiet", *sums], check=False).returncode == 0
