# Needs: the configuration. Makes: the plan of the run, what its jobs ask for, constraints of wildcards, the list of figures.

import re
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
from quanta.storage import code as source_code

SCRIPTS = Path(workflow.basedir) / "workflow/scripts"
STATE = Path(".snakemake")

job.prepare(f"{workflow.basedir}/workflow")
if workflow.is_main_process:
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
DRAWN = {}  # figures by stage, as rules/figures.smk enters them


def one_of(names):
    """A wildcard's constraint; no name at all matches nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    model=one_of(plan.models),
    step="|".join(sorted({str(step) for _, step in plan.members})),
    axis="|".join(plan.axes),
    shard=r"\d+",
    shards=r"\d+",
    alpha=one_of(parity.alphas),
    replicate="|".join(parity.replicates),


def code(script):
    """Hashes of what a script imports; every rule has that of its own by itself (`jobs/every_rule.py`)."""
    return rerun_hash.code_hash(SCRIPTS / f"{script}.py")


def shipped(name):
    """The record of a table that comes with the project: a param, which another table makes another one."""
    path = Path(workflow.basedir) / f"resources/calibration/{name}.json"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def keep_joined(parts, *joined):
    """Another number of parts makes nothing anew that they are joined to."""
    if workflow.is_main_process:
        for output in joined:
            rerun_hash.keep_joined(STATE / "metadata", output, parts)


def if_made(rule, output):
    """An output of a rule that the workflow may do without."""
    return [getattr(getattr(rules, rule).output, output)] if rules.has(rule) else []


def draw(script, category, inputs, params=None, *, name=None, stage=None):
    """Enter a figure, drawn by `scripts/{room}/figure_{…}.py` for a `script` of "room/…", among those of its stage.

    `category` is its place in Snakemake's own report. The figure's code is its script's and what that imports: the job's
    own script is that of all figures.
    """
    script = "/figure_".join(script.split("/"))
    name = name or script.partition("figure_")[2]
    one = {"name": name, "category": category, "script": script, "inputs": inputs, "params": params or {}}
    one["code"] = f"{source_code.digest(SCRIPTS / f'{script}.py')[:8]}, {code(script)}"
    stage = stage or {"0": "theory", "1": "scaling", "2": "scaling", "3": "clusters", "5": "parity"}[category[0]]
    DRAWN.setdefault(stage, []).append(one)


def figure_names():
    """Figures that this run has data for, in the order of the page."""
    return [one["name"] for drawn in DRAWN.values() for one in drawn]


def figure_files(*kinds):
    """Files of all figures."""
    return [f"{R}/report/figures/{name}.{kind}" for name in figure_names() for kind in kinds]


def inputs_of(drawn):
    """Inputs of a stage's figures, each once."""
    values = [value for one in drawn for value in one["inputs"].values()]
    return list(dict.fromkeys(path for value in values for path in ([value] if isinstance(value, str) else value)))


def caption(name):
    """Captions are shared by the figures of a kind."""
    return f"workflow/report/{name.removesuffix('_size').removesuffix('_step')}.rst"


def picture(one):
    """A figure with its caption for Snakemake's own report; kept until it is drawn anew."""
    shown = report(
        f"{R}/report/figures/{one['name']}.png", caption=f"../{caption(one['name'])}", category=one["category"]
    )
    return update(shown)


def start():
    """Refuse before any job what only a real run can trip over: files, packages, disk, jobs of a run that was killed."""
    try:
        recovery.cancel_orphans(STATE)
        if not workflow.local_exec:
            slurm.check_queue(getattr(workflow.executor_settings, "status_command", None))
            recovery.note_cluster(STATE)
            slurm.Waker(Path()).start()
        lock = Path(workflow.basedir) / "envs/requirements.lock"
        preflight.check(config, Path(R), lock=lock, manifest=bool(plan.manifest_given()))
    except QuantaError as error:
        raise WorkflowError(str(error)) from None
    schedule.calm(workflow)
    at_once = workflow.nodes if not workflow.local_exec else workflow.cores
    recorded = schedule.recorded([Path(f"{R}/benchmarks")], Path(workflow.basedir) / "workflow/data/seconds.csv")
    schedule.Overview(schedule.jobs_of(workflow.dag, recorded), at_once).start(logger)
