"""Curves of sparse-parity nets as tables: what training leaves, and all that fits, figures and QDG read.

Apart from the fits, whose change trains nothing anew.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:  # torch costs two seconds a job, and what reads these tables needs none of it
    from quanta.parity.training import Curves

from quanta.arrays import Array, Float
from quanta.errors import QuantaError
from quanta.theory import closed_form

CURVE_COLUMNS = ("sweep", "alpha", "seed", "size", "step", "task", "loss_bits")
NET_COLUMNS = ("sweep", "alpha", "seed", "size", "parameters", "last_step", "diverged_step", "precision")
# estimators of the exponent, by the names that tables and figures give them
LANGUAGE, PARITY = "calibrated, prior of language models", "calibrated, prior of few quanta of several cases"
ENVELOPE, TRUE_SIZES = "envelope", "sizes of the true tasks"
TASKS, TASKS_LEARNED = "collisions of the true tasks", "collisions of the true tasks, K known"
CASES, COSINES = "collisions of the true cases", "collisions by cosine"
LEARNED_BITS = 0.1  # the paper's mark of convergence (section 3)


def curve_table(curves: "Curves", sizes: Sequence[int], *, sweep: str, alpha: float, seed: int) -> pd.DataFrame:
    """The curves of nets as rows of `CURVE_COLUMNS`; steps that were not reached are left out. Tasks count from 1."""
    n_nets, n_steps, n_tasks = curves.loss_bits.shape
    table = pd.DataFrame(
        {
            "sweep": sweep,
            "alpha": alpha,
            "seed": seed,
            "size": np.repeat(np.asarray(sizes, dtype=np.int64), n_steps * n_tasks),
            "step": np.tile(np.repeat(curves.steps, n_tasks), n_nets),
            "task": np.tile(np.arange(1, n_tasks + 1, dtype=np.int32), n_nets * n_steps),
            "loss_bits": curves.loss_bits.reshape(-1),
        }
    )
    return table[table["loss_bits"].notna()].reset_index(drop=True)


def net_table(
    curves: "Curves",
    sizes: Sequence[int],
    parameters: Sequence[int],
    *,
    sweep: str,
    alpha: float,
    seed: int,
    precision: str,
) -> pd.DataFrame:
    """A row of `NET_COLUMNS` a net; `diverged_step` is −1 for a sound one, `precision` that of its products."""
    table = pd.DataFrame({"sweep": sweep, "alpha": alpha, "seed": seed, "size": sizes, "parameters": parameters})
    last = {"last_step": last_steps(curves), "diverged_step": curves.diverged_step, "precision": precision}
    return table.assign(**last)[list(NET_COLUMNS)]


def last_steps(curves: "Curves") -> list[int]:
    """The last step measured of each net; −1 for one that diverged at once."""
    reached = ~np.isnan(curves.loss_bits[:, :, 0])
    return [int(curves.steps[found].max(initial=-1)) for found in list(reached)]


def widest_sound(nets: pd.DataFrame, where: str) -> int:
    """The size of the widest net that did not diverge, of a table of `net_table`: that of `widest.npz`.

    Raises:
        QuantaError: every net diverged.
    """
    sound = nets.loc[nets["diverged_step"] < 0, "size"]
    if sound.empty:
        raise QuantaError(where, "no net that did not diverge", "at least one", "lower parity.learning_rate")
    return int(sound.max())


# ------------------------------------------------------------------------------------------------ scaling points


def task_losses(curves: pd.DataFrame, nets: pd.DataFrame, resource: str) -> pd.DataFrame:
    """Per-task losses along one resource of one (α, seed): an index of scales, a column for each task.

    parameters: the last step of each net of the fresh sweep; the scale is its parameters. steps: the widest net that did
    not diverge. data: each training set at the step of least mean loss (early stopping). Nets that diverged are left out.
    """
    sound = nets[nets["diverged_step"] < 0]
    sweep = "data" if resource == "data" else "fresh"
    sound = sound[sound["sweep"] == sweep].sort_values("size")
    mine = curves[(curves["sweep"] == sweep) & curves["size"].isin(sound["size"])]
    if mine.empty:
        return pd.DataFrame()
    if resource == "steps":
        widest = mine[mine["size"] == mine["size"].max()]
        wide = widest.pivot(index="step", columns="task", values="loss_bits")
        return wide[wide.index > 0].rename_axis("scale")
    wide = mine.pivot(index=["size", "step"], columns="task", values="loss_bits")
    alpha = float(mine["alpha"].iloc[0])
    mean = wide.to_numpy() @ closed_form.frequencies(alpha, wide.shape[1])
    best = pd.Series(mean, index=wide.index).groupby(level="size")
    places = best.idxmin() if resource == "data" else wide.index.to_frame().groupby(level="size")["step"].max()
    chosen = wide.loc[list(places) if resource == "data" else list(places.items())].droplevel("step")
    if resource == "parameters":
        parameters = sound.set_index("size")["parameters"]
        chosen.index = pd.Index(parameters.loc[chosen.index].to_numpy())
    return chosen.rename_axis("scale")


def resources_of(curves: pd.DataFrame) -> list[str]:
    """The resources that the sweeps of a run vary: parameters and steps, and data if it has that sweep."""
    return ["parameters", "steps", *(["data"] if (curves["sweep"] == "data").any() else [])]


def learned_tasks(losses: Float[Array, "scale task"]) -> Float[Array, " scale"]:
    """How many tasks' worth of loss is gone: Σ (1 − L_i), each between 0 and 1. The n of the theory, measured."""
    return np.asarray(np.clip(1 - np.asarray(losses, dtype=np.float64), 0, 1).sum(axis=1))
