"""What a run takes for granted outside of the configuration: installed packages, files, room on the disk.

Imported while Snakemake parses, once a job: nothing heavy here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quanta.corpus import packages
from quanta.errors import QuantaError
from quanta.storage import files

BYTES_A_PARAMETER = 4
BYTES_A_LOSS = 4


def check(config: Mapping[str, Any], results: Path, *, lock: Path, manifest: bool = False) -> None:
    """Check files, packages and disk before any job runs.

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
    files.check_disk(results, estimated_bytes(config))


def estimated_bytes(config: Mapping[str, Any]) -> int:
    """About what the run's results take on disk. Weights fetched from elsewhere are not known and not in it."""
    corpus, qdg, models = config["corpus"], config["qdg"], config["models"]
    tokens = corpus["documents"] * corpus["context"]
    followed = [config["dynamics"]["model"], *config["dynamics"]["further"]] if config["dynamics"]["model"] else []
    steps = len(config["dynamics"]["steps"])
    members, weights, counts = 8 + steps * len(followed), 0, dict[str, int]()
    if models["source"] == "train":
        members = len(models["train"]["sizes"]) + steps * len(followed)
        counts = {s["name"]: _parameters(s, corpus["tokenizer"]["vocabulary"]) for s in models["train"]["sizes"]}
        weights = sum(counts.values()) + sum(counts.get(model, 0) for model in followed) * steps
    n = qdg["tokens"]
    width = qdg["features"] if qdg["mode"] == "sketch" else counts.get(qdg["model"], 0)
    held = min(n, config["calibration"]["tokens"])
    pairs = 4 * n * n if qdg["graph"] == "dense" else 8 * n * qdg["neighbours"] + 4 * held * held
    matrices = pairs + 8 * n * max(qdg["n_clusters"]) + 4 * 2 * n * width
    texts = 4 * (tokens + corpus["training_tokens"])
    return int(BYTES_A_LOSS * tokens * members * 2 + BYTES_A_PARAMETER * weights + matrices + texts)


def _parameters(size: Mapping[str, Any], vocabulary: int) -> int:
    width = int(size["width"])
    return 12 * int(size["layers"]) * width * width + 2 * vocabulary * width
