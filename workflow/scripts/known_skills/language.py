"""Every affinity and assignment against the skills of a made language, in the nets that were trained on it.

Makes: `scores.csv` (a row per condition, affinity, assignment, number of clusters and truth), `skills.csv` (recovery of each skill).
"""

import json
from typing import Any

from quanta.jobs.job import run
from quanta.known_skills import affinities, benchmark, language, language_set
from quanta.storage import files


def main(inputs: Any, outputs: Any, params: Any) -> None:
    methods, per_skill = json.loads(params.methods), params.samples_per_skill
    made, nets = language.Language(int(params.known)), language_set.read(inputs.nets)
    checkpoints = affinities.needs_checkpoints(methods["affinities"])
    equal = language_set.evidence(made, nets, per_skill, checkpoints=checkpoints)
    natural = None
    if methods.pop("by_frequency"):
        natural = language_set.evidence(made, nets, per_skill, sampling="frequency")
    scores, skills = benchmark.under_conditions(equal, natural, seed=params.seed, **methods)
    files.write_table(outputs.scores, scores.assign(draw=made.seed))
    files.write_table(outputs.skills, skills.assign(draw=made.seed))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
