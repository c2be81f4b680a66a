"""Scores on all sets of known skills in one table.

Makes: `known_skills/scores.csv`, `known_skills/skills.csv`.
"""

from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.known_skills import benchmark
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    scores = [files.read_table(path, (*benchmark.COLUMNS, "condition", "draw")) for path in inputs.scores]
    skills = [files.read_table(path, ("set", "skill", "recall", "precision", "draw")) for path in inputs.skills]
    files.write_table(outputs.scores, pd.concat(scores, ignore_index=True))
    files.write_table(outputs.skills, pd.concat(skills, ignore_index=True))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
