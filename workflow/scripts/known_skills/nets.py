"""Nets of a made language that comes with none, trained here.

Makes: `nets.npz` (three nets in float16, the first with earlier steps).
"""

from typing import Any

from quanta.jobs.job import run
from quanta.known_skills import language, language_set


def main(inputs: Any, outputs: Any, params: Any) -> None:
    language_set.write(outputs.nets, language_set.train_several(language.Language(int(params.known))))


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
