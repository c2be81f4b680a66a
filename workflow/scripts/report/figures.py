"""All figures of a stage in one process, whose imports would else cost more than the drawing; each by its own script.

Makes: `report/figures/{name}` for each, where it is missing or would be another picture.
"""

import importlib.util
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from quanta.jobs import together
from quanta.jobs.job import run


def main(inputs: Any, outputs: Any, params: Any) -> None:
    log = logging.getLogger("quanta")
    folder = Path(outputs.pictures[0]).parent
    figures = json.loads(params.figures)
    for figure in figures:
        paths = {kind: str(folder / f"{figure['name']}.{kind}") for kind in ("png", "pdf", "csv")}
        files = [path for value in figure["inputs"].values() for path in ([value] if isinstance(value, str) else value)]
        key = together.key(files, figure | {"look": params.look})
        if together.is_made(paths.values(), key):
            log.info("%s is as it would be drawn", figure["name"])
            continue
        spec = importlib.util.spec_from_file_location(
            figure["script"], Path(__file__).parents[1] / f"{figure['script']}.py"
        )
        assert spec is not None and spec.loader is not None
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        own = SimpleNamespace(**figure["params"], look=params.look)
        script.main(SimpleNamespace(**figure["inputs"]), SimpleNamespace(**paths), own)
        together.record(paths.values(), key)


if __name__ == "__main__":
    run(main, snakemake)  # noqa: F821
