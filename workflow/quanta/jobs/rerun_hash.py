"""What a script's result depends on in this package: a hash of its import closure (`quanta.storage.code`).

Snakemake compares a rule's own script and nothing that it imports, so each rule carries this hash as a param. Another
version of Python reruns nothing. The versions of the packages that compute are part of it, where a module of the closure
imports them.
"""

import json
import os
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
    parts = [f"{name or 'quanta'} {code.digest(modules[name])[:8]}" for name in sorted(modules)]
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
