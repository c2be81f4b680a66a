"""A net of a made language that comes with no nets, trained here.

Makes: `nets.npz` (one net in float16, with earlier steps).
"""

from typing import Any

from quanta.jobs.job import run
from quanta.known_skills import language, language_set


def main(inputs: Any, outputs: Any, params: Any) -> None:
    language_set.write(outputs.nets, language_set.train_several(language.Language(int(params.known)), 1))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
