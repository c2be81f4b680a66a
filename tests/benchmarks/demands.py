"""What jobs asked a scheduler for beside what they used: memory and time, of each rule the job that came closest.

    PYTHONPATH=workflow python tests/benchmarks/demands.py [--configfile config/train.yaml] [--targets FILE ...]

Reads `benchmarks/` of a run that is finished in this folder. Snakemake looks at a job's memory every 30 s (more often
at its start), so that a short peak may be missed.
"""

import argparse
import csv
from pathlib import Path
from typing import Any, NamedTuple

from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings


class Use(NamedTuple):
    """One job: MB and minutes."""

    memory: float
    asked_memory: float
    time: float
    asked_time: float


def planned(configuration: list[Path], targets: set[str]) -> list[Any]:
    """All jobs of a run, those that are done among them."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=configuration),
            snakefile=Path("Snakefile"),
        )
        workflow.dag(DAGSettings(targets=targets)).execute_workflow(executor="dryrun")
        return list(workflow._workflow.dag.jobs)


def used(job: Any) -> Use | None:
    """What a job used; None where it has not run."""
    if not job.benchmark or not Path(job.benchmark).exists():
        return None
    with Path(job.benchmark).open() as stream:
        row = next(csv.DictReader(stream, delimiter="\t"))
    megabytes = float(row["max_rss"]) if row["max_rss"][0].isdigit() else 0.0  # a job may be too short to be looked at
    return Use(megabytes, job.resources["mem_mb"], float(row["s"]) / 60, job.resources["runtime"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="what jobs asked for beside what they used")
    parser.add_argument("--configfile", type=Path, nargs="*", default=[])
    parser.add_argument("--targets", nargs="*", default=[], help="of the run; all without it")
    chosen = parser.parse_args()
    rules: dict[str, list[Use]] = {}
    for job in planned(chosen.configfile, set(chosen.targets)):
        if (use := used(job)) is not None:
            rules.setdefault(job.rule.name, []).append(use)
    if not rules:
        print("nothing of this run is finished here: snakemake --cores 2 first")
        return
    print("| rule | jobs | memory used, MB | asked for | time used, min | asked for |\n|---|---|---|---|---|---|")
    for name, uses in sorted(rules.items(), key=lambda rule: -max(use.memory / use.asked_memory for use in rule[1])):
        memory = max(uses, key=lambda use: use.memory / use.asked_memory)
        time = max(uses, key=lambda use: use.time / use.asked_time)
        print(
            f"| {name} | {len(uses)} | {memory.memory:.0f} | {memory.asked_memory} | {time.time:.2f} | {time.asked_time} |"
        )


if __name__ == "__main__":
    main()
