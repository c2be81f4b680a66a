"""`snakemake --profile slurm` on a real Slurm with two nodes: what it asks for, where jobs ran, and what goes wrong there.

make test-slurm                  # ARGS=--whole sends the whole smoke pipeline; ARGS=--cgroups: the kernel bounds its jobs
"""

import re
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest
import yaml
from repository import command, copy_of_the_repository, environment, hashes
from support import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1800)]

PROFILE = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
ASK_FOR_A_GPU = set(PROFILE["set-resources"])
# the profile as it is, but looked at sooner: nothing here takes minutes
SOON = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "20")
# without --whole: two models, up to the gradients, and two figures
SMALLER = {
    "models": {"train": {"sizes": [
        {"name": "tiny-a", "width": 8, "layers": 1, "heads": 2, "learning_rate": 0.02},
        {"name": "tiny-c", "width": 32, "layers": 2, "heads": 2, "learning_rate": 0.01},
    ]}},
    "dynamics": {"model": None},
}  # fmt: skip
PART = ("qdg/features.npy", "scaling/fits.json", "report/figures/learning_curves.png", "report/figures/mean_loss.png")


class Watch(threading.Thread):
    """Looks every half second which job holds which card of which node."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.seen, self.shared, self.ended = cluster, {}, [], threading.Event()

    def run(self):
        while not self.ended.wait(0.5):
            text = self.cluster.ask("scontrol show job --details --oneliner", fails=True)
            now = Counter()
            for line in text.splitlines():
                held = re.search(r" Nodes=(\S+) CPU_IDs=\S+ Mem=\d+ GRES=gpu\S*\(IDX:([\d,-]+)\)", line)
                if "JobState=RUNNING" in line and held:
                    job, card = re.search(r"JobId=(\d+)", line)[1], (held[1], held[2])
                    self.seen[job] = card
                    now[card] += 1
            self.shared += [card for card, jobs in now.items() if jobs > 1]


@pytest.fixture
def watch(cluster):
    thread = Watch(cluster)
    thread.start()
    yield thread
    thread.ended.set()
    thread.join()


def asked(cluster, since):
    """What Slurm has on record of the jobs that were sent since: rule, state, partition, memory in MB, and so on."""
    names = ["JobID", "Comment", "State", "Partition", "ReqTRES", "TimelimitRaw", "NodeList", "Account"]
    text = cluster.ask(f"sacct -X -n -P --starttime {since} --format {','.join(f'{n}%200' for n in names)}")
    rows = {}  # of a job that was requeued sacct has one for each time that it was put back
    for line in text.splitlines():
        row = dict(zip(names, line.split("|"), strict=True))
        rows[row["JobID"]] = row
    jobs = []
    for row in rows.values():
        wanted = dict(part.split("=", 1) for part in row["ReqTRES"].split(",") if part)
        jobs.append(
            {
                "number": row["JobID"],
                "rule": re.sub(r"^rule_", "", row["Comment"]).split("_wildcards_")[0].strip(),
                "state": row["State"].split()[0],
                "partition": row["Partition"],
                "mb": int(wanted.get("mem", "0M").removesuffix("M")),
                "gpus": int(wanted.get("gres/gpu", 0)),
                "cpus": int(wanted["cpu"]),
                "minutes": int(row["TimelimitRaw"] or 0),
                "node": row["NodeList"],
                "account": row["Account"],
            }
        )
    return jobs


def now(cluster):
    """As sacct takes it, a moment that no earlier job belongs to."""
    time.sleep(1.1)
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def start(cluster, folder, *arguments):
    """The user's command, its output into a file."""
    with (folder / "output.txt").open("a") as output:
        return subprocess.Popen(
            command("--profile", "slurm", *SOON, *arguments),
            cwd=folder,
            env=environment() | cluster.environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def finish(process, folder, *, fails=False):
    status = process.wait(timeout=900)
    text = (folder / "output.txt").read_text()
    assert (status != 0) == fails, text[-6000:]
    return text


def small(folder, rules):
    """A workflow of a few rules under the very profile of the repository, beside the library that it may use."""
    folder.mkdir(exist_ok=True)
    shutil.copytree(ROOT / "slurm", folder / "slurm")
    head = f"import sys\nsys.path.insert(0, {str(ROOT / 'workflow')!r})\n"
    (folder / "Snakefile").write_text(head + rules)
    return folder


# -------------------------------------------------------------------------------------------------- the pipeline


@pytest.fixture(scope="module")
def through_slurm(cluster, tmp_path_factory, request):
    """The smoke run through Slurm, one training of it put back into the queue: folder, jobs, cards that were held."""
    folder = copy_of_the_repository(tmp_path_factory.mktemp("smoke") / "quanta")
    arguments = ["--configfile", "config/smoke.yaml"]
    if not request.config.getoption("--whole"):
        (folder / "config/smaller.yaml").write_text(yaml.safe_dump(SMALLER))
        arguments += ["config/smaller.yaml", "--", *(f"results/smoke/{name}" for name in PART)]
    watch, since = Watch(cluster), now(cluster)
    watch.start()
    began = time.monotonic()
    process = start(cluster, folder, *arguments)
    again = put_back(cluster, folder)
    finish(process, folder)
    took = time.monotonic() - began
    watch.ended.set()
    watch.join()
    jobs = asked(cluster, since)
    print(f"\n{len(jobs)} Slurm jobs in {took:.0f} s, number {again} among them twice")
    return folder, arguments, jobs, watch


def put_back(cluster, folder):
    """Requeues the first training that computes, as preemption does; returns its number."""
    logs, found = folder / "results/smoke/logs/train", []

    def sent_back():
        listed = [line.split("|") for line in cluster.ask("squeue -h -t R -o '%i|%k'").splitlines()]
        numbers = [number for number, rule in listed if rule.startswith("rule_train")]
        if numbers and any("runs on" in path.read_text() for path in logs.glob("*.log")):
            cluster.ask(f"scontrol requeue {min(numbers)}")  # refused if it has just ended: then the next one
            found.append(min(numbers))
        return found

    cluster.wait("a training", sent_back, 600)
    [number] = found
    soon(cluster, [number])
    return number


def test_every_job_ends_well_and_every_rule_went_where_the_profile_says(through_slurm):
    _, _, jobs, _ = through_slurm
    assert {job["state"] for job in jobs} == {"COMPLETED"} and len(jobs) > 12
    for job in jobs:
        gpu = job["rule"] in ASK_FOR_A_GPU
        assert (job["partition"], job["gpus"]) == (("gpu", 1) if gpu else ("cpu", 0)), job
        assert job["account"] == "lab" and job["mb"] >= 500 and job["minutes"] >= 5, job
    assert {"train", "losses", "gradients"} <= {job["rule"] for job in jobs}
    figures = [job for job in jobs if job["rule"].startswith("figure")]
    assert 1 <= len(figures) <= 5 and len({job["rule"] for job in figures}) == len(figures), (
        "a stage's figures are one job"
    )
    assert not {"all", "enough"} & {job["rule"] for job in jobs}, "local rules stay local"


def test_no_two_jobs_hold_one_card(through_slurm):
    _, _, jobs, watch = through_slurm
    with_gpu = [job["number"] for job in jobs if job["gpus"]]
    assert not watch.shared
    assert len(set(with_gpu) & set(watch.seen)) >= len(with_gpu) // 2, "the watch saw too few to mean anything"
    assert len(set(watch.seen.values())) > 1, "more than one card was in use"


def test_a_job_says_where_it_computes(through_slurm):
    folder, _, _, _ = through_slurm
    for log in (folder / "results/smoke/logs/train").glob("*.log"):
        assert re.search(r"runs on the CPU: CUDA cannot use GPU \d that the job was given", log.read_text()), log


def test_results_are_those_of_one_machine(through_slurm, request, tmp_path):
    folder, arguments, _, _ = through_slurm
    if request.config.getoption("--whole"):
        local = request.getfixturevalue("finished")
    else:
        local = copy_of_the_repository(tmp_path / "quanta")
        shutil.copy(folder / "config/smaller.yaml", local / "config")
        done = subprocess.run(
            command("--cores", "2", *arguments),
            cwd=local, env=environment(), capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-4000:]
    expected, found = hashes(local), hashes(folder)
    assert len(expected) > 15
    assert found == expected


# --------------------------------------------------------------------------------------- a job that does not end well


def test_more_memory_and_more_time_are_asked_for_where_a_job_was_cut_off(cluster, tmp_path):
    folder = small(
        tmp_path / "w",
        """
rule all:
    input: "memory.txt", "time.txt"
    localrule: True
rule memory:
    output: "memory.txt"
    threads: 1
    resources: mem_mb=lambda w, attempt: 400 * attempt, runtime=5, gpu=0
    shell: "{sys.executable} -c 'import time; held = bytearray(500 << 20); time.sleep(300 * ({resources.mem_mb} < 500))'; "
        "echo {resources.mem_mb} > {output}"
rule time:
    output: "time.txt"
    threads: 1
    resources: mem_mb=300, runtime=lambda w, attempt: 1 if attempt == 1 else 3 * attempt, gpu=0
    shell: "if [ {resources.runtime} = 1 ]; then sleep 300; fi; echo {resources.runtime} > {output}"
""",
    )
    since = now(cluster)
    finish(start(cluster, folder), folder)
    assert (folder / "memory.txt").read_text().split() == ["800"]
    assert (folder / "time.txt").read_text().split() == ["6"]
    jobs = asked(cluster, since)
    ends = {(job["rule"], job["mb"], job["minutes"]): job["state"] for job in jobs}
    assert ends["memory", 800, 5] == ends["time", 300, 6] == "COMPLETED"
    # who kills it, Slurm or the kernel, and whom first, the process or the job, differs with the site
    assert ends["time", 300, 1] == "TIMEOUT" and ends["memory", 400, 5] in {"OUT_OF_MEMORY", "CANCELLED", "FAILED"}


# its jobs work until `release`, so that what a test does meanwhile may take as long as it takes
WORKERS = """
rule all:
    input: expand("{i}.txt", i=range(JOBS))
    localrule: True
rule worker:
    output: "{i}.txt"
    threads: 1
    resources: mem_mb=300, runtime=5, gpu=1, slurm_partition=PARTITION
    shell: "echo started >> {wildcards.i}.$SLURM_JOB_ID.run; until [ -e released ]; do sleep 0.2; done; "
        "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES > {output}"
"""


def workers(folder, *, jobs=4, before="", partition='"gpu"'):
    return small(folder, before + WORKERS.replace("JOBS", str(jobs)).replace("PARTITION", partition))


WAKING = """
from pathlib import Path
from quanta.jobs import slurm
onstart:
    slurm.Waker(Path(), pause=2).start()
"""


def release(folder):
    """Lets all workers of this folder end, those to come at once."""
    (folder / "released").touch()


def running(cluster, folder, at_least=1):
    """Numbers of the jobs of this folder that compute."""
    found = {}
    cluster.wait("jobs at work", lambda: found.update(_running(cluster, folder)) or len(found) >= at_least)
    return list(found)


def _running(cluster, folder):
    listed = cluster.ask("squeue -h -t R -o '%i|%Z'").splitlines()
    started = {path.name.split(".")[1] for path in folder.glob("*.run")}
    return {n: 1 for n, place in (line.split("|") for line in listed) if place == str(folder) and n in started}


def gone(cluster, jobs):
    """Waits until Slurm has ended these jobs and their processes."""
    cluster.wait(f"the end of {jobs}", lambda: not set(jobs) & set(cluster.ask("squeue -h -o %i").split()))


def soon(cluster, jobs):
    """Of jobs that come back to the queue: spares them the two minutes that Slurm lets such a job wait."""
    back = f"{jobs} to be back in the queue"
    cluster.wait(back, lambda: set(jobs) <= set(cluster.ask("squeue -h -t PD -o %i").split()))
    for number in jobs:  # which Slurm refuses for a moment
        cluster.wait("a new time", lambda job=number: [cluster.ask(f"scontrol update jobid={job} starttime=now")])


def starts(folder, job):
    """How often it began to compute."""
    return sum(len(path.read_text().split()) for path in folder.glob(f"*.{job}.run"))


def outputs(folder):
    return [path.read_text().split() for path in sorted(folder.glob("[0-9].txt"))]


def test_a_job_that_somebody_cancels_is_sent_again(cluster, tmp_path):
    folder = workers(tmp_path / "w")
    process = start(cluster, folder)
    cancelled = running(cluster, folder)[0]
    cluster.ask(f"scancel {cancelled}")
    gone(cluster, [cancelled])
    release(folder)
    text = finish(process, folder)
    assert len(outputs(folder)) == 4 and f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in text


def test_a_job_that_somebody_holds_is_named(cluster, tmp_path):
    folder = workers(tmp_path / "w", jobs=5, before=WAKING)  # one more than there are cards
    process = start(cluster, folder)
    running(cluster, folder, at_least=4)
    waiting = []
    cluster.wait("a job that waits", lambda: waiting.extend(cluster.ask("squeue -h -t PD -o %i").split()) or waiting)
    cluster.ask(f"scontrol hold {waiting[0]}")
    said = f"Job {waiting[0]} waits, and will not start by itself (JobHeld"
    cluster.wait("the word", lambda: said in (folder / "output.txt").read_text())
    release(folder)
    gone(cluster, list(_running(cluster, folder)))
    assert len(outputs(folder)) == 4 and process.poll() is None
    cluster.ask(f"scontrol release {waiting[0]}")
    text = finish(process, folder)
    assert len(outputs(folder)) == 5 and text.count(said) == 1


def test_a_node_that_is_drained_ends_its_jobs_and_gets_no_more(cluster, tmp_path, watch):
    folder, since = workers(tmp_path / "w", jobs=6), now(cluster)
    process = start(cluster, folder)
    running(cluster, folder, at_least=4)  # all cards of both nodes
    try:
        cluster.ask("scontrol update nodename=n1 state=drain reason=test")
        release(folder)
        finish(process, folder)
    finally:
        cluster.ask("scontrol update nodename=n1 state=resume", fails=True)
    jobs = asked(cluster, since)
    assert len(outputs(folder)) == 6 and not watch.shared
    assert [job["state"] for job in jobs] == 6 * ["COMPLETED"], "none of them was lost"
    assert {job["node"] for job in jobs[4:]} == {"n2"}


def test_jobs_of_a_node_that_dies_run_elsewhere_and_once(cluster, tmp_path, watch):
    folder, since = workers(tmp_path / "w", jobs=2), now(cluster)
    process = start(cluster, folder)
    running(cluster, folder, at_least=2)
    on = dict(line.split() for line in cluster.ask("squeue -h -t R -o '%i %N'").splitlines())
    dead = min(on.values())
    lost = [number for number, node in on.items() if node == dead]
    cluster.kill_node(dead)
    try:
        soon(cluster, lost)
        running(cluster, folder, at_least=2)
        assert not {dead} & set(cluster.ask("squeue -h -t R -o %N").split())
        release(folder)
        text = finish(process, folder)
    finally:
        cluster.start_node(dead)
    jobs = asked(cluster, since)
    assert [job["state"] for job in jobs] == 2 * ["COMPLETED"] and len(outputs(folder)) == 2, "none was sent twice"
    assert {job["node"] for job in jobs if job["number"] in lost} == {"n1", "n2"} - {dead}
    assert all(starts(folder, number) == 1 + (number in lost) for number in on)
    assert not watch.shared and "failed" not in text


def test_jobs_that_are_preempted_start_again_whatever_the_partition_does_with_them(cluster, tmp_path, watch):
    """Slurm puts back the job of the first partition, and cancels that of the second."""
    partition = 'lambda wildcards: ["requeued", "cancelled"][int(wildcards.i)]'
    folder, since = workers(tmp_path / "w", jobs=2, before=WAKING, partition=partition), now(cluster)
    process = start(cluster, folder)
    preempted = running(cluster, folder, at_least=2)
    urgent = cluster.ask(
        "sbatch --parsable --partition urgent --nodes 2 --gpus-per-node 2 --output /dev/null --wrap 'sleep 300'"
    ).strip()
    cluster.wait("the urgent job", lambda: urgent in cluster.ask("squeue -h -t R -o %i").split())
    soon(cluster, preempted)
    assert not _running(cluster, folder)
    cluster.ask(f"scancel {urgent}")
    running(cluster, folder, at_least=2)
    release(folder)
    text = finish(process, folder)
    jobs = [job for job in asked(cluster, since) if job["partition"] != "urgent"]
    assert [job["state"] for job in jobs] == 2 * ["COMPLETED"] and len(outputs(folder)) == 2, "none was sent twice"
    assert [starts(folder, number) for number in preempted] == [2, 2]
    assert text.count("was preempted: it is in the queue again") == 1
    assert not watch.shared


def test_a_job_that_a_node_cannot_launch_runs_elsewhere(cluster, tmp_path):
    folder, since = workers(tmp_path / "w", jobs=1, before=WAKING), now(cluster)
    faulty = cluster.folder / "faulty-n1"
    faulty.touch()  # the first node that Slurm takes
    try:
        process = start(cluster, folder)
        cluster.wait("the node to be drained", lambda: "drain" in cluster.ask("sinfo -h -n n1 -o %T"))
        cluster.wait("the job to be put back", lambda: cluster.ask("squeue -h -o %i").split())
        soon(cluster, cluster.ask("squeue -h -o %i").split())
        running(cluster, folder)
        release(folder)
        text = finish(process, folder)
    finally:
        faulty.unlink()
        cluster.ask("scontrol update nodename=n1 state=resume", fails=True)
    assert "could not be launched by its node and was held: it is in the queue again" in text
    assert [(job["state"], job["node"]) for job in asked(cluster, since)] == [("COMPLETED", "n2")]


def test_the_controller_may_be_away_for_a_while(cluster, tmp_path):
    folder = workers(tmp_path / "w", jobs=2)
    process = start(cluster, folder)
    running(cluster, folder, at_least=2)
    cluster.stop_controller()
    time.sleep(8)  # more than one look of Snakemake finds nobody
    assert process.poll() is None, "Snakemake left"
    release(folder)  # they end while nobody is there to be told
    time.sleep(2)
    cluster.start_controller()
    text = finish(process, folder)
    assert len(outputs(folder)) == 2 and "failed" not in text


# --------------------------------------------------------------------------------------------- Snakemake is killed

RECOVERING = """
from pathlib import Path
from quanta.jobs import recovery
if workflow.is_main_process:
    recovery.clear_after_kill(Path(".snakemake"))
onstart:
    recovery.cancel_orphans(Path(".snakemake"))
    recovery.note_cluster(Path(".snakemake"))
"""


def test_snakemake_killed_and_started_again_has_no_job_computed_by_two(cluster, tmp_path):
    folder = workers(tmp_path / "w", before=RECOVERING)
    process = start(cluster, folder)
    orphans = running(cluster, folder, at_least=2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    dry = subprocess.run(
        command("--profile", "slurm", "--dry-run"),
        cwd=folder, env=environment() | cluster.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert re.search(r"^worker +4$", dry.stdout + dry.stderr, re.MULTILINE)
    assert set(orphans) <= set(_running(cluster, folder)), "a dry run cancels nothing"
    process = start(cluster, folder)
    gone(cluster, orphans)
    release(folder)
    text = finish(process, folder)
    named = re.search(r"its jobs are cancelled and done again: ([\d, ]+)\.", text)
    assert named and set(orphans) <= set(named[1].split(", "))
    assert len(outputs(folder)) == 4
    states = cluster.ask(f"sacct -X -n -P -j {','.join(orphans)} --format State").split("\n")
    assert all(state.startswith("CANCELLED") for state in states if state)
    assert not _running(cluster, folder)


def test_an_interrupted_snakemake_takes_its_jobs_with_it(cluster, tmp_path):
    folder = workers(tmp_path / "w")
    process = start(cluster, folder)
    running(cluster, folder)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) != 0
    cluster.wait("the jobs to be gone", lambda: not _running(cluster, folder))
