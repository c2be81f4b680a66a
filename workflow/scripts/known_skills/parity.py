"""Every affinity and assignment against the tasks of parity nets, with and without the weights that read the task's code.

Makes: `scores.csv` (a row per set, condition, affinity, assignment, number of clusters and truth), `skills.csv` (recovery of each task).
"""

import json
from typing import Any

import pandas as pd
from quanta.jobs.job import run
from quanta.known_skills import affinities, benchmark, parity_set
from quanta.parity import sparse_parity
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    methods, settings = json.loads(params.methods), json.loads(params.parity)
    per_skill = settings["samples_per_skill"]
    named = int(params.known)
    problem = sparse_parity.ParityProblem(
        settings["n_tasks"], settings["n_bits"], settings["k"], settings["alpha"], named
    )
    trained = parity_set.train(problem, **parity_set.recipe(settings))
    checkpoints = affinities.needs_checkpoints(methods["affinities"])
    equal = parity_set.evidence(trained, per_skill, checkpoints=checkpoints)
    natural = parity_set.evidence(trained, per_skill, sampling="frequency") if methods.pop("by_frequency") else None
    parts = [
        benchmark.under_conditions(part(equal), None if natural is None else part(natural), seed=params.seed, **methods)
        for part in (lambda found: found, parity_set.without_code)
    ]
    files.write_table(outputs.scores, pd.concat([scores for scores, _ in parts]).assign(draw=named))
    files.write_table(outputs.skills, pd.concat([skills for _, skills in parts]).assign(draw=named))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
