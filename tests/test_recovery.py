import base64
import json
import os
import socket
import subprocess
import sys

import psutil
import pytest
from quanta import recovery, storage
from quanta.errors import QuantaError
from support import programs, queued


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A folder as a killed Snakemake leaves it: a lock, an unfinished file and an unfinished folder with their marks."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".snakemake"
    (folder / "locks").mkdir(parents=True)
    (folder / "locks/0.input.lock").write_text("results/a.npy\n")
    (folder / "locks/0.output.lock").write_text("results/b.npy\n")
    (tmp_path / "results/step1").mkdir(parents=True)
    (tmp_path / "results/half.npy").write_bytes(b"half")
    (tmp_path / "results/whole.npy").write_bytes(b"whole")
    (tmp_path / "results/step1/half.safetensors").write_bytes(b"half")
    for output in ("results/half.npy", "results/step1"):
        mark(folder, output)
    return folder


def mark(folder, output, external=None):
    """As Snakemake marks an output that is being made."""
    name = base64.urlsafe_b64encode(str(output).encode()).decode()
    path = folder / "incomplete" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"external_jobid": external}))
    return path


def register(folder, *entries):
    (folder / recovery.REGISTER).write_text(json.dumps(entries))


def entry(pid, began=None, host=None):
    return [host or socket.gethostname(), pid, psutil.Process(pid).create_time() if began is None else began]


def dead():
    """Host, number and start of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = entry(process.pid)
        process.communicate(b"\n")
    return found


def untouched(folder):
    return all((folder.parent / "results" / name).exists() for name in ("half.npy", "step1/half.safetensors")) and (
        len(list((folder / "locks").iterdir())) == 2 and len(list((folder / "incomplete").iterdir())) == 2
    )


def registered(folder):
    return [(host, pid) for host, pid, _ in json.loads((folder / recovery.REGISTER).read_text())]


ME = (socket.gethostname(), os.getpid())


def test_what_a_dead_process_left_is_cleared_and_nothing_else(killed):
    register(killed, dead(), dead())
    removed = recovery.clear_after_kill(killed)
    assert sorted(removed) == ["results/half.npy", "results/step1"]
    results = killed.parent / "results"
    assert [p.name for p in results.iterdir()] == ["whole.npy"]
    assert not list((killed / "locks").iterdir()) and not list((killed / "incomplete").iterdir())
    assert registered(killed) == [ME], "the dead leave the register, this process enters it"


def test_the_half_file_of_a_killed_writer_is_removed_with_its_output(killed):
    results = killed.parent / "results"
    for name in ("half.npy", "whole.npy"):
        with storage.atomic(results / name) as temporary:
            temporary.write_bytes(b"half")
        temporary.write_bytes(b"what a kill leaves")
    assert len(list(results.glob(".*"))) == 2
    register(killed, dead())
    recovery.clear_after_kill(killed)
    assert sorted(p.name[:7] for p in results.iterdir()) == [".whole.", "whole.n"], "whole.npy is nobody's output"


def test_a_live_process_keeps_everything(killed):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        register(killed, dead(), entry(process.pid))
        assert recovery.clear_after_kill(killed) == []
        assert untouched(killed)
        assert registered(killed) == [(ME[0], process.pid), ME]
        process.communicate(b"\n")


def test_a_process_on_another_host_keeps_everything(killed):
    register(killed, dead(), entry(1, began=1.0, host="another-host"))
    assert recovery.clear_after_kill(killed) == []
    assert untouched(killed)
    assert registered(killed) == [("another-host", 1), ME]


def test_a_number_that_was_given_to_a_new_process_is_not_the_old_one(killed):
    register(killed, entry(os.getppid(), began=12.0))
    assert len(recovery.clear_after_kill(killed)) == 2


def test_the_mark_of_a_job_that_waits_in_a_queue_is_left_to_snakemake(killed):
    """`external_jobid` stands there until the job runs; a queue that has forgotten it is none of ours."""
    sent = mark(killed, "results/whole.npy", external="4711")
    register(killed, dead())
    assert "results/whole.npy" not in recovery.clear_after_kill(killed)
    assert (killed.parent / "results/whole.npy").exists() and sent.exists()
    assert not list((killed / "locks").iterdir())


@pytest.fixture
def slurm(killed, tmp_path, monkeypatch):
    """Clients of a Slurm whose queue is the file that is returned; `scancel` notes what it is given and empties it."""
    queue = tmp_path / "queue.txt"
    path = programs(
        tmp_path / "bin",
        squeue=f"[ -f {queue} ] || exit 1; cat {queue}",
        scancel=f"echo $@ > {tmp_path}/cancelled.txt; : > {queue}",
    )
    monkeypatch.setenv("PATH", path)
    recovery.note_cluster(killed)
    return queue


def test_jobs_that_still_run_on_a_cluster_keep_their_files_until_they_are_cancelled(killed, slurm):
    here, cancelled = killed.parent, killed.parent / "cancelled.txt"
    slurm.write_text(queued(7, here) + queued(8, here) + queued(9, "/elsewhere") + queued(10, here, name="another"))
    register(killed, dead())
    assert recovery.clear_after_kill(killed) == []
    assert not list((killed / "locks").iterdir()), "the same command goes on"
    assert (here / "results/half.npy").exists() and not cancelled.exists(), "so far nothing but locks was touched"
    assert recovery.cancel_orphans() == ["7", "8"]
    assert cancelled.read_text().split() == ["7", "8"], "neither another folder's jobs nor jobs of another kind"
    assert recovery.cancel_orphans() == []


def test_jobs_that_cannot_be_cancelled_stop_the_run(killed, slurm):
    slurm.write_text(queued(7, killed.parent))
    programs(killed.parent / "bin", scancel="exit 1")
    register(killed, dead())
    recovery.clear_after_kill(killed)
    with pytest.raises(QuantaError, match=r"jobs 7 of an earlier run[^$]*squeue shows none"):
        recovery.cancel_orphans(seconds=0)


def test_a_slurm_that_does_not_answer_leaves_all_as_it_is(killed, slurm):
    register(killed, dead())
    assert recovery.clear_after_kill(killed) == [] and untouched(killed)


def test_another_snakemake_at_work_here_keeps_its_jobs(killed, slurm):
    slurm.write_text(queued(7, killed.parent))
    register(killed, dead(), entry(os.getppid()))
    recovery.clear_after_kill(killed)
    assert recovery.cancel_orphans() == [] and not (killed.parent / "cancelled.txt").exists()


@pytest.mark.parametrize("content", [None, "", "{", '{"a": 1}', "[1]", '[["host"]]'])
def test_without_a_readable_register_nothing_is_known_to_be_dead(killed, content):
    """A lock that somebody else's Snakemake holds, or a damaged register: Snakemake's own refusal stands."""
    if content is not None:
        (killed / recovery.REGISTER).write_text(content)
    assert recovery.clear_after_kill(killed) == []
    assert untouched(killed) and registered(killed) == [ME]


def test_marks_without_a_lock_are_left_to_snakemake(killed):
    for lock in (killed / "locks").iterdir():
        lock.unlink()
    register(killed, dead())
    assert recovery.clear_after_kill(killed) == []
    assert (killed.parent / "results/half.npy").exists()


def test_long_paths_are_marked_in_folders(killed):
    """Snakemake splits the name of a mark where it is too long for the file system."""
    output = killed.parent / "results" / ("long" * 60)
    output.write_bytes(b"half")
    name = base64.urlsafe_b64encode(str(output).encode()).decode()
    pieces = [name[i : i + 200] for i in range(0, len(name), 200)]
    path = (killed / "incomplete").joinpath(*(f"@{p}" for p in pieces[:-1]), pieces[-1])
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"external_jobid": None}))
    register(killed, dead())
    assert str(output) in recovery.clear_after_kill(killed)
    assert not output.exists()


def test_the_first_run_only_enters_itself(tmp_path):
    assert recovery.clear_after_kill(tmp_path / ".snakemake") == []
    assert registered(tmp_path / ".snakemake") == [ME]
    assert recovery.clear_after_kill(tmp_path / ".snakemake") == []
    assert registered(tmp_path / ".snakemake") == [ME]
