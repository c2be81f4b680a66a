# Needs: the configuration. Makes: the settled configuration, names of models and steps, input functions, resources.

import json
import os
import re
from pathlib import Path

from snakemake.exceptions import WorkflowError

from quanta import code as library
from quanta import config as settings
from quanta import job, recovery, surroundings
from quanta.errors import QuantaError

job.prepare(f"{workflow.basedir}/workflow")
if workflow.is_main_process:
    recovery.clear_after_kill(Path(".snakemake"))

try:
    config = settings.settle(config, settings.read_schema(f"{workflow.basedir}/config/schema.yaml"))
    MODELS = settings.model_names(config)
except QuantaError as error:
    raise WorkflowError(str(error)) from None

R = f"results/{config['run']}"
FINAL = settings.final_step(config)
DYNAMICS = config["dynamics"]["model"]
AXES = ["size", "step"] if DYNAMICS else ["size"]
MEMBERS = [(model, step) for model in MODELS for step in settings.saved_steps(config, model)]
SOURCE = config["models"]["source"]
EXTENSIONS = ["png", "pdf"]
WITHOUT_DATA = ("parity_", "theory", "published", "accounts")  # these draw tables of the run as they are


wildcard_constraints:
    model="|".join(map(re.escape, MODELS)),
    step="|".join(sorted({str(step) for _, step in MEMBERS})),
    axis="|".join(AXES),
    shard=r"\d+",


def of(section):
    """A section of the configuration as canonical text: a param that changes when its content does, and only then."""
    return json.dumps(section, sort_keys=True)


def look():
    """What all figures share; a change reruns them and nothing else."""
    return of({key: config["figures"][key] for key in ("width_inches", "dpi")})


def code(script):
    """Hash of what a script imports from the library; Snakemake itself watches only the script."""
    return library.code_hash(f"{workflow.basedir}/workflow/scripts/{script}.py")


def text_file():
    """The file of texts, where there is one; a dry run need not have it."""
    path = config["corpus"]["jsonl"]["path"]
    return [path] if config["corpus"]["source"] == "jsonl" and os.path.exists(path) else []


def tokenizer_source():
    """Models that were not trained here bring their tokenizer: that of the smallest is taken."""
    return [] if SOURCE == "train" else [f"{R}/models/{MODELS[0]}/step{FINAL}"]


def repository_of(wildcards):
    """The hub's repository of a model."""
    return next(m["repository"] for m in config["models"]["hub"]["members"] if m["name"] == wildcards.model)


def revision_name(model, step):
    """The revision of a step, as the family's table names it."""
    return config["models"]["hub"]["revision"].replace("{step}", str(step)) if SOURCE == "hub" else SOURCE


def revision_of(wildcards):
    """The same from wildcards."""
    return revision_name(wildcards.model, wildcards.step)


def losses_of(members):
    """Files of losses of (model, step) pairs."""
    return [f"{R}/losses/{model}/step{step}.npy" for model, step in members]


def on_axis(axis):
    """(model, step) pairs along an axis: all sizes at the final step, or all steps of one model."""
    return [(model, FINAL) for model in MODELS] if axis == "size" else [m for m in MEMBERS if m[0] == DYNAMICS]


def losses_on_axis(wildcards):
    """Files of losses along the axis that the wildcards name."""
    return losses_of(on_axis(wildcards.axis))


def members_on_axis(wildcards):
    """The same pairs as a param."""
    return of(on_axis(wildcards.axis))


def size_of(wildcards):
    """Shape and learning rate of one size of the ladder."""
    return of(next(size for size in config["models"]["train"]["sizes"] if size["name"] == wildcards.model))


def recipe():
    """What all sizes share in training."""
    shared = ("steps", "batch", "warmup_steps", "weight_decay")
    return of({key: config["models"]["train"][key] for key in shared} | {"context": config["corpus"]["context"]})


def figure_names():
    """Figures that this run has data for, in the order of the page."""
    names = ["learning_curves"] if SOURCE == "train" else []
    names += ["mean_loss"]
    for axis in AXES:
        names += [f"density_{axis}", f"token_curves_{axis}"]
    names += ["dynamics"] if DYNAMICS else []
    return [*names, "sharpness", "clusters", "emergence", "affinity", "spectrum", "rank_frequency"]


def figures_with_data():
    """Those of them that put what they draw beside the picture, as CSV."""
    return [name for name in figure_names() if not name.startswith(WITHOUT_DATA)]


def caption_of(name):
    """Captions are shared by the figures of a kind."""
    return name.removesuffix("_size").removesuffix("_step")


def figure_files():
    """All of them, in all formats."""
    return [f"{R}/report/figures/{name}.{ext}" for name in figure_names() for ext in EXTENSIONS]


def figure(name):
    """Outputs of one figure: the picture is shown in Snakemake's own report as well."""
    return f"{R}/report/figures/{name}.png"


def drawn(name):
    """The vector version."""
    return f"{R}/report/figures/{name}.pdf"


def if_made(rule, output):
    """An output of a rule that the workflow may do without."""
    return [getattr(getattr(rules, rule).output, output)] if rules.has(rule) else []


def reader_names():
    """The reader's names of clusters, where there are any."""
    return [config["figures"]["labels"]] if config["figures"]["labels"] else []


def behind(name):
    """The data behind it."""
    return f"{R}/report/figures/{name}.csv"


def megabytes(value):
    """Memory of a job in MB, times the configured factor, more with each attempt."""

    def mem_mb(wildcards, attempt):
        return int(value * config["resources"]["memory_factor"] * attempt)

    return mem_mb


def minutes(value):
    """Runtime of a job in minutes, more with each attempt."""

    def runtime(wildcards, attempt):
        return int(value * attempt)

    return runtime


def check_surroundings():
    """Refuse before any job what only a real run can trip over: files, packages, disk."""
    try:
        surroundings.check(config, Path(R), lock=Path(workflow.basedir) / "envs/requirements.lock")
    except QuantaError as error:
        raise WorkflowError(str(error)) from None


def closing_words():
    """What a user reads when the run is done."""
    page, summary = Path(f"{R}/report/index.html"), Path(f"{R}/report/summary.json")
    if not (page.is_file() and summary.is_file()):
        return ""
    lines = json.loads(summary.read_text(encoding="utf-8"))["headline"]
    return "\n".join(["", f"Report: {page.resolve()}", *(f"  {line}" for line in lines)])
