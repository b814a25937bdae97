"""A map of two implementations over two axes: who is faster by how much, the boundary, and where it is not told.

Colour alone says nothing: each place names the faster one, a thick line is the boundary between places that are told,
and a place that is not told is hatched; the legend says so. What lies on a coloured place has colours of its own, so
that it can be read on a light page, on a dark one, and in print.
"""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from attnbench.report.drawing import PAPER_GRID
from attnbench.report.drawn.ticks import label
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Figure

DARK, LIGHT = "#000000", "#ffffff"
# Its lightness rises from end to end, so that A's places are lighter than B's in grey too, and to every reader.
COLOURS = "cividis"
# A ratio so far from 1 has the strongest colour, unless all are nearer.
STRONGEST = 8.0
# Of a colour of this luminance black and white text stand out alike, at 4.6 : 1.
MIDDLE = 0.179
# Inches: all panels beside each other, what a panel needs beside its places, a place with its text on one line and on
# two, and a sign of a title.
ROW, BESIDE, ONE_LINE, TWO_LINES, SIGN = 9.75, 0.9, 0.64, 0.44, 0.078
HATCHED = "not-told"
FACTORS = (1.1, 1.25, 1.5, 2.0, 4.0, 8.0)
NOT_TOLD, TURNS = "not told apart", "boundary: the other one is faster beyond"


def draw_map(place: Any, figure: Figure, data: pd.DataFrame, everything: pd.DataFrame) -> dict[str, Any]:
    """Draw one panel of the columns of ``analysis.maps.ratios``; what its legend is to explain comes back."""
    import seaborn as sns
    from matplotlib.colors import LogNorm

    value = str(figure.hue)
    most = min(max(math.exp(abs(math.log(ratio))) for ratio in everything[value]), STRONGEST)
    most = max(most, 1.1)
    table = _pivot(figure, data, value, everything)
    between = " " if _place_width(figure, everything) == ONE_LINE else "\n"
    sns.heatmap(
        table,
        ax=place,
        cmap=COLOURS,
        norm=LogNorm(1 / most, most),
        annot=table.map(lambda ratio: _written(ratio, between)),
        fmt="",
        linewidths=0.5,
        linecolor=PAPER_GRID,
        annot_kws={"fontsize": 8},
        cbar=False,
    )
    sure = _pivot(figure, data.assign(told=data["told"].astype(float)), "told", everything) > 0
    _hatch(place, table, sure)
    _boundary(place, table, sure)
    _stand_out(place, table)
    place.grid(visible=False)
    place.tick_params(axis="y", rotation=0)
    place.set_xlabel(figure.x_label or label(figure.x))
    place.set_ylabel(figure.y_label or label(figure.y))
    return _explained(place)


def _explained(place: Any) -> dict[str, Any]:
    """What a panel has of hatching and boundaries, as a legend shows them."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    legend: dict[str, Any] = {}
    if any(patch.get_gid() == HATCHED for patch in place.patches):
        legend[NOT_TOLD] = Patch(facecolor="#b8b8b8", edgecolor=DARK, hatch="////", linewidth=0)
    if place.lines:
        cased = [withStroke(linewidth=4.5, foreground=LIGHT)]
        legend[TURNS] = Line2D([], [], color=DARK, linewidth=2.5, path_effects=cased)
    return legend


def _stand_out(place: Any, table: pd.DataFrame) -> None:
    """Text as dark or as light as its place needs it, and on hatching a ground of its own."""
    from seaborn.utils import relative_luminance

    mesh = place.collections[0]
    mesh.update_scalarmappable()
    shades = mesh.get_facecolors().reshape(*table.shape, 4)
    hatched = {patch.get_xy(): patch for patch in place.patches if patch.get_gid() == HATCHED}
    for text in place.texts:
        column, row = (math.floor(end) for end in text.get_position())
        shade = shades[row, column]
        ink = DARK if relative_luminance(shade) > MIDDLE else LIGHT
        text.set_color(ink)
        if mark := hatched.get((column, row)):
            mark.set_edgecolor(ink)
            text.set_bbox({"facecolor": shade, "edgecolor": "none", "pad": 1.5})


def name_bar(bar: Any) -> None:
    """The scale of colours: who is faster, and by what factor."""
    from matplotlib.ticker import FixedLocator, NullLocator

    most = bar.norm.vmax
    near = [factor for factor in FACTORS if factor <= most * 1.001]
    shown = [factor for factor in near if factor >= 2] or near  # noqa: PLR2004  (on one of these ten fit)
    ticks = [*(1 / factor for factor in reversed(shown)), 1.0, *shown]
    texts = [*(f"B {factor:g}×" for factor in reversed(shown)), "equal", *(f"A {factor:g}×" for factor in shown)]
    bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.ax.set_yticks(ticks, labels=texts)
    bar.set_label("the faster one, and by what factor")


def across(figure: Figure, data: pd.DataFrame, panels: int) -> int:
    """Panels beside each other: as many as have room for their texts."""
    narrowest = BESIDE + TWO_LINES * data[figure.x].nunique()
    fitting = max(1, min(panels, int(ROW // narrowest), 3))
    return 2 if (panels, fitting) == (4, 3) else fitting


def panel_size(figure: Figure, data: pd.DataFrame, beside: int) -> tuple[float, float]:
    """Inches of one panel."""
    columns, rows = data[figure.x].nunique(), data[figure.y].nunique()
    needed = BESIDE + _place_width(figure, data) * columns
    usual = {1: 7.0, 2: 4.7}.get(beside, 3.25)
    return min(max(needed, usual), ROW / beside) if beside > 1 else max(needed, usual), max(2.6, 0.9 + 0.42 * rows)


def _place_width(figure: Figure, data: pd.DataFrame) -> float:
    columns = data[figure.x].nunique()
    beside = across(figure, data, data[figure.col].nunique() if figure.col else 1)
    return ONE_LINE if BESIDE + ONE_LINE * columns <= ROW / beside else TWO_LINES


def title(text: str, width: float) -> str:
    """A panel's title, on as many lines as its width takes; each part stays whole."""
    joined = text.replace(" ", "\xa0").replace(",\xa0", ", ")  # a line ends at a comma alone
    signs = int((width - BESIDE) / SIGN)
    return textwrap.fill(joined, signs, break_long_words=False, break_on_hyphens=False).replace("\xa0", " ")


def _pivot(figure: Figure, data: pd.DataFrame, value: str, everything: pd.DataFrame) -> pd.DataFrame:
    """The places of a panel; all panels have the same, whatever was measured of each."""
    table = data.pivot_table(index=figure.y, columns=figure.x, values=value, aggfunc="median")
    columns, rows = (sorted(everything[name].unique()) for name in (figure.x, figure.y))
    return table.reindex(index=rows[::-1], columns=columns)


def _written(ratio: float, between: str = " ") -> str:
    """Who is faster by what factor, such as ``A 1.80×``; nothing where nothing was measured."""
    if not units.known(ratio):
        return ""
    return f"{'A' if ratio > 1 else 'B'}{between}{units.times(max(ratio, 1 / ratio))}"


def _hatch(place: Any, table: pd.DataFrame, sure: pd.DataFrame) -> None:
    from matplotlib.patches import Rectangle

    for row, column in _places(table):
        if units.known(table.iloc[row, column]) and not bool(sure.iloc[row, column]):
            mark = Rectangle((column, row), 1, 1, fill=False, hatch="////", edgecolor=DARK, linewidth=0, alpha=0.75)
            mark.set_gid(HATCHED)
            place.add_patch(mark)


def _boundary(place: Any, table: pd.DataFrame, sure: pd.DataFrame) -> None:
    """A line along the edges of places that are told of which one is A's and the other B's."""
    for row, column in _places(table):
        for below, right in ((0, 1), (1, 0)):
            other = row + below, column + right
            if other[0] >= table.shape[0] or other[1] >= table.shape[1]:
                continue
            if not (bool(sure.iloc[row, column]) and bool(sure.iloc[other])):
                continue
            if _of_a(table, row, column) == _of_a(table, *other):
                continue
            ends = ([column + 1] * 2, [row, row + 1]) if right else ([column, column + 1], [row + 1] * 2)
            place.plot(*ends, color=LIGHT, linewidth=4.5, solid_capstyle="round")
            place.plot(*ends, color=DARK, linewidth=2.5, solid_capstyle="round", gid=f"boundary-{row}-{column}-{right}")


def _of_a(table: pd.DataFrame, row: int, column: int) -> bool:
    return float(table.to_numpy(float)[row, column]) > 1


def _places(table: pd.DataFrame) -> list[tuple[int, int]]:
    return [(row, column) for row in range(table.shape[0]) for column in range(table.shape[1])]
