import pytest
from quanta.errors import QuantaError
from quanta.jobs import slurm as jobs_slurm
from support import programs, queued


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A Slurm whose `scontrol show config` says what is given."""

    def says(text):
        monkeypatch.setenv("PATH", programs(tmp_path, scontrol=f"cat <<'END'\nConfiguration data\n{text}\nEND"))

    return says


@pytest.mark.parametrize("seconds", [2, 60, 180])
def test_a_queue_that_forgets_too_early_is_refused(slurm, seconds):
    slurm(f"MinJobAge               = {seconds} sec")
    with pytest.raises(QuantaError, match=f"{seconds} s") as caught:
        jobs_slurm.check_queue("squeue")
    assert "sacct" in caught.value.mend
    jobs_slurm.check_queue("sacct")
    jobs_slurm.check_queue(None)


@pytest.mark.parametrize("text", ["MinJobAge               = 300 sec", "MinJobAgeOfOthers = 2 sec", ""])
def test_any_other_is_taken(slurm, text):
    slurm(text)
    jobs_slurm.check_queue("squeue")


def test_a_machine_without_slurm_is_refused_before_any_job(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(QuantaError, match="no sbatch") as caught:
        jobs_slurm.check_client()
    assert "--cores" in caught.value.mend
    monkeypatch.setenv("PATH", programs(tmp_path / "bin", sbatch="exit 1"))
    jobs_slurm.check_client()


def test_a_slurm_that_does_not_answer_is_left_to_the_plugin(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    jobs_slurm.check_queue("squeue")


# ---------------------------------------------------------------------------------------------- jobs that nobody wakes


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Clients whose queue is the file that is returned; `scontrol` notes what it is given, and refuses job 99."""
    rows = tmp_path / "queue.txt"
    path = programs(
        tmp_path / "bin",
        squeue=f"[ -f {rows} ] || exit 1; echo $@ > {tmp_path}/asked.txt; cat {rows}",
        scontrol=f'[ $2 = 99 ] && {{ echo "presently disabled" >&2; exit 1; }}; echo $@ >> {tmp_path}/told.txt',
    )
    monkeypatch.setenv("PATH", path)
    return rows


def told(queue):
    path = queue.with_name("told.txt")
    return path.read_text().splitlines() if path.exists() else []


def test_jobs_that_were_preempted_or_held_by_a_node_are_sent_on(queue, tmp_path, caplog):
    queue.write_text("")
    waker = jobs_slurm.Waker(tmp_path)
    assert waker.look() == []
    queue.write_text(
        queued(7, tmp_path, "PREEMPTED")
        + queued(8, tmp_path, "PENDING", reason="launch failed requeued held")
        + queued(9, tmp_path, "PENDING", reason="Priority")
        + queued(10, tmp_path, "PENDING", reason="JobHeldUser")
        + queued(11, "/elsewhere", "PREEMPTED")
        + queued(12, tmp_path, "PREEMPTED", name="another")
    )
    assert waker.look() == ["7", "8"]
    assert told(queue) == ["requeue 7", "release 8"], "what a person holds, another folder's and others' stay"
    assert "Job 7 was preempted: it is in the queue again." in caplog.text
    assert "--states=PREEMPTED,PENDING" in queue.with_name("asked.txt").read_text()
    queue.write_text(queued(7, tmp_path, "PREEMPTED"))
    assert waker.look() == ["7"], "once more, for it may be preempted again"


def test_what_an_earlier_run_left_is_not_sent_on(queue, tmp_path):
    """Its jobs are sent anew, and two would write one file."""
    waker = jobs_slurm.Waker(tmp_path)
    assert waker.look() == [], "Slurm does not answer"
    queue.write_text(queued(7, tmp_path, "PREEMPTED") + queued(8, tmp_path, "RUNNING"))
    assert waker.look() == []
    queue.write_text(queued(7, tmp_path, "PREEMPTED") + queued(8, tmp_path, "PREEMPTED"))
    assert waker.look() == ["8"] and told(queue) == ["requeue 8"]


def test_a_job_that_may_not_be_requeued_is_said_once_with_the_mend(queue, tmp_path, caplog):
    queue.write_text("")
    waker = jobs_slurm.Waker(tmp_path)
    waker.look()
    queue.write_text(queued(99, tmp_path, "PREEMPTED") + queued(7, tmp_path, "PREEMPTED"))
    assert waker.look() == ["7"] and "Job 99" not in caplog.text, "it may have come back by itself"
    assert waker.look() == ["7"] and waker.look() == ["7"]
    assert caplog.text.count("Job 99 was preempted, and Slurm will not requeue it (presently disabled)") == 1
    assert "slurm-requeue: true" in caplog.text


@pytest.mark.parametrize(
    "reason", ["PartitionTimeLimit", "QOSMaxWallDurationPerJobLimit", "BadConstraints", "InvalidAccount", "JobHeldUser"]
)
def test_a_job_that_waits_for_what_will_not_come_is_named_once(queue, tmp_path, caplog, reason):
    queue.write_text(queued(7, tmp_path, "PENDING", reason=reason) + queued(8, tmp_path, "RUNNING", reason=reason))
    waker = jobs_slurm.Waker(tmp_path)
    assert waker.look() == [] and waker.look() == [] and told(queue) == []
    assert (
        caplog.text.count(f"Job 7 waits, and will not start by itself ({reason})") == 1 and "Job 8" not in caplog.text
    )


@pytest.mark.parametrize(
    "reason", ["Priority", "Resources", "None", "BeginTime", "QOSMaxJobsPerUserLimit", "ReqNodeNotAvail"]
)
def test_a_job_that_will_start_is_not_named(queue, tmp_path, caplog, reason):
    queue.write_text(queued(7, tmp_path, "PENDING", reason=reason))
    assert jobs_slurm.Waker(tmp_path).look() == [] and not caplog.text


def test_a_look_that_fails_is_not_the_last(monkeypatch, caplog, tmp_path):
    """Snakemake would wait for ever for what only this thread sends on."""
    looks = []

    class StopError(BaseException):
        pass

    def look():
        looks.append(1)
        if len(looks) == 3:
            raise StopError
        raise ValueError("a queue of another kind")

    waker = jobs_slurm.Waker(tmp_path, pause=0)
    monkeypatch.setattr(waker, "look", look)
    with pytest.raises(StopError):
        waker.run()
    assert len(looks) == 3 and caplog.text.count("ValueError: a queue of another kind") == 2
