"""Results that depend on the settings and the code alone, and so come with the project: made once, read by every run.

`resources/calibration/` has the summaries of the default settings' simulations and the slopes of those that are clustered (`quanta.calibration.shipped_slopes`), each with a record of
what they were made from: the syntax of the modules that make them, seed, tokens, numbers of clusters. Where any of these differs, they
are made here. Where all agree, a few are made here all the same and compared, so that a machine on which the code gives other
numbers makes all of its own. `resources/calibration/make.py` makes the files.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quanta import arrays
from quanta.calibration import simulations
from quanta.storage import code, files

FOLDER = Path(__file__).parents[3] / "resources/calibration"
CHECKED = 4  # simulations that are made all the same
# of a column's deviation: processors differ by 1e-5 of it, another draw by more than 1
ALIKE = 0.01
log = logging.getLogger("quanta")


def of_simulations(n_tokens: int, *, seed: int) -> dict[str, Any]:
    """What simulations are made from."""
    return {"code": code.digest_of("calibration.simulations"), "seed": seed, "n_tokens": n_tokens}


def write(name: str, table: pd.DataFrame, made_from: Mapping[str, Any], folder: Path = FOLDER) -> None:
    """Write `{name}.parquet` and the record of what it was made from, `{name}.json`."""
    files.write_table(folder / f"{name}.parquet", table)
    digest = files.file_hash(folder / f"{name}.parquet")
    files.write_json(folder / f"{name}.json", {"made_from": dict(made_from), "sha256": digest})


def read(name: str, made_from: Mapping[str, Any], folder: Path = FOLDER) -> pd.DataFrame | None:
    """The table of that name, or None where it was made from anything else, or is damaged."""
    table, known = folder / f"{name}.parquet", folder / f"{name}.json"
    if not (table.is_file() and known.is_file()):
        return None
    written = files.read_json(known)
    if written.get("made_from") != dict(made_from):
        return None
    if written.get("sha256") != files.file_hash(table):
        log.warning("%s is not the file that %s describes: it is not used", table, known.name)
        return None
    return files.read_table(table, ("simulation",))


def simulate(numbers: Sequence[int], total: int, n_tokens: int, *, seed: int, folder: Path = FOLDER) -> pd.DataFrame:
    """`simulations.simulate` for some numbers of a run that has `total`, from the shipped table as far as it reaches.

    The same few are checked whichever numbers are asked for, so that parts of one run decide alike.
    """
    known = read("simulations", of_simulations(n_tokens, seed=seed), folder)

    def make(some: Sequence[int]) -> pd.DataFrame:
        return simulations.simulate(some, n_tokens, seed=seed)

    return taken(
        known, numbers, range(total), CHECKED, make, dict.fromkeys(known.columns if known is not None else (), ALIKE)
    )


def taken(
    known: pd.DataFrame | None,
    numbers: Sequence[int],
    whole: Sequence[int],
    checked: int,
    make: Callable[[Sequence[int]], pd.DataFrame],
    relative: Mapping[str, float],
    absolute: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Rows for `numbers`: known ones where a few of them, made here, agree; made here otherwise."""
    if known is None:
        return make(numbers)
    known = known.set_index("simulation", drop=False)
    ready = [number for number in whole if number in known.index]
    if not ready:
        return make(numbers)
    some = [ready[i] for i in arrays.evenly(len(ready), checked)]
    again = make(some).set_index("simulation", drop=False)
    bounds = {name: share * float(known[name].std()) + 1e-9 for name, share in relative.items()} | dict(absolute or {})
    for name, bound in bounds.items():
        ours, theirs = again[name].to_numpy(dtype=np.float64), known.loc[some, name].to_numpy(dtype=np.float64)
        apart = np.where(np.isnan(ours) & np.isnan(theirs), 0, np.abs(ours - theirs))
        if not (apart <= bound).all():
            worst = int(np.argmin(apart <= bound))  # the first that is not
            log.warning(
                "simulation %d of resources/calibration has %s = %.6g, here it is %.6g: all simulations are made here",
                some[worst],
                name,
                theirs[worst],
                ours[worst],
            )
            return make(numbers)
    log.info("%d of the simulations in resources/calibration were made again here, and are the same", len(some))
    missing = [number for number in numbers if number not in known.index]
    rows = known.loc[[number for number in numbers if number in known.index]]
    if missing:
        rows = pd.concat([rows, make(missing).set_index("simulation", drop=False)]).loc[list(numbers)]
    return rows.reset_index(drop=True)
