import pytest
from quanta import cluster
from quanta.errors import QuantaError


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A Slurm whose `scontrol show config` says what is given."""

    def says(text):
        script = tmp_path / "scontrol"
        script.write_text(f"#!/bin/sh\ncat <<'END'\nConfiguration data\n{text}\nEND\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return says


@pytest.mark.parametrize("seconds", [2, 60, 180])
def test_a_queue_that_forgets_too_early_is_refused(slurm, seconds):
    slurm(f"MinJobAge               = {seconds} sec")
    with pytest.raises(QuantaError, match=f"{seconds} s") as caught:
        cluster.check_queue("squeue")
    assert "sacct" in caught.value.mend
    cluster.check_queue("sacct")
    cluster.check_queue(None)


@pytest.mark.parametrize("text", ["MinJobAge               = 300 sec", "MinJobAgeOfOthers = 2 sec", ""])
def test_any_other_is_taken(slurm, text):
    slurm(text)
    cluster.check_queue("squeue")


def test_a_slurm_that_does_not_answer_is_left_to_the_plugin(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    cluster.check_queue("squeue")
