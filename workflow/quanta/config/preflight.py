"""What a run takes for granted outside of the configuration: installed packages, files, given models, room on the disk.

Imported while Snakemake parses, once a job: nothing heavy here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from quanta.config import members
from quanta.corpus import packages
from quanta.errors import QuantaError
from quanta.models import headers, weights
from quanta.storage import files

BYTES_A_PARAMETER = 4
BYTES_A_LOSS = 4


def check(config: Mapping[str, Any], results: Path, *, lock: Path, manifest: bool = False) -> None:
    """Check files, packages, given models and disk before any job runs.

    Where a manifest says what models were trained on, packages may differ: `manifests.agree` leaves out what does.

    Raises:
        QuantaError: something is missing; where, and what mends it.
    """
    corpus = config["corpus"]
    if corpus["source"] == "python" and not manifest:
        locked = packages.locked_versions(lock) if corpus["python"]["versions"] == "locked" else {}
        packages.find_distributions(corpus["python"]["distributions"], locked)
    elif corpus["source"] == "jsonl" and not Path(corpus["jsonl"]["path"]).exists():
        raise QuantaError(
            "config, key corpus.jsonl.path",
            f"{corpus['jsonl']['path']} is not a file or folder",
            "JSON Lines (.jsonl, .jsonl.gz, .jsonl.zst, .jsonl.xz), Parquet, or a folder of texts",
            "put it there, or set the path to one that exists",
        )
    elif corpus["source"] == "jsonl":
        _check_texts(corpus["jsonl"])
    _check_models(config, results)
    files.check_disk(results, estimated_bytes(config))


def check_places(*numbers: int | None) -> None:
    """Refuse a run of which no job can begin: Snakemake waits for ever. None is a number that nobody set.

    Raises:
        QuantaError: there is not even one place.
    """
    if any(number is not None and number < 1 for number in numbers):
        raise QuantaError("--cores or --jobs", "0", "at least 1", "write --cores 4, or --cores all")


def _check_texts(jsonl: Mapping[str, Any]) -> None:
    """The first document alone: most of what is wrong with texts is wrong with that."""
    from quanta.corpus import readers

    if next(readers.documents_of(jsonl["path"], jsonl["field"], subset=jsonl["subset"]), None) is None:
        raise QuantaError(
            f"config, key corpus.jsonl.path, {jsonl['path']}",
            "no documents",
            "at least one",
            "write the texts to it, or set the path to another file or folder",
        )


def _given(config: Mapping[str, Any], results: Path) -> Iterator[tuple[str, int, Path]]:
    """Model, step and folder of the checkpoints of a given folder; those that the run has taken may be gone from there."""
    config = dict(config)
    if config["models"]["source"] != "folder":
        return
    path, last = Path(config["models"]["folder"]["path"]), members.final_step(config)
    for model in members.model_names(config):
        for step in members.saved_steps(config, model):
            try:
                folder = weights.checkpoint_folder(path / model, step, only_step=last)
            except QuantaError:
                if (results / "models" / model / f"step{step}").is_dir():
                    continue
                raise
            yield model, step, folder


def _check_models(config: Mapping[str, Any], results: Path) -> None:
    """Each checkpoint of a given folder by its small files and headers, and their tokenizers against each other."""
    from quanta.corpus import vocabulary

    shared = members.in_folder(dict(config), "tokenizer")
    packed: dict[Path, tuple[Any, ...]] = {}
    own = list[Path]()
    first_model = members.model_names(dict(config))[0]
    for model, step, folder in _given(config, results):
        weights.check_given(folder, shared)
        weights.check_type(headers.settings_of(folder), str(folder / "config.json"))
        if step != members.final_step(dict(config)) or shared:
            continue
        if (file := weights.gguf_file(folder)) is None:
            own.append(folder)
            if model == first_model:  # the one that the run reads texts with
                vocabulary.load_tokenizer(folder)
        else:
            fields = headers.gguf(file).fields
            packed[file] = tuple(fields.get(f"tokenizer.ggml.{name}") for name in ("model", "tokens", "merges"))
    if len(own) > 1:
        vocabulary.check_alike(own)
    first = next(iter(packed), None)
    for file, tokenizer in packed.items():
        if tokenizer != packed[first or file]:
            raise QuantaError(
                f"{first} and {file}",
                "tokenizers that differ",
                "models that share one tokenizer: their losses are compared token by token",
                "leave one of them out, or run each family by itself",
            )


def notes(config: Mapping[str, Any], results: Path) -> list[str]:
    """What a reader should know of given models before the first job: which look like chat models."""
    found: dict[str, str] = {}
    for model, _, folder in _given(config, results):
        sign = weights.chat_sign(folder, model)
        if sign:
            found[model] = weights.of_chat(model, sign)
    return list(found.values())


def estimated_bytes(config: Mapping[str, Any]) -> int:
    """About what the run's results take on disk. Weights that a hub has are not known and not in it."""
    corpus, qdg, models = config["corpus"], config["qdg"], config["models"]
    tokens = corpus["documents"] * corpus["context"]
    followed = [config["dynamics"]["model"], *config["dynamics"]["further"]] if config["dynamics"]["model"] else []
    steps = len(config["dynamics"]["steps"])
    evaluated, parameters, counts = 8 + steps * len(followed), 0, dict[str, int]()
    if models["source"] == "train":
        evaluated = len(models["train"]["sizes"]) + steps * len(followed)
        counts = {s["name"]: _parameters(s, corpus["tokenizer"]["vocabulary"]) for s in models["train"]["sizes"]}
        parameters = sum(counts.values()) + sum(counts.get(model, 0) for model in followed) * steps
    elif models["source"] == "folder":
        names = members.model_names(dict(config))
        sizes = {name: members.given_model(dict(config), name) for name in names}
        counts = {name: size.parameters for name, size in sizes.items() if size}
        evaluated = sum(len(members.saved_steps(dict(config), name)) for name in names)
        parameters = sum(s.all_parameters * len(members.saved_steps(dict(config), n)) for n, s in sizes.items() if s)
    n = qdg["tokens"]
    width = qdg["features"] if qdg["mode"] == "sketch" else counts.get(qdg["model"], 0)
    held = min(n, config["calibration"]["tokens"])
    pairs = 4 * n * n if qdg["graph"] == "dense" else 8 * n * qdg["neighbours"] + 4 * held * held
    matrices = pairs + 8 * n * max(qdg["n_clusters"]) + 4 * 2 * n * width
    texts = 4 * (tokens + corpus["training_tokens"])
    return int(BYTES_A_LOSS * tokens * evaluated * 2 + BYTES_A_PARAMETER * parameters + matrices + texts)


def _parameters(size: Mapping[str, Any], vocabulary: int) -> int:
    width = int(size["width"])
    return 12 * int(size["layers"]) * width * width + 2 * vocabulary * width
