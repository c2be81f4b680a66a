"""What every rule has, said once, and what only all rules together tell.

Both take Snakemake's own rules, after all of them have been read. Imported while Snakemake parses: nothing heavy here.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from quanta.jobs import rerun_hash

CONDA = "../envs/quanta.yaml"  # as seen from rules/


def complete(rules: Iterable[Any], folder: Path) -> None:
    """Give each rule that has a script its environment and, as the param `code`, the hash of what the script imports.

    `folder` is that of the rules, which paths of scripts start from.
    """
    for rule in rules:
        if rule.script:
            rule.conda_env = CONDA
            rule.set_params(code=rerun_hash.code_hash((folder / str(rule.script)).resolve()))


def tables_behind(rules: Iterable[Any], targets: Sequence[str], but: str) -> list[str]:
    """All that targets are made of. Left out is what may be deleted: temporary outputs, and those that begin with `but`.

    Snakemake leaves a missing table alone where all that was made of it is there; a job that fails has lost its outputs.
    """
    from snakemake.io import apply_wildcards, is_flagged

    outputs = [(file, rule) for rule in rules for file in rule.output if not is_flagged(file, "temp")]
    outputs = [(file, rule) for file, rule in outputs if not file.startswith(but)]
    made = {str(file): rule for file, rule in outputs if not file.contains_wildcard()}
    patterns = [(file, rule) for file, rule in outputs if file.contains_wildcard()]

    def inputs(name: str) -> list[str] | None:
        """Of the rule that makes it, as names; none if it is no table."""
        if name in made:
            return [str(file) for file in made[name].input if not callable(file)]
        for pattern, rule in patterns:
            if matched := pattern.match(name):
                found = matched.groupdict()
                return [apply_wildcards(str(file), found) for file in rule.input if not callable(file)]
        return None

    known, waiting = set[str](), list(targets)
    while waiting:
        behind = {name for name in inputs(waiting.pop()) or () if name not in known and inputs(name) is not None}
        known |= behind
        waiting += behind
    return sorted(known)
