"""CPU seconds of the interventions by what they are spent on, on a share of the groups of a finished default run.

    PYTHONPATH=workflow:tests OMP_NUM_THREADS=1 python tests/benchmarks/interventions.py results/mini --parts 7 --part 3

Runs `halves` and one of `--parts` jobs of `interventions` into a temporary folder; nothing of the run changes. Prints a row per part
of the work, with its calls, its seconds, and its seconds for all groups if the other jobs take as long.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import yaml
from quanta.config import schema
from quanta.config.plan import Plan
from quanta.interventions import contexts, direction, insertion, moving, removal
from support import ROOT, script
from threadpoolctl import threadpool_limits

PARTS = {
    "removals": (removal, "remove"),
    "noise": (removal, "disturb"),
    "insertions": (insertion, "insert"),
    "directions": (direction, "summed"),
    "use of weights": (direction, "_roots"),
    "signs": (direction, "signed"),
    "search of the step": (moving, "find_step"),
    "losses, with those of the search": (contexts.Contexts, "losses"),
    "layout of contexts": (contexts.Contexts, "__init__"),
}


def timed(spent, calls):
    """Count the CPU seconds and calls of every part."""

    def counting(name, function):
        def called(*args, **kwargs):
            begin = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += time.process_time() - begin
                calls[name] += 1

        return called

    for name, (where, attribute) in PARTS.items():
        setattr(where, attribute, counting(name, getattr(where, attribute)))


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--parts", type=int, default=7)
    parser.add_argument("--part", type=int, default=3)
    arguments = parser.parse_args()
    spent, calls = Counter({"imports": time.process_time()}), Counter({"imports": 1})
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    config = schema.settle(config, schema.read_schema(str(ROOT / "config/schema.yaml")))
    plan, run = Plan(config), arguments.run

    def here(path):
        return str(run / Path(path).relative_to(plan.folder))

    timed(spent, calls)
    given = {name: here(f"{plan.folder}/corpus/{name}.npy") for name in ("tokens", "offsets")}
    given |= {
        "beginning": here(f"{plan.folder}/corpus/beginning.json"),
        "selection": here(f"{plan.folder}/qdg/tokens.parquet"),
    }
    given |= {"labels": [here(path) for path in plan.clusterings().values()]}
    seed, qdg = {"seed": config["seed"]}, config["qdg"]
    losses = [here(path) for path in plan.losses([(qdg["model"], plan.final)])]
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        made = {
            name: f"{folder}/{name}.{end}"
            for name, end in (("groups", "parquet"), ("halves", "parquet"), ("panel", "csv"))
        }
        earlier = [here(path) for path in plan.losses(plan.unlearned())]
        begin = time.process_time()
        script("interventions/halves")(
            SimpleNamespace(**given, untrained=here(f"{plan.folder}/calibration/untrained.npy"), earlier=earlier),
            SimpleNamespace(**made),
            SimpleNamespace(**seed, **plan.assignment(), **plan.interventions_of("halves")),
        )
        spent["halves"], calls["halves"] = time.process_time() - begin, 1
        begin = time.process_time()
        outputs = {
            name: f"{folder}/{name}.part{arguments.part}of{arguments.parts}.parquet" for name in ("cases", "rows")
        }
        fixed = {name: qdg[name] for name in ("features", "parameters", "batch_tokens")}
        script("interventions/interventions")(
            SimpleNamespace(**given, **made, model=here(f"{plan.folder}/models/{plan.clustered}"), losses=losses,
                            earlier=[here(path) for path in plan.folders(plan.unlearned())], features=[here(path) for path in plan.sketched]),
            SimpleNamespace(**outputs),
            SimpleNamespace(**seed, **fixed, **plan.interventions_of("interventions")),
        )  # fmt: skip
        spent["job"], calls["job"] = time.process_time() - begin, 1
    for name in ("imports", "halves", "job", *PARTS):
        times = 1 if name in ("imports", "halves") else arguments.parts
        print(f"{name:34}{calls[name]:6}{spent[name]:9.2f}{times * spent[name]:9.1f}")


if __name__ == "__main__":
    main()
