"""What the configuration takes for granted outside of itself: installed packages, files, room on the disk.

Imported while Snakemake parses, once a job: nothing heavy here.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from quanta.errors import QuantaError

BYTES_A_PARAMETER = 4
BYTES_A_LOSS = 4


def normalise(name: str) -> str:
    """Distribution names compare after PEP 503's normalisation."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_versions(lock: str | Path) -> dict[str, str]:
    """Versions by normalised distribution name, read from a pip requirements file with exact pins."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", Path(lock).read_text(encoding="utf-8"), re.MULTILINE)
    return {normalise(name): version for name, version in pins}


def find_distributions(
    names: Sequence[str], pins: Mapping[str, str], *, all_needed: bool = True
) -> list[metadata.Distribution]:
    """Installed distributions by name; one that `pins` names must have that version.

    Raises:
        QuantaError: one is not installed (and all are needed), or its version is not the pinned one.
    """
    found = []
    for name in names:
        pin = pins.get(normalise(name))
        mend = f"pip install {name}=={pin}" if pin else f"pip install {name}, or take it out of the list"
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError as error:
            if not all_needed:
                continue
            raise QuantaError(
                "config, key corpus.python.distributions",
                f"{name!r} is not installed",
                "installed distributions only",
                mend,
            ) from error
        if pin and distribution.version.split("+")[0] != pin:
            raise QuantaError(
                "config, key corpus.python.distributions",
                f"{name} {distribution.version} is installed",
                f"{name} {pin}, as in the lock file: other sources make another corpus",
                f"{mend}, or set corpus.python.versions: any",
            )
        found.append(distribution)
    return found


def versions(config: Mapping[str, Any]) -> dict[str, str]:
    """Installed versions of the distributions whose sources are the corpus; none where the corpus is a file."""
    if config["corpus"]["source"] != "python":
        return {}

    def version(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "not installed"

    return {normalise(name): version(name) for name in config["corpus"]["python"]["distributions"]}


def check(config: Mapping[str, Any], results: Path, *, lock: Path, manifest: bool = False) -> None:
    """Check files, packages and disk before any job runs.

    Where a manifest says what models were trained on, packages may differ: `manifests.agree` leaves out what does.

    Raises:
        QuantaError: something is missing; where, and what mends it.
    """
    corpus = config["corpus"]
    if corpus["source"] == "python" and not manifest:
        locked = locked_versions(lock) if corpus["python"]["versions"] == "locked" else {}
        find_distributions(corpus["python"]["distributions"], locked)
    elif corpus["source"] == "jsonl" and not Path(corpus["jsonl"]["path"]).is_file():
        raise QuantaError(
            "config, key corpus.jsonl.path",
            f"{corpus['jsonl']['path']} is not a file",
            "a JSON Lines file (.jsonl, .jsonl.gz, .jsonl.zst)",
            "put the file there, or set the path to one that exists",
        )
    check_disk(results, estimated_bytes(config))


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


def check_disk(folder: Path, needed: int) -> None:
    """Refuse where the disk of `folder` has less room than `needed` bytes.

    Raises:
        QuantaError: with both numbers.
    """
    existing = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise QuantaError(
            str(folder),
            f"{free / 1e9:.1f} GB free on its disk",
            f"about {needed / 1e9:.1f} GB for this configuration",
            "free some room, link results/ to a larger disk, or lower corpus.documents, qdg.tokens or qdg.features",
        )
