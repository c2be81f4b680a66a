"""What makes a result anew, and what does not: a hash of the code that a script imports, times of scripts, numbers of parts.

Snakemake compares a rule's own script and nothing that it imports, so each rule carries this hash as a param. Another
version of Python reruns nothing. The versions of the packages that compute are part of it, where a module of the closure
imports them.
"""

import base64
import json
import os
import re
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from quanta.storage import code, writing

# modules whose release may alter a result, and the distributions that have their versions
COMPUTE = {
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "tokenizers": "tokenizers",
    "torch": "torch",
    "transformers": "transformers",
}


@cache
def _version(distribution: str) -> str:
    """Installed version without its local part: a build for CPUs and one for GPUs are the same release."""
    try:
        return metadata.version(distribution).split("+")[0]
    except metadata.PackageNotFoundError:
        return ""


@cache
def code_hash(script: str | Path, package: Path = code.PACKAGE) -> str:
    """Short hashes of all modules of `quanta` that the script imports, directly or not, and versions of what computes.

    By name, so that a dry run shows which module is another one. The script itself and what it imports beside the
    library are left out: Snakemake watches it, and scripts compute through the library.

    Raises:
        QuantaError: a module of `quanta` that is imported is not there.
    """
    modules = code.closure(Path(script), package)
    parts = [f"{name or 'quanta'} {code.digest(modules[name])[:8]}" for name in sorted(set(modules) - code.PINNED)]
    packages = set(COMPUTE) & set[str]().union(*map(code.packages, modules.values()))
    return ", ".join(parts + [f"{name} {_version(COMPUTE[name])}" for name in sorted(packages)])


def keep_times(scripts: Path, register: Path) -> list[str]:
    """Give scripts whose code is what it was the time that they had: Snakemake compares times, and not content.

    A touch, a comment, a checkout of a branch and back would rerun all that they made. `register` holds what was seen
    last of each script, by its path within `scripts`, and is written anew.

    Returns:
        the paths of the scripts whose time was set back.
    """
    try:
        known = json.loads(register.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        known = {}
    seen, set_back = {}, []
    for path in sorted(scripts.rglob("*.py")):
        name, digest = path.relative_to(scripts).as_posix(), code.digest(path)
        now = path.stat().st_mtime_ns
        before = known.get(name, ["", now])
        if digest == before[0] and now > before[1]:
            try:
                os.utime(path, ns=(now, before[1]))
            except OSError:  # who does not own the clone may read it all the same
                pass
            else:
                now = before[1]
                set_back.append(name)
        seen[name] = [digest, now]
    if seen != known:
        with writing.atomic(register) as temporary:
            temporary.write_text(json.dumps(seen), encoding="utf-8")
    return set_back


def keep_joined(records: Path, output: str, parts: Sequence[str]) -> bool:
    """Let Snakemake's record of `output` name the present `parts` where it was made of others.

    Parts are called `NAME.part{i}of{n}SUFFIX`, so that those of two numbers are never taken for one another. What
    reruns them (params, code, inputs) belongs to the rule that joins them as well: Snakemake knows nothing of parts
    that it has not made.

    Args:
        records: the folder of the records, `.snakemake/metadata`.
        output: what was joined, as the rule names it.
        parts: inputs of its rule that are parts, by their present names.

    Returns:
        whether the record was written anew.
    """
    path = records / base64.urlsafe_b64encode(output.encode()).decode()
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        recorded = [str(name) for name in record["input"]]
    except (OSError, ValueError, TypeError, KeyError):  # not made yet; or a record of another kind, which reruns it
        return False
    number = re.compile(r"\.part\d+of\d+\b")
    kinds = {number.sub("", name) for name in parts}
    others = [name for name in recorded if not (number.search(name) and number.sub("", name) in kinds)]
    record["input"] = sorted([*others, *parts])
    if len(others) == len(recorded) or record["input"] == sorted(recorded):
        return False
    with writing.atomic(path) as temporary:
        temporary.write_text(json.dumps(record), encoding="utf-8")
    return True
