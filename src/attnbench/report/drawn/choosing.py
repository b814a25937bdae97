"""How a figure is drawn so that its values can be seen: lines, bars or points, and which axes its panels share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.report.drawn.ticks import label
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Figure

# Where the frame has the interval of a column.
BANDS = {"time_median_s": ("time_low_s", "time_high_s"), "time_ratio": ("low", "high")}
FEW_BANDS = 3  # of more, each is thin bars
# Lengths of bars are compared by eye only this far: beyond, values stand as points on an axis of logarithms.
FAR_APART = 20.0
UNLIKE = 3.0  # panels whose largest values differ by more have axes of their own
FAR = "The values lie far apart: points on an axis of logarithms stand in the place of bars."
# What a caption says of lines, and what holds in its place for bars and points.
OF_LINES = {
    " Both axes are logarithmic.": "",
    "Both axes are logarithmic.": "",
    "the band is its interval": "the dark line is its interval",
}
# Several points at one place show by themselves how far they lie apart, and no interval is drawn.
OF_SEVERAL = {"; the band is its interval": "", **OF_LINES, "the band is its interval": "every point is one of them"}


def as_drawn(figure: Figure, data: pd.DataFrame) -> Figure:
    """The figure as its values can be seen: bars in the place of lines, points in the place of bars.

    Lines whose values all stand at one place are bars beside each other. Bars are points on an axis of logarithms where
    one of the panels, or one group of bars beside each other, has values too far apart; what has no logarithm stays.
    """
    figure = _side_by_side(figure, data)
    if figure.kind != "bar" or figure.log_y or data.empty or not (data[figure.y] > 0).all():
        return figure
    panels = [name for name in (figure.row, figure.col) if name]
    parts = [part for _, part in data.groupby(panels, sort=False)] if panels else [data]
    if max(_spread(part[figure.y]) for part in parts) <= FAR_APART:
        return figure
    return replace(figure, kind="strip", log_y=True)


def _side_by_side(figure: Figure, data: pd.DataFrame) -> Figure:
    """Lines as bars, where all of their values stand at one place and so would hide each other; of several, points."""
    alone = figure.kind == "line" and figure.hue is not None and figure.style in (None, figure.hue)
    if not alone or figure.guide is not None or len(set(data[figure.x])) != 1 or not (data[figure.y] >= 0).all():
        return figure
    places = [name for name in (figure.hue, figure.row, figure.col) if name]
    several = data.duplicated(places).any()
    kind = "strip" if several else "bar"
    caption = figure.caption
    for words, instead in (OF_SEVERAL if several else OF_LINES).items():
        caption = caption.replace(words, instead)
    figure = replace(figure, kind=kind, x=str(figure.hue), hue=None, style=None, x_label="")
    return replace(figure, log_x=False, log_y=False, caption=caption.strip())


def why(asked_for: Figure, figure: Figure, data: pd.DataFrame) -> list[str]:
    """Why a figure is not drawn as it was asked for."""
    said = []
    if asked_for.kind == "line" != figure.kind:
        place, mark = units.level(data[asked_for.x].iloc[0]), "bars" if figure.kind == "bar" else "points"
        said.append(f"All values stand at {label(asked_for.x)} = {place}, so they are {mark} and not lines.")
    if figure.log_y and not asked_for.log_y:
        said.append(FAR)
    return said


def own_axes(figure: Figure, data: pd.DataFrame) -> bool:
    """Whether each panel has an axis of values of its own: where they are of different sizes."""
    panels = [name for name in (figure.row, figure.col) if name]
    if not panels or figure.kind not in ("bar", "strip") or not (data[figure.y] > 0).all():
        return False
    sizes = data.groupby(panels, sort=False)[figure.y].max()
    return _spread(sizes) > UNLIKE


def _spread(values: pd.Series[Any]) -> float:
    return float(values.max() / values.min())


def needed(figure: Figure, data: pd.DataFrame) -> pd.DataFrame:
    """The columns that a figure draws, of what may be a hundred; a map reads more, and has all of them."""
    if figure.kind == "map":
        return data
    named = (figure.x, figure.y, figure.hue, figure.style, figure.col, figure.row, figure.x_text, figure.y_text)
    wanted = dict.fromkeys([*filter(None, named), *BANDS.get(figure.y, ())])
    return data[[name for name in wanted if name in data]]


def thin_bands(figure: Figure, data: pd.DataFrame) -> bool:
    """Whether the intervals of a figure of lines are thin bars."""
    if figure.kind != "line" or not {*BANDS.get(figure.y, ("",))} <= set(data.columns):
        return False
    lines = [name for name in (figure.hue, figure.style) if name]
    return bool(lines) and len(data[lines].drop_duplicates()) > FEW_BANDS
