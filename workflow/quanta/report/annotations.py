"""Labels in figures: at ends of lines, at points, and texts of a corpus made drawable."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from quanta.arrays import Array, Float


def end_labels(ax: Axes, texts: Sequence[str], *, lines_a_text: int = 1) -> None:
    """Name each line at its right end, in its own colour, moved apart where ends are close."""
    ax.figure.canvas.draw()
    lines = ax.get_lines()[: len(texts)]
    ends = [np.asarray(line.get_xydata(), dtype=float) for line in lines]
    ends = [points[np.isfinite(points).all(axis=1)][-1] for points in ends]
    pixels = ax.transData.transform(np.array(ends))
    gap = 8.5 * lines_a_text * ax.figure.dpi / 72
    order = np.argsort(pixels[:, 1])
    heights = pixels[order, 1].copy()
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    heights -= (heights - pixels[order, 1]).mean()
    for i, height in zip(order, heights, strict=True):
        ax.annotate(
            texts[i], ends[i], xytext=(5, (height - pixels[i, 1]) * 72 / ax.figure.dpi), textcoords="offset points",
            fontsize=7, va="center", color=lines[i].get_color(), annotation_clip=False,
        )  # fmt: skip


def point_labels(ax: Axes, points: Float[Array, "point 2"], texts: Mapping[int, str], *, size: float = 6) -> None:
    """Name some of the points beside them, where that covers no point, no earlier name and no line to one.

    A name without room is left out. `points` are in the axes' own units, `texts` the names by index, the first of which have the choice.
    """
    ax.figure.canvas.draw()
    inside, unit = ax.get_window_extent(), ax.figure.dpi / 72
    at = ax.transData.transform(points)
    dots = [Bbox.from_bounds(x - unit, y - unit, 2 * unit, 2 * unit) for x, y in at]
    named: list[Bbox] = []
    lines = np.empty((0, 2))  # pixels on the lines from names to their points
    directions = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1))
    for index, text in texts.items():
        for far, (x, y) in itertools.product((5, 10, 16, 24), directions):
            note = ax.annotate(
                text, points[index], xytext=(x * far, y * far), textcoords="offset points", fontsize=size, va="center",
                ha={1: "left", -1: "right", 0: "center"}[x], family="DejaVu Sans Mono", parse_math=False,
                arrowprops={"arrowstyle": "-", "lw": 0.4, "color": "0.4", "shrinkA": 0, "shrinkB": 2},
            )  # fmt: skip
            note.get_window_extent()  # which also puts the text in its place
            box = Text.get_window_extent(note)
            middle = box.get_points().mean(axis=0)
            line = middle + np.linspace(0, 1, 60)[:, None] * (at[index] - middle)
            free = inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1)
            if free and not (
                box.count_overlaps([*dots, *named])
                or box.count_contains(lines)
                or any(other.count_contains(line) for other in named)
            ):
                named.append(box)
                lines = np.concatenate([lines, line])
                break
            note.remove()


def drawable(text: str) -> str:
    """Text on one line in the figures' monospaced font: what it has no glyph for is drawn as □."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans Mono")))
    line = text.replace("\n", "⏎").replace("\t", "⇥")
    return "".join(c if font.get_char_index(ord(c)) else "□" for c in line)


def visible(text: str) -> str:
    """A token's text on one line: blanks and breaks are made visible, and matplotlib's $ is kept literal."""
    return text.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣").replace("$", r"\$")
