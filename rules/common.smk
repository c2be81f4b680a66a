# Needs: the configuration. Makes: the settled configuration, names of models and steps, input functions, resources.

import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.io import apply_wildcards, is_flagged

from quanta.config import checks, demands, preflight, schema
from quanta.config import members as settings
from quanta.errors import QuantaError
from quanta.jobs import failures, job, joining, recovery, rerun_hash, schedule, slurm
from quanta.corpus import packages
from quanta.models import neox_shape, weights
from quanta.storage import code as source_code

job.prepare(f"{workflow.basedir}/workflow")
if workflow.is_main_process:
    recovery.clear_after_kill(Path(".snakemake"))
    rerun_hash.keep_times(Path(workflow.basedir) / "workflow/scripts", Path(".snakemake/quanta_scripts.json"))

try:
    config = schema.settle(config, schema.read_schema(f"{workflow.basedir}/config/schema.yaml"))
    checks.check_names(config)
    MODELS = settings.model_names(config)
except QuantaError as error:
    raise WorkflowError(str(error)) from None

R = f"results/{config['run']}"
FINAL = settings.final_step(config)
DYNAMICS = config["dynamics"]["model"]
FOLLOWED = settings.followed(config)
AXES = ["size", "step"] if DYNAMICS else ["size"]
MEMBERS = [(model, step) for model in MODELS for step in settings.saved_steps(config, model)]
RELATIVES = settings.relatives(config)
SOURCE = config["models"]["source"]
SEEDS = {model: settings.described(config, model, FINAL)["seed"] for model in MODELS}
SEEDED = settings.seeded(config)
SUBSETS = config["corpus"]["source"] != "python" and config["corpus"]["jsonl"]["subset"] is not None
EXTENSIONS = ["png", "pdf", "csv"]
GPU = bool(config["resources"]["gpu"])
PARITY = config["parity"]
ALPHAS = [f"{alpha:g}" for alpha in PARITY["alphas"]]
REPLICATES = [str(number) for number in range(PARITY["replicates"])]
SWEEPS = ["fresh", "data"] if PARITY["data"]["sizes"] else ["fresh"]
SHOWN = f"alpha{PARITY['alpha']:g}/0"  # figures of single sweeps show the first replicate of one α
LOSSES_JOBS = 8  # at most so many jobs make the losses of several members each: slurm/config.yaml names them
DRAWN = {}  # figures by stage, as rules/figures.smk enters them


def one_of(names):
    """A wildcard's constraint; no name at all matches nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"


wildcard_constraints:
    model=one_of(MODELS),
    step="|".join(sorted({str(step) for _, step in MEMBERS})),
    axis="|".join(AXES),
    shard=r"\d+",
    shards=r"\d+",
    alpha=one_of(ALPHAS),
    replicate="|".join(REPLICATES),


def of(section):
    """A section of the configuration as canonical text: a param that changes when its content does, and only then."""
    return json.dumps(section, sort_keys=True)


def look():
    """What all figures share; a change reruns them and nothing else."""
    return of({key: config["figures"][key] for key in ("width_inches", "dpi")})


def code(script):
    """Hashes of what a script imports from the library; Snakemake itself watches only the script."""
    return rerun_hash.code_hash(f"{workflow.basedir}/workflow/scripts/{script}.py")


def shipped(name):
    """The record of a table that comes with the project: a param, which another table makes another one."""
    path = Path(workflow.basedir) / f"resources/calibration/{name}.json"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def text_file():
    """The file of texts, where there is one; a dry run need not have it. Or the folder of those fetched."""
    if config["corpus"]["source"] == "hub":
        return [f"{R}/corpus/fetched"]
    path = config["corpus"]["jsonl"]["path"]
    return [path] if config["corpus"]["source"] == "jsonl" and os.path.exists(path) else []


def manifest_file():
    """The record of what the models were trained on, where they were trained elsewhere on such a corpus."""
    found = settings.in_folder(config, "manifest.csv") if config["corpus"]["source"] == "python" else None
    return [str(found)] if found else []


def hash_of(wildcards):
    """The hash that the given folder's table has for a checkpoint."""
    return settings.expected_hash(config, wildcards.model, int(wildcards.step))


def curves(models):
    """Learning curves: of models that are trained here, or those that came with them."""
    if SOURCE == "folder":
        paths = [settings.in_folder(config, f"{model}/curve.csv") for model in models]
        return [str(path) for path in paths] if all(paths) else []
    return [f"{R}/models/{model}/curve.csv" for model in models] if SOURCE == "train" else []


def of_first_seed():
    """One model a size."""
    return [model for model in MODELS if SEEDS[model] == min(SEEDS.values())]


def tokenizer_source():
    """Models that were not trained here bring their tokenizer: that of the smallest is taken."""
    return [] if SOURCE == "train" else [f"{R}/models/{MODELS[0]}/step{FINAL}"]


def tokenizers_compared():
    """Made before any losses, where the models may have several tokenizers; another model makes no losses anew."""
    return [] if SOURCE == "train" else [f"{R}/models/tokenizers.json"]


def files_given(wildcards):
    """Files of a given checkpoint whose hash no table has: one that is changed in place is taken again."""
    if hash_of(wildcards) is not None:
        return None
    path = config["models"]["folder"]["path"]
    return of(weights.files_given(Path(path) / wildcards.model, int(wildcards.step), only_step=FINAL))


def on_hub(wildcards):
    """What is asked of the hub for a model and step, and the parameters that it must have."""
    return of(settings.request(config, wildcards.model, int(wildcards.step)))


def patience():
    """How long the hub is waited for."""
    keys = {"attempts": "attempts", "longest_wait_seconds": "longest", "stall_seconds": "stall"}
    return of({name: config["models"]["hub"][key] for key, name in keys.items()})


def family_members():
    """What the family's table says of a model and step besides what its weights say."""
    return of([settings.described(config, model, step) for model, step in MEMBERS])


def losses_of(members):
    """Files of losses of (model, step) pairs."""
    return [f"{R}/losses/{model}/step{step}.npy" for model, step in members]


def non_embedding_parameters(model):
    """Of a model, as far as the configuration knows them, else None."""
    if SOURCE == "train":
        return neox_shape.parameters(settings.trained(config, model))
    return settings.known_parameters(config, model)


def seconds_of_losses(member):
    """Forecast of the time of a member's losses on one core; None where its size is not known."""
    size = non_embedding_parameters(os.path.dirname(member))
    tokens = config["corpus"]["documents"] * config["corpus"]["context"]
    return None if size is None else demands.losses_seconds(size, tokens)


def shards(member):
    """Jobs that share the losses of a member."""
    own = {entry["model"]: entry["shards"] for entry in config["losses"]["shards_by_model"]}
    number = own.get(os.path.dirname(member), config["losses"]["shards"])
    return demands.parts(seconds_of_losses(member)) if number == "auto" else number


def qdg_shards():
    """Jobs that share the gradients."""
    number, size = config["qdg"]["shards"], non_embedding_parameters(config["qdg"]["model"])
    samples, context = config["qdg"]["tokens"], config["corpus"]["context"]
    seconds = None if size is None else demands.gradients_seconds(size, samples, context)
    return demands.parts(seconds) if number == "auto" else number


def losses_by_job():
    """Members (model/step) whose losses are made alone, in parts, or several together.

    Only members that the same stages read are put together, so that a new one makes no more anew than it would alone:
    the steps of a followed model, the other sizes, further seeds. The final step that is clustered stands alone.
    """
    members = [f"{model}/step{step}" for model, step in MEMBERS]
    parted = [member for member in members if shards(member) > 1]
    clustered = f"{config['qdg']['model']}/step{FINAL}"
    steps = [[f"{name}/step{step}" for name, step in MEMBERS if name == model and step != FINAL] for model in FOLLOWED]
    sizes = [f"{model}/step{FINAL}" for model in of_first_seed()]
    seeds = [f"{model}/step{FINAL}" for model in MODELS if model not in of_first_seed()]
    free = [[member for member in group if member not in {*parted, clustered}] for group in (*steps, sizes, seeds)]
    together = demands.together(free, seconds_of_losses, LOSSES_JOBS)
    taken = {*parted, *(member for run in together for member in run)}
    return {"alone": [m for m in members if m not in taken], "parted": parted, "together": together}


def parts_of(member):
    """Files of the parts of a member's losses."""
    number = shards(member)
    return [f"{R}/losses/{member}.part{i}of{number}.npy" for i in range(number)]


def parts_of_losses(wildcards):
    """The same of the member that the wildcards name."""
    return parts_of(wildcards.member)


def on_axis(axis):
    """(model, step) pairs along an axis: all sizes of the first seed at the final step, or all steps of one model."""
    if axis == "step":
        return [member for member in MEMBERS if member[0] == DYNAMICS]
    return [(model, FINAL) for model in of_first_seed()]


def learning_axes():
    """Name and (model, step) pairs of each axis on which clusters are learned: steps of the followed models, sizes."""
    axes = [[f"step of {name}", [member for member in MEMBERS if member[0] == name]] for name in FOLLOWED]
    return [[name, line] for name, line in [*axes, ["size", on_axis("size")]] if len(line) > 1]


def learning_members():
    """Their pairs, each once."""
    return list(dict.fromkeys(member for _, line in learning_axes() for member in line))


def seeded_members():
    """(model, step) pairs of the sizes that have several seeds, seed by seed."""
    return [(model, FINAL) for models in SEEDED.values() for model in models]


def losses_on_axis(wildcards):
    """Files of losses along the axis that the wildcards name."""
    return losses_of(on_axis(wildcards.axis))


def members_on_axis(wildcards):
    """The same pairs as a param."""
    return of(on_axis(wildcards.axis))


def paper_settings():
    """The run's settings that the paper states, by the names in quanta/report/paper.py."""
    return of(
        {
            "context": config["corpus"]["context"],
            "checkpoints": len(config["dynamics"]["steps"]) if DYNAMICS else None,
            "density_bins": config["scaling"]["density_bins"],
            "monogenic_above": config["scaling"]["monogenic_above_nats"],
            "monogenic_below": config["scaling"]["monogenic_below_nats"],
            "threshold": config["qdg"]["threshold"],
            "largest_n_clusters": max(config["qdg"]["n_clusters"]),
            # k-means is restarted in no other way to assign
            "restarts": config["qdg"]["restarts"] if config["qdg"]["assign"] == "restarts" else None,
        }
    )


def size_of(wildcards):
    """Shape and learning rate of one size of the ladder."""
    return of(settings.trained(config, wildcards.model))


def recipe():
    """What all sizes share in training."""
    shared = ("steps", "batch", "warmup_steps", "weight_decay")
    return of({key: config["models"]["train"][key] for key in shared} | {"context": config["corpus"]["context"]})


def draw(script, category, inputs, params=None, *, name=None, stage=None):
    """Enter a figure, drawn by `scripts/{room}/figure_{…}.py` for a `script` of "room/…", among those of its stage.

    `category` is its place in Snakemake's own report.
    """
    script = script.replace("/", "/figure_")
    name = name or script.partition("figure_")[2]
    one = {"name": name, "category": category, "script": script, "inputs": inputs, "params": params or {}}
    stage = stage or {"0": "theory", "1": "scaling", "2": "scaling", "3": "clusters", "5": "parity"}[category[0]]
    DRAWN.setdefault(stage, []).append(one | {"code": figure_code(script)})


def figure_code(script):
    """Hashes of a figure's script and of what it imports: the job's own script is that of all figures."""
    path = f"{workflow.basedir}/workflow/scripts/{script}.py"
    return f"{source_code.digest(path)[:8]}, {code(script)}"


def figure_names():
    """Figures that this run has data for, in the order of the page."""
    return [one["name"] for drawn in DRAWN.values() for one in drawn]


def files_of(drawn):
    """Inputs of a stage's figures, each once."""
    values = [value for one in drawn for value in one["inputs"].values()]
    return list(dict.fromkeys(path for value in values for path in ([value] if isinstance(value, str) else value)))


def pictures(drawn):
    """Those that Snakemake's own report shows as well."""
    return [shown_picture(one["name"], one["category"]) for one in drawn]


def shown_picture(name, category):
    """One of them, with its caption; kept until it is drawn anew."""
    caption = f"../workflow/report/{caption_of(name)}.rst"
    return update(report(figure(name), caption=caption, category=category))


def caption_of(name):
    """Captions are shared by the figures of a kind."""
    return name.removesuffix("_size").removesuffix("_step")


def further_tables():
    """Tables beside the report that this run has data for: by part of the corpus, by seed."""
    tables = [f"{R}/losses/by_subset.csv", f"{R}/qdg/subsets.csv"] if SUBSETS else []
    return tables + ([f"{R}/scaling/seeds.csv"] if len(set(SEEDS.values())) > 1 else [])


def promised():
    """What people script against (results/README.md): made again where it is missing, though nothing may need it."""
    qdg = ["tokens.parquet", "embedding.npy", "eigenvalues.npy", "labels.parquet", "rank_frequency.csv", "fits.json"]
    qdg += ["features.npy"] if config["qdg"]["mode"] == "sketch" else []
    qdg += [] if NEIGHBOURS else ["affinity.npy"]
    corpus = ["texts.parquet", "tokens.npy", "offsets.npy", "documents.parquet", "tokenizer/tokenizer.json"]
    tables = ["models/family.csv", "scaling/mean_loss.csv", "scaling/fits.json"]
    tables += [f"corpus/{name}" for name in corpus] + [f"qdg/{name}" for name in qdg]
    return [f"{R}/{name}" for name in tables] + losses_of(MEMBERS)


def tables_behind(targets):
    """What targets are made of, down to the texts, but for models and parts, which may be deleted.

    Snakemake leaves a missing table alone where all that was made of it is there; a job that fails has lost its outputs.
    """
    outputs = [(file, one) for one in workflow.rules for file in one.output if not is_flagged(file, "temp")]
    outputs = [(file, one) for file, one in outputs if not file.startswith(f"{R}/models/{{")]
    made = {str(file): one for file, one in outputs if not file.contains_wildcard()}
    patterns = [(file, one) for file, one in outputs if file.contains_wildcard()]

    def inputs(name):
        """Of the rule that makes it, as names; none if it is no table."""
        if name in made:
            return [str(file) for file in made[name].input if not callable(file)]
        for pattern, one in patterns:
            if matched := pattern.match(name):
                return [apply_wildcards(str(file), matched.groupdict()) for file in one.input if not callable(file)]
        return None

    found, todo = set(), list(targets)
    while todo:
        behind = {name for name in inputs(todo.pop()) or () if name not in found and inputs(name) is not None}
        found |= behind
        todo += behind
    return sorted(found)


def figure_files():
    """All of them, in all formats."""
    return [f"{R}/report/figures/{name}.{ext}" for name in figure_names() for ext in EXTENSIONS]


def figure(name):
    """The picture of one figure."""
    return f"{R}/report/figures/{name}.png"


def if_made(rule, output):
    """An output of a rule that the workflow may do without."""
    return [getattr(getattr(rules, rule).output, output)] if rules.has(rule) else []


def nulls_of_all():
    """Envelopes of the null models, to stand beside the data's: where those are of a sample, they have their own figure."""
    return [] if NEIGHBOURS else if_made("nulls", "curves")


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


def megabytes_of_texts():
    """The same for a job that holds the texts of a given corpus whole; 30 kB a document are allowed for."""
    given = 0 if config["corpus"]["source"] == "python" else config["corpus"]["documents"]
    return megabytes(1500 + 0.03 * given)


def megabytes_of_tokens(fixed, bytes_a_token):
    """The same for a job that holds arrays as long as the corpus; its documents are at most `context` long."""
    return megabytes(fixed + bytes_a_token * config["corpus"]["documents"] * config["corpus"]["context"] / 1e6)


def model_size(name):
    """Width, layers and parameters of a model, as far as the configuration knows them."""
    if SOURCE == "train":
        size = settings.trained(config, name)
        return demands.trained_size(size["width"], size["layers"], config["corpus"]["tokenizer"]["vocabulary"])
    known = non_embedding_parameters(name)
    return None if known is None else demands.published_size(known)


RECIPE = config["models"]["train"]


def training_mb(size, wildcards):
    """Memory of training."""
    return demands.training_mb(size, RECIPE["batch"] * config["corpus"]["context"])


def training_minutes(size, wildcards):
    """Time of training."""
    tokens = RECIPE["steps"] * RECIPE["batch"] * config["corpus"]["context"]
    return demands.training_minutes(size, tokens, gpu=GPU)


def losses_mb(size, wildcards):
    """Memory of one part of the losses."""
    return demands.losses_mb(size, config["losses"]["batch_tokens"])


def losses_minutes(size, wildcards):
    """Time of one part of the losses."""
    tokens = config["corpus"]["documents"] * config["corpus"]["context"] / shards(wildcards.member)
    return demands.losses_minutes(size, tokens, gpu=GPU)


def samples_of(wildcards):
    """Gradients of one part, or of all tokens where the rule has no parts."""
    return config["qdg"]["tokens"] / (int(wildcards.shards) if "shards" in wildcards.keys() else 1)


def gradients_mb(size, wildcards):
    """Memory of gradients."""
    tokens, features = config["qdg"]["batch_tokens"], config["qdg"]["features"]
    return demands.gradients_mb(size, tokens, samples_of(wildcards), features)


def gradients_minutes(size, wildcards):
    """Time of gradients."""
    return demands.gradients_minutes(size, samples_of(wildcards), config["corpus"]["context"], gpu=GPU)


def by_size(estimate, factor, unknown, least):
    """A resource that grows with the model that the wildcards name, or with qdg.model, and with each attempt.

    `estimate(size, wildcards)` is one of those above; `unknown` stands in for models of a folder, whose sizes no
    configuration tells; `least` is a lower bound.
    """

    def resource(wildcards, attempt):
        size = model_size(model_named(wildcards))
        value = unknown if size is None else estimate(size, wildcards)
        return int(max(value, least) * config["resources"][factor] * attempt)

    return resource


def model_named(wildcards):
    """The model that wildcards name, by itself or with a step; qdg.model where they name none."""
    member = getattr(wildcards, "member", None)
    return os.path.dirname(member) if member else getattr(wildcards, "model", config["qdg"]["model"])


def each(members, estimate, least):
    """An estimate, as in `by_size`, for each of some members (model/step), but at least `least`."""
    named = [SimpleNamespace(member=member) for member in members]
    return [max(least, estimate(model_size(model_named(one)), one)) for one in named]


def megabytes_by_size(estimate, unknown, least):
    """Memory of a job in MB."""
    return by_size(estimate, "memory_factor", unknown, least)


def minutes_by_size(estimate, unknown, least):
    """Runtime of a job in minutes."""
    return by_size(estimate, "runtime_factor", unknown, least)


def megabytes_of_curves():
    """The same for the curves of single tokens: a few copies of all losses along the axis."""

    def mem_mb(wildcards, attempt):
        tokens = config["corpus"]["documents"] * config["corpus"]["context"]
        followed = min(tokens, config["scaling"]["token_curves_predictions"] or tokens)
        values = len(on_axis(wildcards.axis)) * followed * 4 * 4 + 34 * tokens
        return int((1000 + values / 1e6) * config["resources"]["memory_factor"] * attempt)

    return mem_mb


def minutes(value):
    """Runtime of a job in minutes, times the configured factor, more with each attempt."""

    def runtime(wildcards, attempt):
        return int(value * config["resources"]["runtime_factor"] * attempt)

    return runtime


def check_surroundings():
    """Refuse before any job what only a real run can trip over: files, packages, disk, jobs of a run that was killed."""
    try:
        recovery.cancel_orphans(Path(".snakemake"))
        if not workflow.local_exec:
            slurm.check_queue(getattr(workflow.executor_settings, "status_command", None))
            recovery.note_cluster(Path(".snakemake"))
            slurm.Waker(Path()).start()
        lock = Path(workflow.basedir) / "envs/requirements.lock"
        preflight.check(config, Path(R), lock=lock, manifest=bool(manifest_file()))
        schedule.calm(workflow)
        watch_jobs()
    except QuantaError as error:
        raise WorkflowError(str(error)) from None


def watch_jobs():
    """Say how many jobs are done and how long the others will take."""
    shipped = Path(workflow.basedir) / "workflow/data/seconds.csv"
    jobs = schedule.jobs_of(workflow.dag, schedule.recorded([Path(f"{R}/benchmarks")], shipped))
    at_once = workflow.nodes if not workflow.local_exec else workflow.cores
    schedule.Overview(jobs, at_once).start(logger)


def closing_words():
    """What a user reads when the run is done."""
    page, summary = Path(f"{R}/report/index.html"), Path(f"{R}/report/summary.json")
    if not (page.is_file() and summary.is_file()):
        return ""
    lines = json.loads(summary.read_text(encoding="utf-8"))["headline"]
    further = [
        "read clusters in the report and name some: figures.labels puts your names into the figures",
        f'in Python: quanta.load("{R}"), docs/notebook/results.ipynb',
        "your own models and texts: config/custom.yaml; every key: config/README.md",
    ]
    return "\n".join(
        ["", f"Report: {page.resolve()}", *(f"  {line}" for line in lines), "Next", *(f"  {line}" for line in further)]
    )


def last_words(logs):
    """What a user reads when it failed: the end of each failed job's log. `logs` are Snakemake's own."""
    texts = [Path(log).read_text(encoding="utf-8", errors="replace") for log in logs if os.path.exists(log)]
    return failures.last_words("\n".join(texts))


def parity_problem():
    """Tasks and bits of sparse parity, as a param."""
    return of({key: PARITY[key] for key in ("n_tasks", "n_bits", "k")})


def parity_extent():
    """Its settings that the paper states, by the names in quanta/report/paper.py."""
    largest = {"width": max(PARITY["widths"]), "samples": max(PARITY["data"]["sizes"], default=0)}
    return of({key: PARITY[key] for key in ("n_tasks", "n_bits", "k", "batch_size", "steps")} | largest)


def parity_training():
    """How its nets are trained, as a param."""
    keys = "learning_rate weight_decay precision evaluations held_out_per_task checkpoint_every".split()
    return of({key: PARITY[key] for key in keys})


def parity_assignment():
    """How clusters are made, as for the language model."""
    qdg = config["qdg"]
    how = {"method": qdg["assign"], "rows": qdg["rows"]}
    # left out where there are none, so that an edit of them reruns nothing
    return of(how | ({"restarts": qdg["restarts"]} if qdg["assign"] == "restarts" else {}))


def parity_alpha(wildcards):
    """The α that the wildcards name."""
    return float(wildcards.alpha)


def parity_seed(wildcards):
    """Each replicate has its own seed, the same for every α: tasks and weights are shared, frequencies are not."""
    return config["seed"] + int(wildcards.replicate)


def parity_gradients_mb():
    """Memory for the gradients of the widest net and their copies, beside what a job needs anyway."""
    floats = PARITY["qdg"]["samples"] * max(PARITY["widths"]) * (PARITY["n_tasks"] + PARITY["n_bits"] + 3)
    return 1500 + floats * 16 // 10**6


def parity_is_shown(wildcards):
    """Whether figures show this α and replicate: there, QDG is tried under all conditions."""
    return f"alpha{wildcards.alpha}/{wildcards.replicate}" == SHOWN


def parity_tables(kind, name):
    """A table of every α and replicate."""
    return expand(f"{R}/parity/{kind}/alpha{{alpha}}/{{replicate}}/{name}", alpha=ALPHAS, replicate=REPLICATES)


def parity_sweeps(name):
    """A table of every sweep, α and replicate."""
    return [path for kind in SWEEPS for path in parity_tables(kind, name)]


def parity_shown(name):
    """Tables of the sweeps at the α that is shown."""
    return [f"{R}/parity/{kind}/{SHOWN}/{name}" for kind in SWEEPS]
