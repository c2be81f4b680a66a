"""Cards are never shared by accident: real processes and real locks, with names of cards in place of GPUs."""

import os
import signal
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from quanta import devices
from quanta.errors import QuantaError
from quanta.jobs import gpu_locks
from repository import command, environment
from support import ROOT

JOB = """
import logging, sys, tempfile
from quanta.jobs import gpu_locks as cards
from quanta.errors import QuantaError
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
tempfile.tempdir = sys.argv[1]
hold = cards.settle(1, lambda: int(sys.argv[2]))
print(hold and hold.card, flush=True)
sys.stdin.read()
"""


def job(folder, n_cards, **environment):
    """A process that takes a card, says which, and keeps it until its input is closed."""
    kept = {k: v for k, v in os.environ.items() if k not in (gpu_locks.VISIBLE, *gpu_locks.SCHEDULERS)}
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder), str(n_cards)],
        env=kept | {"PYTHONPATH": str(ROOT / "workflow")} | environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(*processes):
    for process in processes:
        process.communicate()


def test_two_jobs_get_two_cards_and_a_third_waits_for_the_first_that_is_free(tmp_path):
    first, second = job(tmp_path, 2), job(tmp_path, 2)
    taken = {first.stdout.readline().strip(): first, second.stdout.readline().strip(): second}
    assert set(taken) == {"0", "1"}
    third = job(tmp_path, 2)
    assert third.stdout.readline().startswith("waits for a GPU: 0, 1 in use by other jobs; --resources gpu=2")
    end(taken["1"])
    assert third.stdout.readline().strip() == "1"
    end(taken["0"], third)


def test_a_killed_job_leaves_no_lock(tmp_path):
    first = job(tmp_path, 1)
    assert first.stdout.readline().strip() == "0"
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = job(tmp_path, 1)
    assert second.stdout.readline().strip() == "0"
    end(second)
    first.stdin.close()
    first.stdout.close()


def test_jobs_of_a_scheduler_keep_the_card_that_it_gave_them(tmp_path):
    """Within cgroups both may be called 0: neither may wait for the other."""
    jobs = [job(tmp_path, 8, SLURM_JOB_ID=number, CUDA_VISIBLE_DEVICES="0") for number in ("11", "12")]
    assert [one.stdout.readline().strip() for one in jobs] == ["0", "0"]
    end(*jobs)


def test_jobs_within_one_allocation_share_its_cards_out(tmp_path):
    jobs = [job(tmp_path, 8, SLURM_JOB_ID="11", CUDA_VISIBLE_DEVICES="3,GPU-8f") for _ in range(2)]
    assert {one.stdout.readline().strip() for one in jobs} == {"3", "GPU-8f"}
    end(*jobs)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, ["0", "1", "2"]), ("", []), ("2", ["2"]), ("0, 2", ["0", "2"]), ("-1", []), ("NoDevFiles", [])],
)
def test_what_a_process_was_given_goes_before_what_the_machine_has(given, expected):
    environment = {} if given is None else {gpu_locks.VISIBLE: given}
    assert gpu_locks.candidates(environment, lambda: 3) == expected


def test_who_asks_for_no_card_sees_none(monkeypatch):
    monkeypatch.setenv(gpu_locks.VISIBLE, "0,1")
    assert gpu_locks.settle(0, lambda: 2) is None
    assert os.environ[gpu_locks.VISIBLE] == ""


def test_a_machine_without_cards_computes_on_the_cpu(monkeypatch):
    monkeypatch.delenv(gpu_locks.VISIBLE, raising=False)
    assert gpu_locks.settle(1, lambda: 0) is None


def test_a_card_is_held_by_its_hold_alone(tmp_path):
    """Nothing else in the process keeps the lock: closed, it is free for the next, whatever was called before."""
    first = gpu_locks.take(["0", "1"], tmp_path)
    second = gpu_locks.take(["0", "1"], tmp_path)
    assert (first.card, second.card) == ("0", "1")
    first.lock.close()
    third = gpu_locks.take(["0", "1"], tmp_path)
    assert third.card == "0"
    second.lock.close()
    third.lock.close()


def test_locks_of_users_and_of_jobs_do_not_meet(monkeypatch):
    """Two users, each without a scheduler and in three jobs: eight folders side by side, the same each time."""
    jobs = ({}, {"SLURM_JOB_ID": "1"}, {"SLURM_JOB_ID": "2"}, {"PBS_JOBID": "a/b"})
    folders = []
    for name, number in (("one", 1001), ("other", 1002), ("one", 1001)):
        monkeypatch.setenv("LOGNAME", name)
        monkeypatch.setattr(os, "getuid", lambda number=number: number)
        folders.append([gpu_locks.lock_folder(job) for job in jobs])
    assert folders[0] == folders[2] and len({*folders[0], *folders[1]}) == 8
    assert {folder.parent for part in folders for folder in part} == {Path(tempfile.gettempdir())}


def test_another_users_folder_is_refused(tmp_path, monkeypatch):
    """/tmp is everybody's: who makes the folder first could hold its locks for ever."""
    folder = tmp_path / "quanta-cards-1"
    folder.mkdir()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(QuantaError, match="a folder of the user with the number"):
        gpu_locks.take(["0"], folder)
    assert not list(folder.iterdir())


def test_two_users_have_two_folders(monkeypatch):
    mine = gpu_locks.lock_folder({})
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert gpu_locks.lock_folder({}) != mine


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 10**11), st.integers(0, 10**10))
def test_a_batch_fits_or_is_a_single_token(batch, a_token, free, fixed):
    fits = devices.fitting(batch, a_token, free, fixed)
    assert 1 <= fits <= batch
    room = devices.SHARE * free - fixed
    assert fits == 1 or fits * a_token <= room
    assert fits == batch or (2 * fits + 1) * a_token > room, "no smaller than it must be"


@pytest.mark.workflow
def test_the_gpus_of_one_machine_are_shared_out_by_number(tmp_path):
    """`--resources gpu=2`: never more than two jobs, and never two with one number."""
    folder = tmp_path / "w"
    folder.mkdir()
    (folder / "Snakefile").write_text(
        f"""
import sys
resource_scopes: gpu="local"
rule all:
    input: expand("{{i}}.txt", i=range(6))
rule one:
    output: "{{i}}.txt"
    threads: 1
    resources: gpu=1
    shell: "PYTHONPATH={ROOT / "workflow"} {sys.executable} card.py > {{output}}"
"""
    )
    (folder / "card.py").write_text(
        "import time\nfrom quanta.jobs import gpu_locks as cards\nbegan = time.time()\nhold = cards.settle(1, lambda: 2)\n"
        "held = time.time()\ntime.sleep(0.5)\nprint(hold.card, held, time.time())\n"
    )
    kept = {k: v for k, v in environment().items() if k != "CUDA_VISIBLE_DEVICES"}
    subprocess.run(
        command("--cores", "6", "--resources", "gpu=2"),
        cwd=folder, env=kept | {"TMPDIR": str(tmp_path)}, check=True, capture_output=True,
    )  # fmt: skip
    rows = [(folder / f"{i}.txt").read_text().split() for i in range(6)]
    assert {card for card, _, _ in rows} == {"0", "1"}
    for card in ("0", "1"):
        held = sorted((float(a), float(b)) for name, a, b in rows if name == card)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(held))
