"""Installed Python packages as a corpus: which there are, at which version."""

import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from quanta.errors import QuantaError


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
