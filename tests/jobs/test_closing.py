import errno
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from quanta.errors import QuantaError
from quanta.jobs import closing, job
from support import ROOT

SAID = """[Wed Nov 25 04:43:48 2026]
Error in rule {rule}:
    message: None
    jobid: {job}
    input: a.npy
    output: b.npy
    log: {log} (check log file(s) for error details)
"""


def test_each_failed_job_is_told_with_the_end_of_its_log(tmp_path):
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    error = QuantaError("a.npy", "too short", "an array", "delete it")
    head = "2026-11-25 04:48:2"
    one.write_text(f"{head}0 INFO first\n{head}1 INFO second\n{head}2 INFO third\n{head}3 ERROR labels: {error}\n")
    two.write_text(f"{head}2 INFO at work\n")
    log = "Execute 2 jobs...\n" + SAID.format(rule="labels", job=3, log=one) + SAID.format(rule="train", job=4, log=two)
    (tmp_path / "snakemake.log").write_text(log + "Shutting down, this might take some time.\n")
    text = closing.last_words([tmp_path / "snakemake.log", tmp_path / "absent.log"])
    first, second = text.split("train failed")
    assert f"labels failed; its log, {one}, ends with" in first
    assert "third" in first and "first" not in first and f"  {head}3 ERROR labels: a.npy: too short" in first
    assert "    fix:      delete it" in first
    assert "at work" in second and "resources.memory_factor" in second, "killed without a word"
    assert text.endswith("Finished jobs are kept.\n")


def test_a_job_that_a_second_attempt_finished_has_not_failed(tmp_path):
    log = SAID.format(rule="train", job=4, log="x.log") + SAID.format(rule="labels", job=44, log="y.log")
    assert closing.failed(log + "Finished jobid: 4 (Rule: train)\n") == {"y.log": "labels"}
    (tmp_path / "snakemake.log").write_text("Building DAG of jobs...\n")
    assert closing.last_words([tmp_path / "snakemake.log"]) == "", "what fails before any job has been said"


def test_a_run_that_is_done_says_where_the_page_is_and_what_it_found(tmp_path):
    assert closing.done(tmp_path) == "", "a run of some tables alone"
    (tmp_path / "report").mkdir()
    (tmp_path / "report/index.html").touch()
    (tmp_path / "report/summary.json").write_text(json.dumps({"headline": ["α = 0.1", "three clusters"]}))
    lines = closing.done(tmp_path).splitlines()
    assert lines[1:4] == [f"Report: {tmp_path}/report/index.html", "  α = 0.1", "  three clusters"]
    assert f'quanta.load("{tmp_path}")' in closing.done(tmp_path)


def test_frames_stay_in_the_log_and_the_last_exception_of_a_chain_is_told():
    log = """2026-11-25 04:48:22 ERROR labels failed; this is a defect
Traceback (most recent call last):
  File "x.py", line 1, in f
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "y.py", line 2, in g
numpy.linalg.LinAlgError: singular
""".rstrip("\n")
    assert closing.last_lines(log) == [*log.splitlines()[:1], "numpy.linalg.LinAlgError: singular"]


CODE = """
import sys
from types import SimpleNamespace
sys.path.insert(0, {library!r})
from quanta import errors; from quanta.jobs import job

def main(inputs, outputs, params):
    {body}

job.run(main, SimpleNamespace(log=[{log!r}], rule="labels", input={inputs}, output={outputs}, params=[], resources={{}}))
"""


def test_jobs_draw_no_bars_into_their_logs(monkeypatch, tmp_path):
    """A log keeps every state of a bar."""
    for name in ("PYTHONPATH", job.PARENT, "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS")
    job.prepare(str(tmp_path))
    active = "from transformers.utils import logging; print(logging._tqdm_active)"
    done = subprocess.run([sys.executable, "-c", active], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("body", "said", "frames"),
    [
        ("raise errors.QuantaError('a.npy', 'too short', 'an array', 'delete it')", "fix:      delete it", False),
        ("{}['absent']", "KeyError: 'absent'", True),
    ],
)
def test_a_job_says_what_is_wrong_and_keeps_frames_for_its_log(tmp_path, body, said, frames):
    log = tmp_path / "labels.log"
    code = CODE.format(library=str(ROOT / "workflow"), body=body, log=str(log), inputs=[], outputs=[])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr and "Traceback" not in done.stderr
    assert said in log.read_text() and ("Traceback" in log.read_text()) == frames
    assert said in "\n".join(closing.last_lines(log.read_text()))


def test_a_killed_process_that_nobody_has_collected_is_dead():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert job._alive(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not job._alive(process.pid)


ROOM, OPEN, READ = "space for the outputs", "a folder that can be written", "a file that this user may read"


@pytest.mark.parametrize(
    ("error", "where", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "results/m/qdg", ROOM),
        (OSError(errno.ENOSPC, "No space left on device", "other/.a.npy"), "other", ROOM),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "results/m/qdg", ROOM),
        (OSError("1000 requested and 12 written"), "results/m/qdg", ROOM),  # numpy
        (RuntimeError("I/O error: No space left on device (os error 28)"), "results/m/qdg", ROOM),  # safetensors
        (OSError(errno.EROFS, "Read-only file system", "results/m/qdg/.a.npy"), "results/m/qdg", OPEN),
        (PermissionError(errno.EACCES, "Permission denied", b"results/m/qdg/.a.npy"), "results/m/qdg", OPEN),
        (PermissionError(errno.EACCES, "Permission denied", "texts.jsonl"), "texts.jsonl", READ),
        (PermissionError(errno.EACCES, "Permission denied", "models/a/config.json"), "models/a/config.json", READ),
        (OSError(errno.EIO, "Input/output error", "texts.jsonl"), None, None),
        (ValueError("3 requested"), None, None),
    ],
)
def test_a_full_or_closed_disk_is_named(error, where, expected):
    known = job._disk(error, ["texts.jsonl", "models/a"], ["results/m/qdg/a.npy"])
    assert (known.where, known.expected) == (where, expected) if where else known is None


def test_a_closed_disk_without_outputs_is_named():
    assert job._disk(OSError(errno.EROFS, "Read-only file system"), [], []).where == "."


def test_batches_come_as_a_resource_and_are_read_as_a_param():
    params = job._with_free(SimpleNamespace(seed=1), {"batch_tokens": 4096, "mem_mb": 1})
    assert vars(params) == {"seed": 1, "batch_tokens": 4096}
    assert vars(job._with_free(SimpleNamespace(seed=1), {})) == {"seed": 1}


WRITES = """
import os, sys
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
import numpy as np
import pandas as pd
from quanta.jobs import job; from quanta.storage import files

values = np.arange(10**6, dtype="float64") ** 0.5

def as_map():
    with files.new_array("full/a.npy", (10**6,), "float64") as array:
        array[:] = 1

for write in (
    as_map,
    lambda: files.write_array("full/a.npy", values),
    lambda: files.write_table("full/a.csv", pd.DataFrame({"x": values})),
    lambda: files.write_table("full/a.parquet", pd.DataFrame({"x": values})),
    lambda: files.write_json("full/a.json", {"x": values.tolist()}),
):
    try:
        job.run(
            lambda *_: write(),
            SimpleNamespace(log=[], rule="labels", input=[], output=["full/a"], params=[], resources={}),
        )
    except SystemExit as end:
        print(end.code, os.listdir("full"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a disk of 1 MB is made with Linux's unshare")
def test_every_writer_on_a_full_disk_ends_with_the_folder_and_leaves_nothing(tmp_path):
    """A real one of 1 MB. A memory map of it would kill the process without a word."""
    (tmp_path / "full").mkdir()
    mount = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m none full && exec "$@"', "sh"]
    try:
        able = subprocess.run([*mount, "true"], cwd=tmp_path, capture_output=True, text=True)
    except FileNotFoundError as error:
        pytest.skip(f"no unshare here ({error})")
    if able.returncode:
        pytest.skip(f"no disk can be mounted here ({able.stderr.strip()})")
    done = subprocess.run(
        [*mount, sys.executable, "-c", WRITES, str(ROOT / "workflow")], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["1 []"] * 5, done.stderr
    assert done.stderr.count("labels: full") == done.stderr.count(ROOM) == 5, done.stderr
