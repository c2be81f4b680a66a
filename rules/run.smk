# Needs: the configuration. Makes: the plan of the run, what its jobs ask for, constraints of wildcards, the list of figures.

import atexit
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from quanta.config import checks, members, preflight, schema
from quanta.config.parity_plan import ParityPlan
from quanta.config.plan import Plan, canonical
from quanta.config.requests import Requests
from quanta.corpus import packages
from quanta.errors import QuantaError
from quanta.jobs import closing, every_rule, job, recovery, rerun_hash, schedule, slurm
from quanta.report import figures as figure_list

SCRIPTS = Path(workflow.basedir) / "workflow/scripts"
STATE = Path(".snakemake")

job.prepare(f"{workflow.basedir}/workflow")
if workflow.is_main_process:
    logger.addFilter(schedule.ShortReasons())
    recovery.clear_after_kill(STATE)
    rerun_hash.keep_times(SCRIPTS, STATE / "quanta_scripts.json")

try:
    config = schema.settle(config, schema.read_schema(f"{workflow.basedir}/config/schema.yaml"))
    checks.check_names(config)
    plan = Plan(config)
except QuantaError as error:
    raise WorkflowError(str(error)) from None

parity = ParityPlan(config, plan.folder)
needs = Requests(plan)
R = plan.folder
PARAMS = {"seed": config["seed"]}
GPU = config["resources"]["gpu"]
figures = figure_list.Figures(R, SCRIPTS, rerun_hash.code_hash)


skills = config["known_skills"]
METHODS = ("affinities", "assignments", "factors", "noises", "fewer", "by_frequency")


def one_of(names):
    """A wildcard's constraint; no name at all matches nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    model=one_of(plan.models),
    step="|".join(sorted({str(step) for _, step in plan.members})),
    axis=one_of(plan.axes),
    shard=r"\d+",
    shards=r"\d+",
    alpha=one_of(parity.alphas),
    replicate="|".join(parity.replicates),
    known=r"\d+",


def known_skills_tables(name):
    """A table of every set of known skills."""
    sets = [f"parity/{seed}" for seed in skills["parity"]["seeds"]]
    sets += [f"language/{seed}" for seed in skills["languages"]]
    return [f"{R}/known_skills/{one}/{name}" for one in sets]


def known_skills_nets(w):
    """Nets of a made language: those that come with the project, or else those that are trained here."""
    path = f"resources/known_skills/language-{w.known}.npz"
    return path if (Path(workflow.basedir) / path).is_file() else f"{R}/known_skills/nets/language-{w.known}.npz"


def code(script):
    """Hashes of what a script imports; every rule has that of its own by itself (`jobs/every_rule.py`)."""
    return rerun_hash.code_hash(SCRIPTS / f"{script}.py")


def shipped(name):
    """The record of a table that comes with the project: a param, which another table makes another one."""
    path = Path(workflow.basedir) / f"resources/calibration/{name}.json"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def keep_joined(parts, *joined):
    """Another number of parts makes nothing again that they are joined to."""
    if workflow.is_main_process:
        for output in joined:
            rerun_hash.keep_joined(STATE / "metadata", output, parts)


def if_made(rule, output):
    """An output of a rule that the workflow may do without."""
    return [getattr(getattr(rules, rule).output, output)] if rules.has(rule) else []


def picture(one):
    """A figure with its caption for Snakemake's own report; kept until it is drawn again."""
    path, told = f"{figures.folder}/{one['name']}.png", f"../{figure_list.caption(one['name'])}"
    return update(report(path, caption=told, category=one["category"]))


def look():
    """Refuse what no job could use: files, packages, given models, disk. Returns what a reader should know."""
    preflight.check_places(workflow.resource_settings.cores, workflow.resource_settings.nodes)
    lock = Path(workflow.basedir) / "envs/requirements.lock"
    preflight.check(config, Path(R), lock=lock, manifest=bool(plan.manifest_given()))
    return preflight.notes(config, Path(R))


@atexit.register
def after_dry_run():
    """A dry run has no start: it says below its plan what a run would be refused for."""
    if workflow.is_main_process and workflow.dryrun:
        try:
            for note in look():
                print(note, file=sys.stderr)
        except QuantaError as error:
            print(f"\nA run would stop before its first job.\n{error}", file=sys.stderr)


def start():
    """Refuse before any job what only a real run can trip over: what it looks for, jobs of a run that was killed."""
    try:
        recovery.cancel_orphans(STATE)
        if not workflow.local_exec:
            slurm.check_client()
            slurm.check_queue(getattr(workflow.executor_settings, "status_command", None))
            recovery.note_cluster(STATE)
            slurm.Waker(Path()).start()
        for note in look():
            logger.info(note)
    except QuantaError as error:
        raise WorkflowError(str(error)) from None
    schedule.calm(workflow)
    at_once = workflow.nodes if not workflow.local_exec else workflow.cores
    recorded = schedule.recorded([Path(f"{R}/benchmarks")], Path(workflow.basedir) / "workflow/data/seconds.csv")
    schedule.Overview(schedule.jobs_of(workflow.dag, recorded), at_once).start(logger)
