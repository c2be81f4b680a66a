"""How long a finished run would take on any number of cores, and which jobs make it so.

Reads the benchmarks of the run (seconds a job) and Snakemake's graph of all its jobs. Jobs without a benchmark count as
half a second. Usage, in the repository after a run: `python tests/benchmarks/critical_path.py [--configfile FILE …]`.
"""

import argparse
import contextlib
import io
from pathlib import Path

from quanta.jobs import schedule
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

SHORT = 0.5  # seconds of a job without a benchmark
ROOT = Path(__file__).resolve().parents[2]


def graph(configfiles):
    """Jobs of the whole run: number → (schedule.Job with its measured seconds, what it says of itself)."""
    quiet = OutputSettings(quiet={Quietness.ALL})
    with contextlib.redirect_stdout(io.StringIO()), SnakemakeApi(quiet) as api:
        flow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[Path(file) for file in configfiles]),
            snakefile=ROOT / "Snakefile",
        )
        plan = flow.dag(dag_settings=DAGSettings(forceall=True))
        plan.execute_workflow(executor="dryrun")
        dag = flow._workflow.dag
        jobs = schedule.jobs_of(dag, {})
        by_number = {dag.jobid(job): job for job in dag.needrun_jobs(exclude_finished=False)}
        jobs = {number: schedule.Job(by_number[number].rule.name, SHORT, one.needs) for number, one in jobs.items()}
        for number, one in jobs.items():
            path = by_number[number].benchmark
            if path and Path(str(path)).is_file():
                one.seconds = float(Path(str(path)).read_text().splitlines()[1].split("\t")[0])
        names = {number: by_number[number].message or one.rule for number, one in jobs.items()}
    return jobs, names


def longest(jobs):
    """Numbers of the jobs on the longest chain, first to last."""
    ends, before = {}, {}

    def end(number):
        if number not in ends:
            needed = [n for n in jobs[number].needs if n in jobs]
            before[number] = max(needed, key=end, default=None)
            ends[number] = jobs[number].seconds + (ends[before[number]] if needed else 0.0)
        return ends[number]

    last, chain = max(jobs, key=end), []
    while last is not None:
        chain.append(last)
        last = before[last]
    return chain[::-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", nargs="*", default=[])
    jobs, names = graph(parser.parse_args().configfile)
    total = sum(job.seconds for job in jobs.values())
    print("| cores | seconds |\n|---|---|")
    for cores in (1, 2, 4, 8, 16, len(jobs)):
        print(f"| {cores} | {schedule.left(jobs, cores, 0.0):.0f} |")
    print(f"\n{len(jobs)} jobs, {total:.0f} s in all; the longest chain:\n\n| seconds | job |\n|---|---|")
    for number in longest(jobs):
        print(f"| {jobs[number].seconds:.1f} | {names[number]} |")


if __name__ == "__main__":
    main()
