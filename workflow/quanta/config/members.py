"""The configuration: settled against the schema, checked across its keys, before any work starts.

Imported while Snakemake parses, once a job: nothing heavy here.
"""

import csv
import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from quanta.errors import QuantaError

Config = dict[str, Any]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a model, whatever names it: a folder of the run has it too


def read_schema(path: str | Path) -> dict[str, Any]:
    """The schema as a dictionary."""
    schema: dict[str, Any] = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    return schema


def _with_defaults(kind: Any) -> Any:
    """A validator that fills in defaults before it checks a level."""
    check = kind.VALIDATORS["properties"]

    def fill(validator: Any, properties: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, dict):
            for key, entry in properties.items():
                if "default" in entry and key not in instance:
                    instance[key] = json.loads(json.dumps(entry["default"]))
        yield from check(validator, properties, instance, schema)

    extend: Any = validators.extend
    return extend(kind, {"properties": fill})


def settle(config: Mapping[str, Any], schema: Mapping[str, Any], where: str = "config") -> Config:
    """A copy with all defaults, keys in the schema's order, checked key by key and across keys.

    Raises:
        QuantaError: a key is unknown (the nearest known one is named), of a wrong type, or at odds with another.
    """
    settled: Config = json.loads(json.dumps(config))
    errors = sorted(
        _with_defaults(Draft202012Validator)(schema).iter_errors(settled), key=lambda e: list(e.absolute_path)
    )
    for error in errors:
        raise _explained(error, where)
    settled = _ordered(settled, schema)
    _check_across(settled)
    return settled


def _ordered(value: Any, schema: Mapping[str, Any]) -> Any:
    """Keys in the schema's order: Snakemake reruns a rule whose param is a dictionary in another order."""
    if isinstance(value, dict) and "properties" in schema:
        return {key: _ordered(value[key], entry) for key, entry in schema["properties"].items() if key in value}
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        return [_ordered(item, schema["items"]) for item in value]
    return value


def _explained(error: ValidationError, where: str) -> QuantaError:
    key = ".".join(str(part) for part in error.absolute_path) or "(top level)"
    place = f"{where}, key {key}"
    if error.validator == "additionalProperties":
        schema: Any = error.schema
        instance: Any = error.instance
        known = list(schema["properties"])
        for name in instance:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
                mend = f"write {near[0]!r}" if near else "take it out"
                full = name if key == "(top level)" else f"{key}.{name}"
                return QuantaError(f"{where}, key {full}", "unknown key", f"one of {', '.join(known)}", mend)
    description = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    expected = {
        "type": f"a value of type {error.validator_value}",
        "enum": f"one of {error.validator_value}",
        "minItems": f"at least {error.validator_value} entries",
        "maxItems": f"at most {error.validator_value} entries",
        "minimum": f"at least {error.validator_value}",
        "maximum": f"at most {error.validator_value}",
        "exclusiveMinimum": f"more than {error.validator_value}",
        "pattern": f"a text that matches {error.validator_value}",
        "required": f"the keys {error.validator_value}",
    }.get(str(error.validator), error.message)
    mend = f"change the value. {description}".strip()
    if error.validator == "type" and isinstance(error.instance, str):
        # Snakemake reads what stands within braces on its command line as text, numbers too
        mend = f"write it without quotation marks, in a file for --configfile and not after --config. {description}".strip()
    return QuantaError(place, f"{error.instance!r}", expected, mend)


# ---------------------------------------------------------------------------------------------- across keys
#
# What a stage would fail at is refused here, section by section, each check next to what reads the section.


def refuse(key: str, found: str, expected: str, mend: str) -> NoReturn:
    """Refuse a key's value.

    Raises:
        QuantaError: always.
    """
    raise QuantaError(f"config, key {key}", found, expected, mend)


def _check_across(config: Config) -> None:
    for check in (_check_corpus, _check_models, _check_dynamics, _check_scaling, _check_qdg, _check_lineage,
                  _check_neighbours, _check_calibration, _check_parity):  # fmt: skip
        check(config)


def _check_corpus(config: Config) -> None:
    corpus = config["corpus"]
    if corpus["source"] == "jsonl" and not corpus["jsonl"]["path"]:
        refuse("corpus.jsonl.path", "not set", "the path of a JSON Lines file", "set it")
    if corpus["source"] == "hub" and not corpus["hub"]["repository"]:
        refuse("corpus.hub.repository", "not set", "the name of a data set on the hub", "set it")
    if config["models"]["source"] == "train" and not 0 < corpus["heldout_share"] < 1:
        refuse("corpus.heldout_share", f"{corpus['heldout_share']}", "between 0 and 1 where models are trained here",
               "0.05 is the default")  # fmt: skip


def texts_needed(config: Config) -> int | None:
    """Held-out texts after which no more are read; None for all: they are spread, or models are trained on the others."""
    corpus = config["corpus"]
    first = corpus["take"] == "first" and config["models"]["source"] != "train"
    return int(corpus["documents"]) if first else None


# --------------------------------------------------------------------------------------------------- models


def model_names(config: Config) -> list[str]:
    """Names of the family's members, smallest first as far as the config says.

    Raises:
        QuantaError: the folder of models does not exist or is empty.
    """
    source = config["models"]["source"]
    if source == "train":
        return [size["name"] for size in config["models"]["train"]["sizes"]]
    if source == "hub":
        return [member["name"] for member in config["models"]["hub"]["members"]]
    path = config["models"]["folder"]["path"]
    listed = list(dict.fromkeys(row["model"] for row in listed_members(config)))
    if listed:
        return listed
    folder = Path(path) if path else None
    names = sorted(p.name for p in folder.iterdir() if _holds_models(p)) if folder and folder.is_dir() else []
    names = [name for name in names if NAME.fullmatch(name)]
    if not names:
        raise QuantaError(
            "config, key models.folder.path",
            f"{path!r} holds no model" if path else "not set",
            "a folder with one folder per model, each in Hugging Face format or with folders step{n} that are",
            "set it to an existing folder",
        )
    return names


def _holds_models(folder: Path) -> bool:
    """Whether a folder is a model's, whole or not: a configuration, weights or step folders. `tokenizer` is shared."""
    if folder.name == "tokenizer" or not folder.is_dir():
        return False
    found = {path.name for path in folder.iterdir()}
    steps = any(name.startswith("step") and name[4:].isdigit() for name in found)
    return steps or "config.json" in found or any(name.endswith((".safetensors", ".bin")) for name in found)


def _check_models(config: Config) -> None:
    models = config["models"]
    if models["source"] == "hub" and not models["hub"]["members"]:
        refuse("models.hub.members", "an empty list", "at least two models", "list them, smallest first")
    names = model_names(config)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        refuse("models", f"{twice[0]!r} twice", "different names", "rename one")
    small = [name.lower() for name in names]
    alike = [name for name in names if small.count(name.lower()) > 1]
    if alike:  # macOS and Windows have one folder for both
        refuse("models", f"{alike[0]!r} and {alike[1]!r}", "names that differ in more than case", "rename one")
    for index, size in enumerate(models["train"]["sizes"]):
        if size["width"] % (size["heads"] * 2):
            refuse(f"models.train.sizes.{index}", f"width {size['width']} with {size['heads']} heads",
                   "a width that is an even multiple of heads", "change one of them")  # fmt: skip


def _check_model(config: Config, name: str, key: str) -> None:
    names = model_names(config)
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        refuse(key, f"{name!r}", f"a model of the family: {', '.join(names)}",
               f"write {near[0]!r}" if near else "choose one of them")  # fmt: skip


def in_folder(config: Config, name: str) -> Path | None:
    """A file or folder beside the models of a given folder, if it is there: family.csv, manifest.csv, tokenizer."""
    path = config["models"]["folder"]["path"]
    found = Path(path) / name if config["models"]["source"] == "folder" and path else None
    return found if found and found.exists() else None


def listed_members(config: Config) -> list[dict[str, str]]:
    """Rows of the given folder's family.csv (as `family.csv` of a run, or part of it); none where it has none.

    Raises:
        QuantaError: the table lacks model, step, seed or sha256.
    """
    path = in_folder(config, "family.csv")
    return _members_of(path, path.stat().st_mtime_ns) if path else []


@cache
def _members_of(path: Path, time: int) -> list[dict[str, str]]:
    """Those rows, read once: parsing the workflow asks for them some hundred times."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = ("model", "step", "seed", "sha256")
    if not rows or not all(row.get(key) for row in rows for key in wanted):
        raise QuantaError(str(path), "a table without some of these", f"in each row {', '.join(wanted)}",
                          "fetch it anew, or take it away to use the folder as it is")  # fmt: skip
    for row in rows:
        if not NAME.fullmatch(row["model"]) or not row["step"].isdecimal():
            raise QuantaError(str(path), f"model {row['model']!r} at step {row['step']!r}",
                              "a name of letters, digits, dots, underscores and hyphens, and a number",
                              "correct the table: both become names of folders")  # fmt: skip
    return rows


def expected_hash(config: Config, model: str, step: int) -> str | None:
    """SHA-256 of the weights that the given folder's table names for a model and step; None where it names none."""
    rows = listed_members(config)
    return next((row["sha256"] for row in rows if (row["model"], row["step"]) == (model, str(step))), None)


def final_step(config: Config) -> int:
    """The step at which sizes are compared."""
    models = config["models"]
    step = models["train"]["steps"] if models["source"] == "train" else models[models["source"]]["final_step"]
    return int(step)


def parameters(size: Mapping[str, Any]) -> int:
    """Non-embedding parameters of a GPT-NeoX shape: 12 d² + 13 d a layer and the final layer norm's 2 d."""
    width, layers = int(size["width"]), int(size["layers"])
    return layers * (12 * width**2 + 13 * width) + 2 * width


def trained(config: Config, model: str) -> dict[str, Any]:
    """A size of the ladder with its learning rate: its own, else by the rule rate_at_100k · (N / 100,000)^exponent."""
    train = config["models"]["train"]
    size = next(dict(size) for size in train["sizes"] if size["name"] == model)
    rate = train["rate_at_100k"] * (parameters(size) / 1e5) ** train["rate_exponent"]
    return {"learning_rate": float(f"{rate:.3g}"), "precision": "auto", "seed": 0} | size


def _member(config: Config, model: str) -> dict[str, Any]:
    source = config["models"]["source"]
    if source == "folder":
        row = next((row for row in listed_members(config) if row["model"] == model), None)
        if row is None:
            return {}
        size = row.get("non_embedding_parameters")
        return {"seed": int(row["seed"])} | ({"parameters": int(size)} if size else {})
    listed = config["models"]["hub"]["members"] if source == "hub" else config["models"]["train"]["sizes"]
    return next((dict(member) for member in listed if member["name"] == model), {})


def known_parameters(config: Config, model: str) -> int | None:
    """Non-embedding parameters that a table of the family or a list of members states; None where none does."""
    found = _member(config, model).get("parameters")
    return None if found is None else int(found)


def request(config: Config, model: str, step: int) -> dict[str, Any]:
    """What is asked of the hub for a model and step: repository, revision, instead, parameters (None: not asserted)."""
    hub, member = config["models"]["hub"], _member(config, model)
    named = {entry["step"]: entry["revision"] for entry in hub["revisions"]}
    rule = member.get("revision", named.get(step, hub["revision"]))
    return {
        "repository": member["repository"],
        "revision": rule.replace("{step}", str(step)),
        "instead": next((entry["revision"] for entry in hub["instead"] if entry["step"] == step), None),
        "parameters": member.get("parameters"),
    }


def described(config: Config, model: str, step: int) -> dict[str, Any]:
    """What the configuration says of a model and step: model, step, revision, seed, optimiser_step."""
    source, member = config["models"]["source"], _member(config, model)
    scaled = step * member.get("optimiser_steps_a_label", 1)
    return {
        "model": model,
        "step": step,
        "revision": request(config, model, step)["revision"] if source == "hub" else source,
        "seed": member.get("seed", 0),
        "optimiser_step": int(scaled) if scaled == int(scaled) else scaled,
    }


def seeded(config: Config) -> dict[int, list[str]]:
    """Models by seed, smallest first, of the sizes that have all of these seeds; empty unless two sizes share two seeds.

    Sizes are told apart by the non-embedding parameters that the configuration knows; a model without takes no part.
    """
    by_size: dict[int, dict[int, str]] = {}
    for model in model_names(config):
        member = _member(config, model)
        size = parameters(member) if config["models"]["source"] == "train" else member.get("parameters")
        if size is not None:
            by_size.setdefault(size, {}).setdefault(member.get("seed", 0), model)
    several = [by_size[size] for size in sorted(by_size) if len(by_size[size]) > 1]
    shared = sorted(set(several[0]).intersection(*several[1:])) if len(several) > 1 else []
    return {seed: [models[seed] for models in several] for seed in shared} if len(shared) > 1 else {}


# ----------------------------------------------------------------------------------- dynamics and scaling


def followed(config: Config) -> list[str]:
    """Models whose steps are evaluated, the one that figures show first."""
    dynamics = config["dynamics"]
    return [dynamics["model"], *dynamics["further"]] if dynamics["model"] is not None else []


def saved_steps(config: Config, model: str) -> list[int]:
    """Steps of a model that are evaluated: all of the dynamics' for its model, the final one for the others."""
    return list(config["dynamics"]["steps"]) if model in followed(config) else [final_step(config)]


def _check_dynamics(config: Config) -> None:
    dynamics, last = config["dynamics"], final_step(config)
    if dynamics["model"] is None:
        return
    _check_model(config, dynamics["model"], "dynamics.model")
    for index, name in enumerate(dynamics["further"]):
        _check_model(config, name, f"dynamics.further.{index}")
    steps = dynamics["steps"]
    if steps != sorted(set(steps)) or not steps or steps[-1] != last:
        refuse("dynamics.steps", f"{steps}", f"rising steps that end at the final one, {last}",
               f"sort them and end with {last}")  # fmt: skip


def _check_scaling(config: Config) -> None:
    left_out = config["scaling"]["leave_out"]
    for index, name in enumerate(left_out):
        _check_model(config, name, f"scaling.leave_out.{index}")
    fitted = len(model_names(config)) - len(left_out)
    if fitted < 2:
        refuse("scaling.leave_out", f"{fitted} models are left to fit", "at least two", "leave out fewer")


# ------------------------------------------------------------------------------------- qdg and calibration


def relatives(config: Config) -> list[tuple[str, int]]:
    """Models and steps whose clusters are matched with those of qdg.model: `model`, at the final step, or `model/step`."""
    parts = [entry.partition("/") for entry in config["qdg"]["lineage"]]
    return [(model, int(step) if step else final_step(config)) for model, _, step in parts]


def _check_qdg(config: Config) -> None:
    qdg = config["qdg"]
    _check_model(config, qdg["model"], "qdg.model")
    if qdg["features"] % 2 == 0:
        refuse("qdg.features", f"{qdg['features']}", "an odd number: the error of inner products is known for those alone",
               f"write {qdg['features'] + 1}")  # fmt: skip
    counts, tokens = qdg["n_clusters"], qdg["tokens"]
    if counts != sorted(set(counts)):
        refuse("qdg.n_clusters", f"{counts}", "rising numbers, each once", f"write {sorted(set(counts))}")
    if counts[-1] >= tokens:
        refuse("qdg.n_clusters", f"{counts[-1]} clusters of {tokens} tokens", "fewer clusters than qdg.tokens",
               "raise qdg.tokens, or take the large numbers out")  # fmt: skip
    if qdg["show"] not in counts:
        refuse("qdg.show", f"{qdg['show']}", f"one of qdg.n_clusters, {counts}", "choose one of them")
    low, high = qdg["rank_shares"]
    if low >= high:
        refuse("qdg.rank_shares", f"{qdg['rank_shares']}", "a lower share, then a higher one", "swap them")
    first, last = (max(round(share * tokens), 1) for share in (low, high))  # as zipf.rank_range
    if min(last, counts[-1]) <= first:
        refuse("qdg.rank_shares", f"ranks {first} to {last} of {tokens} tokens, while the largest of qdg.n_clusters is {counts[-1]}",
               "at least two ranks that have a cluster", "lower the shares, or add larger numbers to qdg.n_clusters")  # fmt: skip


def _check_lineage(config: Config) -> None:
    names, own = model_names(config), (config["qdg"]["model"], final_step(config))
    known = [(name, step) for name in names for step in saved_steps(config, name) if (name, step) != own]
    members = relatives(config)
    for index, (entry, member) in enumerate(zip(config["qdg"]["lineage"], members, strict=True)):
        _check_model(config, member[0], f"qdg.lineage.{index}")
        if member not in known or member in members[:index]:
            steps = [step for name, step in known if name == member[0]]
            refuse(f"qdg.lineage.{index}", f"{entry!r}", f"once, a step that is evaluated and not qdg.model itself: {steps}",
                   "choose another, or add the step to dynamics.steps")  # fmt: skip


def _check_neighbours(config: Config) -> None:
    qdg, sample = config["qdg"], config["calibration"]["tokens"]
    if qdg["graph"] != "neighbours":
        return
    if qdg["mode"] == "exact":
        refuse("qdg.graph", "neighbours of exact gradients", "neighbours of a sketch",
               "set qdg.mode to sketch, or qdg.graph to dense")  # fmt: skip
    if qdg["neighbours"] >= qdg["tokens"]:
        refuse("qdg.neighbours", f"{qdg['neighbours']} of {qdg['tokens']} tokens", "fewer than qdg.tokens",
               "lower it, or set qdg.graph to dense")  # fmt: skip
    if qdg["n_clusters"][-1] >= qdg["tokens"] - 1:
        refuse("qdg.n_clusters", f"{qdg['n_clusters'][-1]} clusters of {qdg['tokens']} tokens",
               "at most N − 2 with qdg.graph: neighbours", "take the large numbers out")  # fmt: skip
    if qdg["show"] >= sample:
        refuse("qdg.show", f"{qdg['show']} clusters, shown of a sample of {sample} tokens",
               "fewer than calibration.tokens with qdg.graph: neighbours", "raise calibration.tokens")  # fmt: skip


FEWEST_KNOWN = 100  # simulations that calibration.Calibration is fitted to, at least


def _check_calibration(config: Config) -> None:
    simulations, held_out = (config["calibration"][key] for key in ("simulations", "held_out"))
    if simulations - held_out < FEWEST_KNOWN:
        refuse("calibration.held_out", f"{held_out} of {simulations} simulations",
               f"at least {FEWEST_KNOWN} simulations that are not held out",
               f"raise calibration.simulations to {held_out + FEWEST_KNOWN}, or hold out fewer")  # fmt: skip


# -------------------------------------------------------------------------------------------------- parity


def _check_parity(config: Config) -> None:
    """Folders are named by α with six digits, and tables are looked up by the number in the name."""
    parity = config["parity"]
    if parity["alpha"] not in parity["alphas"]:
        refuse("parity.alpha", f"{parity['alpha']}", f"one of parity.alphas, {parity['alphas']}", "choose one of them")
    fewest = min([parity["qdg"]["samples"], *parity["qdg"]["sample_numbers"]])
    if min(parity["qdg"]["n_clusters"]) >= fewest:
        refuse("parity.qdg.n_clusters", f"{min(parity['qdg']['n_clusters'])} clusters or more of {fewest} samples",
               "a number below parity.qdg.samples and all of parity.qdg.sample_numbers",
               "raise the samples, or add smaller numbers of clusters")  # fmt: skip
    for index, alpha in enumerate(parity["alphas"]):
        if float(f"{alpha:g}") != alpha:
            refuse(f"parity.alphas.{index}", f"{alpha!r}", "a number of at most six digits", f"write {alpha:g}")


# ------------------------------------------------------------------------------------ names that Snakemake reads


def check_names(config: Config) -> None:
    """Refuse names of files and folders with braces: Snakemake takes what stands in them for a wildcard.

    Raises:
        QuantaError: a name has braces.
    """
    places = ("corpus.jsonl.path", "models.folder.path", "models.hub.store", "models.hub.lock", "figures.labels")
    for place in places:
        section: Any = config
        for key in place.split("."):
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, str) and set("{}") & set(section):
            raise QuantaError(
                f"config, key {place}",
                f"{section!r}",
                "a name without braces",
                "rename it, or link to it by another name",
            )


# -------------------------------------------------------------------------------------------- documentation


def describe(schema: Mapping[str, Any]) -> str:
    """config/README.md: one table a section, every key with its meaning and default."""
    lines = [
        "# Configuration",
        "",
        "Written from `schema.yaml` by `make docs`; change it there. A key that is left out has its default. Unknown keys are errors.",
        "",
        "| file | what it runs |",
        "|---|---|",
        "| `config.yaml` | the default: the family that comes with the repository, on Python sources of installed packages |",
        "| `pythia.yaml` | the paper's own experiment: Pythia and the Pile, on GPUs |",
        "| `pythia-*.yaml`, `polypythias.yaml`, `gpt2.yaml`, `olmo.yaml`, `tinystories.yaml` | further families, over `pythia.yaml` |",
        "| `custom.yaml` | your own checkpoints and texts |",
        "| `smoke.yaml` | the whole pipeline in about two minutes, for tests |",
        "| `parity.yaml` | sparse parity in the paper's setting, on a GPU |",
        "| `parity-steps.yaml` | the paper's parity tasks, fewer widths, training sets and steps, for CPUs: docs/results/parity-steps |",
        "| `parity-cpu.yaml` | smaller parity tasks, all three resources, for CPUs: docs/results/parity-cpu |",
        "",
        "`snakemake --configfile FILE` puts FILE over `config.yaml`: sections are merged, lists are replaced.",
        "",
    ]

    def section(name: str, entry: Mapping[str, Any]) -> None:
        plain = {k: e for k, e in entry["properties"].items() if e.get("type") != "object"}
        if name:
            lines.extend([f"## `{name}`", "", entry.get("description", ""), ""])
        lines.extend(["| key | default | meaning |", "|---|---|---|"])
        for key, e in plain.items():
            full = f"{name}.{key}" if name else key
            choices = f" One of {', '.join(f'`{c}`' for c in e['enum'])}." if "enum" in e else ""
            lines.append(f"| `{full}` | {_shown(e['default'])} | {e['description']}{choices} |")
        lines.append("")
        for key, e in entry["properties"].items():
            if e.get("type") == "object":
                section(f"{name}.{key}" if name else key, e)

    section("", schema)
    return "\n".join(lines).rstrip() + "\n"


def _shown(default: Any) -> str:
    if isinstance(default, list) and default and isinstance(default[0], dict):
        return "<br>".join(
            f"`{item['name']}`: " + ", ".join(f"{k} {v}" for k, v in item.items() if k != "name") for item in default
        )
    return f"`{json.dumps(default)}`"
