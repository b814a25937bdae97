"""A map of two implementations over two axes: who is faster by how much, the boundary, and where it is not told.

Colour alone says nothing: each place names the faster one, a thick line is the boundary between places that are told,
and a place that is not told is hatched. What lies on a coloured place has colours of its own, so that it can be read on
a light page, on a dark one, and in print.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attnbench.report.drawing import PAPER_GRID, label
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Figure

DARK, LIGHT = "#1a1a1a", "#f7f7f7"
COLOURS = "PuOr"
# A ratio so far from 1 has the strongest colour, unless all are nearer.
STRONGEST = 8.0


def draw_map(place: Any, figure: Figure, data: pd.DataFrame, everything: pd.DataFrame) -> None:
    """Draw one panel: ``data`` has the columns of ``analysis.maps.ratios``."""
    import seaborn as sns
    from matplotlib.colors import LogNorm

    value = str(figure.hue)
    most = min(max(math.exp(abs(math.log(ratio))) for ratio in everything[value]), STRONGEST)
    most = max(most, 1.1)
    table = _pivot(figure, data, value)
    sns.heatmap(
        table,
        ax=place,
        cmap=COLOURS,
        norm=LogNorm(1 / most, most),
        annot=table.map(_written),
        fmt="",
        linewidths=0.5,
        linecolor=PAPER_GRID,
        annot_kws={"fontsize": 8},
        cbar=False,
    )
    sure = _pivot(figure, data.assign(told=data["told"].astype(float)), "told") > 0
    _hatch(place, table, sure)
    _boundary(place, table, sure)
    place.grid(visible=False)
    place.tick_params(axis="y", rotation=0)
    place.set_xlabel(figure.x_label or label(figure.x))
    place.set_ylabel(figure.y_label or label(figure.y))


def _pivot(figure: Figure, data: pd.DataFrame, value: str) -> pd.DataFrame:
    table = data.pivot_table(index=figure.y, columns=figure.x, values=value, aggfunc="median")
    return table.sort_index(ascending=False)


def _written(ratio: float) -> str:
    """Who is faster by what factor, such as ``A 1.80×``; nothing where nothing was measured."""
    if not units.known(ratio):
        return ""
    return f"{'A' if ratio > 1 else 'B'} {units.times(max(ratio, 1 / ratio))}"


def _hatch(place: Any, table: pd.DataFrame, sure: pd.DataFrame) -> None:
    from matplotlib.patches import Rectangle

    for row, column in _places(table):
        if units.known(table.iloc[row, column]) and not bool(sure.iloc[row, column]):
            mark = Rectangle((column, row), 1, 1, fill=False, hatch="////", edgecolor=DARK, linewidth=0, alpha=0.45)
            mark.set_gid("not-told")
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
