import base64
import errno
import json
import os
import select
import socket
import subprocess
import sys
import time

import pytest
from quanta.errors import QuantaError
from quanta.jobs import recovery
from quanta.storage import writing
from support import ROOT, programs, queued


@pytest.fixture(autouse=True)
def released():
    """Each test is a process of its own: its locks end with it."""
    yield
    while recovery._held:
        recovery._held.popitem()[1].close()


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


def entry(pid, **changed):
    return list(recovery.entry_of(pid)._replace(**changed))


AWAY = {"host": "another-host", "machine": "another boot"}


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
    return [(host, pid) for host, _, pid, _ in json.loads((folder / recovery.REGISTER).read_text())]


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
        with writing.atomic(results / name) as temporary:
            temporary.write_bytes(b"half")
        temporary.write_bytes(b"what a kill leaves")
    assert len(list(results.glob(".*"))) == 2
    register(killed, dead())
    recovery.clear_after_kill(killed)
    assert sorted(p.name[:7] for p in results.iterdir()) == [".whole.", "whole.n"], "whole.npy is nobody's output"


@pytest.fixture(params=["locks", "no locks", "locks of one host"])
def fallback(request, monkeypatch):
    """All that file systems do: flock for all hosts, none, or one that other hosts do not see."""
    if request.param == "no locks":

        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(recovery.fcntl, "flock", refuse)
        monkeypatch.setattr(recovery.atexit, "register", lambda *_: None)
    if request.param == "locks of one host":
        monkeypatch.setattr(recovery, "_seen_by_all", lambda _: False)
    return request.param


START = """
import sys
sys.path.insert(0, {library!r})
from pathlib import Path
from quanta.jobs import recovery
print(recovery.clear_after_kill(Path(".snakemake")), flush=True)
input()
"""


def start(folder):
    """Another main process in the folder, alive until it gets a line; its first line says what it has cleared."""
    return subprocess.Popen(
        [sys.executable, "-c", START.format(library=str(ROOT / "workflow"))],
        cwd=folder.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(process):
    process.communicate("\n", timeout=60)


@pytest.mark.parametrize("fallback", ["no locks", "locks of one host"], indirect=True)
def test_a_live_process_of_the_register_keeps_everything_where_locks_do_not_tell(killed, fallback):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        register(killed, dead(), entry(process.pid))
        assert recovery.clear_after_kill(killed) == []
        assert untouched(killed)
        assert registered(killed) == [(ME[0], process.pid), ME]
        process.communicate(b"\n")


def test_a_live_process_keeps_everything_and_a_killed_one_does_not(killed):
    register(killed, dead())
    first = start(killed)
    assert "half.npy" in first.stdout.readline()
    mark(killed, "results/whole.npy")  # what the first makes now
    (killed / "locks/0.input.lock").touch()
    assert recovery.clear_after_kill(killed) == []
    assert (killed / "locks/0.input.lock").exists() and (killed.parent / "results/whole.npy").exists()
    recovery._held.popitem()[1].close()  # this one ends
    first.kill()
    first.wait()
    first.stdin.close()
    first.stdout.close()
    assert recovery.clear_after_kill(killed) == ["results/whole.npy"]


def test_two_starts_interleaved_clear_once(killed, monkeypatch):
    """The second comes while the first asks the queue: it waits, and clears nothing that the first may have begun."""
    register(killed, dead())
    recovery.note_cluster(killed)
    second = []

    def slow_queue(_):
        second.append(start(killed))
        time.sleep(1)  # time enough to come to the lock; one that is slower shows nothing, and nothing wrong
        assert not select.select([second[0].stdout], [], [], 0)[0], "it waits"
        return []

    monkeypatch.setattr(recovery.slurm, "jobs", slow_queue)
    assert len(recovery.clear_after_kill(killed)) == 2
    (killed / "locks/0.input.lock").touch()  # the first has begun
    assert second[0].stdout.readline().strip() == "[]"
    assert (killed / "locks/0.input.lock").exists()
    end(second[0])


def test_a_finished_run_on_another_host_does_not_keep_a_kill_here(killed):
    """The lock tells for all hosts."""
    register(killed, entry(1, **AWAY), dead())
    assert len(recovery.clear_after_kill(killed)) == 2
    assert registered(killed) == [ME]


@pytest.mark.parametrize("fallback", ["no locks", "locks of one host"], indirect=True)
def test_a_process_on_another_host_keeps_everything_where_locks_do_not_tell(killed, fallback):
    register(killed, dead(), entry(1, **AWAY))
    assert recovery.clear_after_kill(killed) == []
    assert untouched(killed)
    assert registered(killed) == [("another-host", 1), ME]


def test_without_locks_a_process_that_ends_leaves_the_register(killed, monkeypatch):
    monkeypatch.setattr(recovery, "_alone", lambda _: None)
    at_end = []
    monkeypatch.setattr(recovery.atexit, "register", lambda *call: at_end.append(call))
    register(killed, entry(1, **AWAY))
    recovery.clear_after_kill(killed)
    [(leave, *arguments)] = at_end
    leave(*arguments)
    assert registered(killed) == [("another-host", 1)]


def test_a_number_that_was_given_to_a_new_process_is_not_the_old_one(killed, fallback):
    register(killed, entry(os.getppid(), began="12"))
    assert len(recovery.clear_after_kill(killed)) == 2


def test_a_clock_that_was_set_kills_nobody(killed, monkeypatch):
    """Psutil's start times move with the clock by whole seconds."""
    monkeypatch.setattr(recovery, "_alone", lambda _: None)
    monkeypatch.setattr(recovery.atexit, "register", lambda *_: None)
    register(killed, entry(os.getppid()))
    monkeypatch.setattr(recovery.psutil.Process, "create_time", lambda _: 1.0)
    assert recovery.clear_after_kill(killed) == [] and untouched(killed)


@pytest.mark.parametrize("fallback", ["no locks"], indirect=True)
@pytest.mark.parametrize(
    ("changed", "cleared"),
    [
        ({"host": "the-name-of-yesterday"}, True),  # the same boot, the same numbers: a laptop in another network
        ({"machine": "another pid:[1]"}, True),  # the machine was started again
        ({"host": "container", "machine": "{boot} pid:[1]"}, False),  # its numbers are not ours
    ],
)
def test_without_locks_a_dead_process_is_known_by_boot_and_name_space(killed, fallback, changed, cleared):
    host, machine, pid, began = dead()
    changed = {key: value.format(boot=machine.split()[0]) for key, value in changed.items()}
    register(killed, list(recovery.Entry(host, machine, pid, began)._replace(**changed)))
    assert bool(recovery.clear_after_kill(killed)) == cleared


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
    assert recovery.cancel_orphans(killed) == ["7", "8"]
    assert cancelled.read_text().split() == ["7", "8"], "neither another folder's jobs nor jobs of another kind"
    assert recovery.cancel_orphans(killed) == []


def test_jobs_that_cannot_be_cancelled_stop_the_run(killed, slurm):
    slurm.write_text(queued(7, killed.parent))
    programs(killed.parent / "bin", scancel="exit 1")
    register(killed, dead())
    recovery.clear_after_kill(killed)
    with pytest.raises(QuantaError, match=r"jobs 7 of an earlier run[^$]*squeue shows none"):
        recovery.cancel_orphans(killed, seconds=0)


def test_a_slurm_that_does_not_answer_leaves_all_as_it_is(killed, slurm):
    register(killed, dead())
    assert recovery.clear_after_kill(killed) == [] and untouched(killed)


def test_another_snakemake_at_work_here_keeps_its_jobs(killed, slurm):
    slurm.write_text("")
    other = start(killed)
    assert other.stdout.readline()
    slurm.write_text(queued(7, killed.parent))
    recovery.clear_after_kill(killed)
    assert recovery.cancel_orphans(killed) == [] and not (killed.parent / "cancelled.txt").exists()
    end(other)


def test_orphans_are_cancelled_from_another_login_node(killed, slurm):
    """Killed on one, `--unlock` and start on another."""
    slurm.write_text(queued(7, killed.parent))
    register(killed, entry(1, **AWAY))
    for lock in (killed / "locks").iterdir():
        lock.unlink()
    recovery.clear_after_kill(killed)
    assert recovery.cancel_orphans(killed) == ["7"]


def test_orphans_are_cancelled_by_whoever_starts_first(killed, slurm):
    """One start found them and was refused, for another was quicker: they are noted for all."""
    slurm.write_text(queued(7, killed.parent) + queued(8, killed.parent))
    register(killed, dead())
    first = start(killed)
    assert first.stdout.readline()
    slurm.write_text(slurm.read_text() + queued(9, killed.parent))  # sent since, by one that lives
    recovery.clear_after_kill(killed)
    assert recovery.cancel_orphans(killed) == ["7", "8"]
    assert recovery.cancel_orphans(killed) == [] and not (killed / recovery.ORPHANS).exists()
    end(first)


@pytest.mark.parametrize("fallback", ["no locks", "locks of one host"], indirect=True)
def test_jobs_of_a_snakemake_that_may_live_stop_the_run(killed, slurm, fallback):
    slurm.write_text(queued(7, killed.parent))
    register(killed, entry(1, **AWAY))
    recovery.clear_after_kill(killed)
    with pytest.raises(QuantaError, match="jobs 7 of this folder, and a Snakemake on another-host that may live"):
        recovery.cancel_orphans(killed)
    slurm.write_text("")
    assert recovery.cancel_orphans(killed) == []


def test_orphans_of_a_slurm_that_does_not_answer_stop_the_run(killed, slurm):
    slurm.write_text(queued(7, killed.parent))
    register(killed, dead())
    recovery.clear_after_kill(killed)
    slurm.unlink()
    with pytest.raises(QuantaError, match="squeue does not answer"):
        recovery.cancel_orphans(killed)


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
