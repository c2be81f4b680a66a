"""Make the simulations that come with the project, those of the default settings: minutes of one core.

    PYTHONPATH=workflow OMP_NUM_THREADS=1 python resources/calibration/make.py

Run it when `tests/test_shipped.py` says so: the code that makes them, or a default that they rest on, has changed. What still fits is kept.
"""

from pathlib import Path

from quanta.calibration import naive_slopes, shipped, shipped_slopes, simulations
from quanta.clustering import assignment
from quanta.config import schema

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write `simulations` and `slopes`, tables and records."""
    settings = schema.settle({}, schema.read_schema(ROOT / "config/schema.yaml"))
    seed, own, qdg = settings["seed"], settings["calibration"], settings["qdg"]
    tokens = min(own["tokens"], qdg["tokens"])
    made_from = shipped.of_simulations(tokens, seed=seed)
    table = shipped.read("simulations", made_from)
    if table is None or len(table) != own["simulations"]:
        table = simulations.simulate(range(own["simulations"]), tokens, seed=seed)
        shipped.write("simulations", table, made_from)
    how = assignment.Assignment(qdg["assign"], qdg["rows"], qdg["restarts"])
    ks, shares = [k for k in qdg["n_clusters"] if k < tokens], tuple(qdg["rank_shares"])
    numbers = naive_slopes.spread_over_alpha(table, own["clustered"])
    made_from = shipped_slopes.of_slopes(tokens, ks, shares, how, seed=seed)
    known = shipped.read("slopes", made_from)
    if known is None or known["simulation"].tolist() != numbers:
        shipped.write("slopes", naive_slopes.slopes(numbers, tokens, ks, shares, how, seed=seed), made_from)


if __name__ == "__main__":
    main()
