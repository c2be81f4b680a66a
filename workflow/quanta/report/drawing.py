"""One visual language for all figures: sizes, colours, axes, fits. Each figure itself is drawn by its own script."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from quanta.arrays import Array
from quanta.report import wording
from quanta.storage import files, writing

PALETTE = sns.color_palette("colorblind")
DATA, FIT, NULL, ACCENT = PALETTE[0], PALETTE[3], "0.55", PALETTE[1]
# beside the colours, so that lines and points are told apart in grey
MARKERS = "osD^vPX*"
STYLES = ("-", "--", "-.", ":")
EXPONENTS = {"parameters": "$α_N$, parameters", "steps": "$α_S$, steps", "data": "$α_D$, data"}  # by resource
SCALES = {"parameters": "parameters", "steps": "steps", "data": "training samples"}  # their axes
OUTLINE = (patheffects.withStroke(linewidth=3, foreground="white"),)  # of a line over a picture
_STYLE = {
    "axes.grid": True,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.title_fontsize": 8,
    "lines.linewidth": 1.4,
    "pdf.fonttype": 42,
    "svg.hashsalt": "quanta",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}


# which of the paper's figures each of ours answers, by their numbers in arXiv 2303.13506 (the appendix goes on from 6);
# docs/figures.md says what is the same and what is new
ANSWERS = {
    "mean_loss": "The paper's figure 3, left",
    "density_size": "The paper's figure 3, centre and right",
    "density_step": "The paper's figure 11, centre and right",
    "token_curves_size": "The paper's figures 4 and 12, monogenic and polygenic tokens",
    "token_curves_step": "The paper's figures 4 and 12, here over training steps",
    "dynamics": "The paper's figure 11, left",
    "affinity": "The paper's figure 5, left",
    "rank_frequency": "The paper's figure 5, right",
    "clusters": "The paper's figures 1 and 13, auto-discovered quanta",
    "emergence": "The paper's figure 2, bottom, here for the clusters of a language model",
    "learned": "The paper's hypothesis that quanta are learned in the order of their frequency (section 2)",
    "theory": "The paper's theory (section 2), of which it shows no figure but 6",
    "parity_scaling": "The paper's figures 2, top, and 7",
    "parity_heatmap": "The paper's figure 2, bottom",
    "parity_exponents": "The paper's figure 10",
    "parity_convergence": "The paper's figure 8",
    "parity_recovery": "The paper's figure 15, QDG applied to sparse parity",
    "parity_tasks": "The paper's figure 15, QDG applied to sparse parity",
    "known_skills": "The paper's claim that gradients find quanta (section 5), tested where skills are known",
    "toy": "The paper's figure 17, its toy of planted clusters",
    "published": "The paper's figure 18",
}


def canvas(look: str, *, rows: int = 1, columns: int = 1, ratio: float = 0.62) -> tuple[Figure, Array]:
    """An empty figure and its axes, an array (rows, columns). `look` is the configuration's figures section as JSON.

    `ratio` is the height of one panel over its width.
    """
    settings = json.loads(look)
    width = float(settings["width_inches"])
    sns.set_theme(style="ticks", rc=_STYLE)  # for legends and titles too, which are made later
    figure = Figure(figsize=(width, ratio * width * rows / columns), dpi=settings["dpi"], layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        sns.despine(ax=ax)
        ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    return figure, axes


def shades(number: int) -> list[Any]:
    """Colours of ordered things (sizes, steps), light to dark, readable in grey."""
    return list(sns.color_palette("flare", as_cmap=True)(np.linspace(0.02, 1, max(number, 1))))


def panels(parts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What several panels draw as one table: the panel's name first; where a panel has no such column, nothing."""
    # nullable, so that a count stays whole beside a panel without one
    whole = [part.astype(dict.fromkeys(part.select_dtypes("integer").columns, "Int64")) for part in parts.values()]
    table = pd.concat([part.assign(panel=name) for name, part in zip(parts, whole, strict=True)], ignore_index=True)
    return table[["panel", *table.columns.drop("panel")]]


def long(wide: pd.DataFrame, row: str, column: str, value: str) -> pd.DataFrame:
    """A table of one value a row and column as one of three columns of those names."""
    return wide.rename_axis(row).melt(var_name=column, value_name=value, ignore_index=False).reset_index()


def save(figure: Figure, outputs: Any, data: pd.DataFrame) -> None:
    """Write `outputs.png`, `outputs.pdf` and what is drawn as `outputs.csv`; the same figure is the same bytes."""
    files.write_table(outputs.csv, data)
    for path, metadata in ((outputs.png, {"Software": None}), (outputs.pdf, {"CreationDate": None})):
        with writing.atomic(path) as temporary:
            figure.savefig(temporary, metadata=metadata)


def log_axis(ax: Axes, label: str) -> None:
    """A logarithmic horizontal axis with decades labelled and nothing between them."""
    ax.set(xscale="log", xlabel=label)
    ax.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())


def log_ticks(ax: Axes, values: Sequence[float]) -> None:
    """Plain numbers on a logarithmic vertical axis that spans less than a decade or so."""
    low, high = min(values), max(values)
    step = next(s for s in (0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5) if (high - low) / s <= 7 or s == 5)
    ticks = np.arange(np.floor(low / step), np.ceil(high / step) + 1) * step
    ax.set_yscale("log")
    ax.set_yticks([t for t in ticks if t > 0])
    ax.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())


def plain_ticks(axis: Axis) -> None:
    """Plain numbers at 1, 2 and 5 of each decade of a logarithmic axis, once all is drawn; at 1 alone where it is long.

    Matplotlib's own locator leaves some of these out where an axis is short.
    """
    low, high = axis.get_view_interval()
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = np.outer(decades, (1, 2, 5) if high / low < 2000 else (1,)).ravel()
    axis.set_ticks([tick for tick in ticks if low <= tick <= high])
    axis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(mpl.ticker.NullFormatter())


def count(number: float) -> str:
    """A number of parameters as one says it: 25k, 1.2M."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{unit}"
    return f"{number:.0f}"


def marker(index: int) -> str:
    """The marker of a series by its index; after the last comes the first again."""
    return MARKERS[index % len(MARKERS)]


def number(value: float, digits: int = 2) -> str:
    """A number with the sign of minus that axes have, not a hyphen."""
    return f"{value:.{digits}f}".replace("-", "−")


def value_with_interval(fit: dict[str, Any], digits: int = 3) -> str:
    """`0.083 [0.081, 0.085]` with the sign of minus that axes have."""
    return wording.value_with_interval(fit, digits).replace("-", "−")
