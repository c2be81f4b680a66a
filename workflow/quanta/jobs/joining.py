"""Parts: another number of them is another set of inputs to Snakemake, and the same result.

Imported while Snakemake parses: nothing heavy here.
"""

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path

from quanta.storage import writing


def keep(records: Path, output: str, parts: Sequence[str]) -> bool:
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
