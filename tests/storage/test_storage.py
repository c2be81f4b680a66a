import errno
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
from quanta.errors import QuantaError
from quanta.storage import files, writing
from support import ROOT


class StoppedError(Exception):
    pass


WRITERS = {
    "a.npy": lambda path: files.write_array(path, np.arange(5.0)),
    "a.csv": lambda path: files.write_table(path, pd.DataFrame({"x": [0.1, 1 / 3]})),
    "a.parquet": lambda path: files.write_table(path, pd.DataFrame({"x": [0.1, 1 / 3]})),
    "a.json": lambda path: files.write_json(path, {"x": 1}),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_there_whole_or_not_at_all(tmp_path, name, monkeypatch):
    """The rename is the last thing: if it does not come, the old content stays and nothing lies beside it."""
    path = tmp_path / "new/folder" / name
    WRITERS[name](path)
    whole = path.read_bytes()
    WRITERS[name](path)
    assert path.read_bytes() == whole, "the same content is the same bytes"

    def fail(*_):
        raise StoppedError

    path.write_bytes(b"what was there before")
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StoppedError):
        WRITERS[name](path)
    assert [p.name for p in path.parent.iterdir()] == [name]
    assert path.read_bytes() == b"what was there before"


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(StoppedError), writing.atomic(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise StoppedError
    with pytest.raises(StoppedError), files.new_array(tmp_path / "a.npy", (3, 3), "float32") as array:
        array[0] = 1
        raise StoppedError
    with pytest.raises(ValueError, match="Out of range float"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_writer_that_is_killed_leaves_no_half_file(tmp_path, before):
    path = tmp_path / "a.npy"
    if before:
        path.write_bytes(before)
    code = f"""
        import sys, time
        sys.path.insert(0, {str(ROOT / "workflow")!r})
        from quanta.storage import files
        with files.new_array({str(path)!r}, (1000, 1000), "float64") as array:
            array[:500] = 1
            array.flush()
            print("half", flush=True)
            time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == before
    leftovers = [p for p in tmp_path.iterdir() if p != path]
    assert len(leftovers) == 1 and leftovers[0].name.startswith("."), "the half file keeps its temporary name"


def test_arrays_larger_than_memory_come_back_as_written(tmp_path):
    with files.new_array(tmp_path / "a.npy", (4, 3), "float32") as array:
        array[:] = np.arange(12).reshape(4, 3)
    found = files.read_array(tmp_path / "a.npy", dtype="float32", shape=(None, 3))
    np.testing.assert_array_equal(found, np.arange(12).reshape(4, 3))


def refused(number):
    def call(*_):
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("way", [errno.EOPNOTSUPP, errno.EINVAL, None])
def test_file_systems_that_take_no_room_beforehand_get_the_same_bytes(tmp_path, monkeypatch, way):
    shape, content = (700, 333), np.random.default_rng(0).random((700, 333))
    for name in ("a.npy", "b.npy"):
        with files.new_array(tmp_path / name, shape, "float64") as array:
            array[:300] = content[:300]
        if way is None:
            monkeypatch.delattr(os, "posix_fallocate")
            way = errno.EINVAL
        else:
            monkeypatch.setattr(os, "posix_fallocate", refused(way), raising=False)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert not (tmp_path / "b.npy").stat().st_blocks * 512 < content.nbytes, "its room is taken"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_memory_map_without_room_is_an_error_before_anything_is_written(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "posix_fallocate", refused(number), raising=False)
    with pytest.raises(OSError, match="a") as caught, files.new_array(tmp_path / "a.npy", (9,), "float64"):
        pytest.fail("no array")
    assert caught.value.errno == number and str(tmp_path) in caught.value.filename
    assert list(tmp_path.iterdir()) == []


def test_a_state_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls = []
    sync, replace = writing.sync, os.replace
    monkeypatch.setattr(writing, "sync", lambda path: (calls.append(f"sync {path.is_dir()}"), sync(path)))
    monkeypatch.setattr(os, "replace", lambda *paths: (calls.append("rename"), replace(*paths)))
    with writing.atomic(tmp_path / "a", durable=True) as temporary:
        temporary.write_bytes(b"x")
    assert calls == ["sync False", "rename", "sync True"]


def test_bytes_that_are_no_text_are_no_json(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"x": "\xff"}')
    with pytest.raises(QuantaError, match=r"a\.json: not JSON"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("kept", [0, 5, 60, 127, 150])
def test_a_truncated_array_is_named(tmp_path, kept):
    path = tmp_path / "losses.npy"
    np.save(path, np.arange(100.0))
    path.write_bytes(path.read_bytes()[:kept])
    for memory_map in (True, False):
        with pytest.raises(QuantaError, match=r"losses\.npy: not a whole \.npy file") as caught:
            files.read_array(path, dtype="float64", shape=(None,), memory_map=memory_map)
        assert "delete the file and start the run again" in caught.value.mend


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(QuantaError, match="not a whole"):
        files.read_array(tmp_path / "a.npy", dtype="object", shape=(None,))


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        ("float32", (3, 4), "float32 of shape"),
        (("uint16", "uint32"), (3, 4), "uint16 or uint32"),
        ("float64", (3, 5), r"\(3, 5\) \(as the corpus says\)"),
        ("float64", (None,), r"\(any\)"),
    ],
)
def test_an_array_of_another_kind_is_named_with_what_was_expected(tmp_path, dtype, shape, expected):
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    with pytest.raises(QuantaError, match=expected) as caught:
        files.read_array(tmp_path / "a.npy", dtype=dtype, shape=shape, why="as the corpus says")
    assert caught.value.found == "holds float64 of shape (3, 4)"


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_tables_keep_every_digit_and_damaged_ones_are_named(tmp_path, name):
    path = tmp_path / name
    table = pd.DataFrame({"model": ["a", "b"], "step": [0, 2**40], "loss_nats": [0.1, 1 / 3]})
    files.write_table(path, table)
    assert files.read_table(path, ("step", "loss_nats")).equals(table)
    with pytest.raises(QuantaError, match=r"lacks the columns \['size'\]"):
        files.read_table(path, ("step", "size"))
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2] if name == "t.parquet" else b"")
    with pytest.raises(QuantaError, match=f"{name}: not a readable table"):
        files.read_table(path, ("step",))
    with pytest.raises(FileNotFoundError):
        files.read_table(tmp_path / f"absent-{name}")


def test_json_is_canonical_and_damaged_json_is_named(tmp_path):
    path = tmp_path / "fits.json"
    files.write_json(path, {"b": [1, None], "a": "α"})
    first = path.read_bytes()
    files.write_json(path, {"a": "α", "b": [1, None]})
    assert path.read_bytes() == first and json.loads(first) == files.read_json(path)
    path.write_bytes(first[:-6])
    with pytest.raises(QuantaError, match=r"fits\.json: not JSON"):
        files.read_json(path)
    path.write_text("[1, 2]")
    with pytest.raises(QuantaError, match="holds a list"):
        files.read_json(path)
