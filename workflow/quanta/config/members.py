"""What the settled configuration says of models: their names, steps, seeds, sizes, and where they come from.

Imported while Snakemake parses, once a job: nothing heavy here.
"""

import csv
import re
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from quanta.errors import QuantaError
from quanta.models import headers, neox_shape, weights

Config = dict[str, Any]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # of a model, whatever names it: a folder of the run has it too


# ---------------------------------------------------------------------------------------------- across keys
#
# What a stage would fail at is refused here, section by section, each check next to what reads the section.


def refuse(key: str, found: str, expected: str, mend: str) -> NoReturn:
    """Refuse a key's value.

    Raises:
        QuantaError: always.
    """
    raise QuantaError(f"config, key {key}", found, expected, mend)


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
    if folder and _holds_models(folder) and all(name in _step_folders(folder) for name in names):
        _refuse_one(folder)
    if not names:
        raise QuantaError(
            "config, key models.folder.path",
            f"{path!r} holds no model" if path else "not set",
            "a folder with one folder per model, each in Hugging Face format or with folders step{n} that are",
            "set it to an existing folder",
        )
    return names


def _refuse_one(folder: Path) -> NoReturn:
    """Refuse a model's own folder as that of all models, with what to write: the folder above it is, if it fits."""
    folder = folder.resolve()
    name = "model" if folder.name.startswith("step") or not NAME.fullmatch(folder.name) else folder.name
    alone = [path.name for path in folder.parent.iterdir() if _holds_models(path)] == [name]
    mend = f"set it to {folder.parent}" if alone else f"mkdir checkpoints && ln -s {folder} checkpoints/{name}, set it to checkpoints"  # fmt: skip
    refuse("models.folder.path", f"{str(folder)!r} is the folder of one model", "the folder above it, with one folder per model",
           f"{mend}, and qdg.model to {name}")  # fmt: skip


def _holds_models(folder: Path) -> bool:
    """Whether a folder is a model's, whole or not: a configuration, weights or step folders. `tokenizer` is shared."""
    if folder.name == "tokenizer" or not folder.is_dir():
        return False
    found = {path.name for path in folder.iterdir()}
    return (
        bool(_step_folders(folder))
        or "config.json" in found
        or any(name.endswith((".safetensors", ".bin", ".gguf")) for name in found)
    )


def _step_folders(folder: Path) -> list[str]:
    return [f"step{step}" for step in weights.steps_of(folder)]


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
                          "fetch it again, or take it away to use the folder as it is")  # fmt: skip
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


def found_final_step(config: Config) -> int:
    """The final step of a given folder of models: the last of its step folders, 0 where no model has any.

    Raises:
        QuantaError: models end at different steps.
    """
    listed = listed_members(config)
    path = Path(config["models"]["folder"]["path"] or ".")
    last: dict[str, int] = {}
    for name in model_names(config):
        steps = [int(row["step"]) for row in listed if row["model"] == name] or weights.steps_of(path / name)
        if steps:
            last[name] = max(steps)
    if len(set(last.values())) > 1:
        one, other = min(last, key=lambda name: last[name]), max(last, key=lambda name: last[name])
        refuse("models.folder.final_step", f"auto, while {one} ends at step {last[one]} and {other} at step {last[other]}",
               "models that end at the same step", "set it to a step that all of them have")  # fmt: skip
    return next(iter(last.values()), 0)


def final_step(config: Config) -> int:
    """The step at which sizes are compared."""
    models = config["models"]
    step = models["train"]["steps"] if models["source"] == "train" else models[models["source"]]["final_step"]
    return int(step)


def trained(config: Config, model: str) -> dict[str, Any]:
    """A size of the ladder with its learning rate: its own, else by the rule rate_at_100k · (N / 100,000)^exponent."""
    train = config["models"]["train"]
    size = next(dict(size) for size in train["sizes"] if size["name"] == model)
    rate = train["rate_at_100k"] * (neox_shape.parameters(size) / 1e5) ** train["rate_exponent"]
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


def _given_folder(config: Config, model: str) -> Path | None:
    """The folder of a given model's checkpoint of the final step, if there is one."""
    folder = config["models"]["folder"]
    if config["models"]["source"] != "folder" or not folder["path"]:
        return None
    step = final_step(config)
    try:
        return weights.checkpoint_folder(Path(folder["path"]) / model, step, only_step=step)
    except QuantaError:  # said before the first job
        return None


def given_model(config: Config, model: str) -> headers.Model | None:
    """What the headers of a given checkpoint's weights say, at the final step; None where it comes from elsewhere."""
    folder = _given_folder(config, model)
    return headers.model_of(folder) if folder else None


def given_type(config: Config, model: str) -> str | None:
    """The model type that the configuration of a given checkpoint names; None where it comes from elsewhere."""
    folder = _given_folder(config, model)
    return headers.settings_of(folder).get("model_type") if folder else None


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
        size = neox_shape.parameters(member) if config["models"]["source"] == "train" else member.get("parameters")
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


# ------------------------------------------------------------------------------------- qdg and calibration


def relatives(config: Config) -> list[tuple[str, int]]:
    """Models and steps whose clusters are matched with those of qdg.model: `model`, at the final step, or `model/step`."""
    parts = [entry.partition("/") for entry in config["qdg"]["lineage"]]
    return [(model, int(step) if step else final_step(config)) for model, _, step in parts]
