import logging
from types import SimpleNamespace

import pytest
from quanta.jobs import schedule
from quanta.jobs.schedule import Job, left


class _Job:
    """A job of Snakemake's graph."""

    def __init__(self, rule):
        self.rule, self.is_norun = SimpleNamespace(name=rule), rule == "all"


def said(event, **values):
    record = logging.LogRecord("snakemake", logging.INFO, "", 0, None, None, None)
    record.__dict__.update(event=SimpleNamespace(value=event), **values)
    return record


def test_time_left_is_that_of_the_longest_chain_on_many_cores_and_of_the_sum_on_one():
    jobs = {1: Job("a", 10), 2: Job("b", 20, {1}), 3: Job("c", 5), 4: Job("d", 7, {2, 3})}
    assert left(jobs, 100, 0.0) == 10 + 20 + 7
    assert left(jobs, 1, 0.0) == 42
    assert left({}, 4, 0.0) == 0


def test_longest_chains_go_first():
    jobs = {number: Job("short", 10) for number in range(2)} | {9: Job("long", 20)}
    assert left(jobs, 2, 0.0) == 20, "the long one beside both short ones, not after them"


def test_a_job_that_runs_counts_with_what_is_left_of_it():
    assert left({1: Job("a", 10, began=100.0), 2: Job("b", 4, {1})}, 2, 104.0) == pytest.approx(10)
    assert left({1: Job("a", 10, began=100.0)}, 2, 500.0) == 1, "longer than forecast: it may end any moment"


def test_the_forecast_follows_the_speed_of_this_machine():
    view = schedule.Overview({n: Job("a", 100) for n in range(4)}, 1)
    view.emit(said("job_started", jobs=[0]))
    view.jobs[0].began -= 300
    view.emit(said("job_finished", job_id=0))
    line = view.line(view.began + 300)
    # 300 s forecast, times (300 + 20) / (100 + 20)
    assert line == "1 of 4 jobs done, 5:00 gone, about 13:20 left"
    for number in (1, 2, 3):
        view.emit(said("job_finished", job_id=number))
    assert view.line(view.began + 900) == "4 of 4 jobs done, 15:00 gone"


def test_records_of_the_run_come_before_those_shipped(tmp_path):
    (tmp_path / "shipped.csv").write_text("rule,seconds\nselect,3\nlabels,9\n")
    for name, seconds in {
        "select.tsv": 1,
        "losses/m/step1.tsv": 4,
        "losses/m/step2.tsv": 8,
        "figures_x.tsv": 2,
    }.items():
        path = tmp_path / "benchmarks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0:00:01\n")
    (tmp_path / "benchmarks/broken.tsv").write_text("s\nnone\n")
    known = schedule.recorded([tmp_path / "benchmarks"], tmp_path / "shipped.csv")
    assert known == {"select": 1, "labels": 9, "losses": 6, "figures_x": 2}
    assert schedule.kind("losses_together_3") == "losses_together"


@pytest.mark.parametrize(("limit", "kept"), [((100, 1), False), ((5, 1), True), ((100, 60), True)])
def test_only_the_limit_that_nobody_set_is_taken_away(limit, kept):
    limiter = SimpleNamespace(max_jobs=limit[0], timespan=limit[1])
    workflow = SimpleNamespace(scheduler=SimpleNamespace(job_rate_limiter=limiter))
    schedule.calm(workflow)
    assert (workflow.scheduler.job_rate_limiter is limiter) == kept
    schedule.calm(SimpleNamespace())  # another Snakemake than expected


def test_a_reason_names_a_few_files_and_counts_the_others():
    """That of the last job names every file of the run, ten thousand letters between a user and the closing words."""
    reason = "Missing output files: a, b; Input files updated by another job: c, d, e, f, g"
    short = "Missing output files: a, b; Input files updated by another job: c, d, e and 2 more"
    assert schedule.shortened(reason) == short and schedule.shortened(short) == short
    params = "Params have changed since last execution: before: 'a, b, c, d' now: 'a, b, c, e'"
    assert schedule.shortened(params) == params
    union = "Union of exclusive params before and now across all output: "
    changed = "Params have changed since last execution: {}before: 2.5 now: 6"
    assert schedule.shortened(changed.format(union)) == changed.format("")
    record = said("job_info", reason=reason)
    assert schedule.ShortReasons().filter(record) and record.reason == short
    assert schedule.ShortReasons().filter(said("job_started", jobs=[1])), "a record without a reason is kept as it is"


def test_as_many_jobs_are_counted_as_snakemake_counts():
    made, all_ = _Job("a"), _Job("all")
    dag = SimpleNamespace(
        jobid=lambda job: int(job is made),
        needrun_jobs=lambda exclude_finished: [made, all_],
        dependencies={all_: [made]},
    )
    jobs = schedule.jobs_of(dag, {"a": 7.0})
    assert {number: (job.rule, job.seconds, job.needs) for number, job in jobs.items()} == {
        1: ("a", 7.0, set()),
        0: ("all", 0.0, {1}),
    }
