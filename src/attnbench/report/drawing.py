"""What happens inside one panel of a figure: lines with interval bands, bars, strips, heat maps, axes, guides."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnbench.report.drawn.choosing import BANDS, FEW_BANDS, own_axes
from attnbench.report.drawn.ticks import (
    beside_each_other,
    doubling,
    label,
    plain_numbers,
    ticks_at_levels,
    ticks_with_units,
)
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.report.palette import Palette
    from attnbench.suite import Figure

# Stand-ins that no palette has; in the finished SVG they become the colours of the page.
INK, PAPER_GRID = "#010203", "#040506"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("", (4, 1.5), (1, 1), (3, 1, 1, 1), (5, 1, 1, 1, 1, 1), (2, 2), (6, 2))
MANY_VALUES = 60


def draw_axes(
    place: Any,
    figure: Figure,
    data: pd.DataFrame,
    everything: pd.DataFrame,
    palette: Palette,
    failed: pd.DataFrame,
) -> dict[str, Any]:
    """Draw ``data`` in one panel and return its legend.

    ``everything`` is the data of all panels, so that they share colours and scales; ``failed`` are the cells of this
    panel that have no measurement.
    """
    kinds = {"line": _line, "bar": _bar, "strip": _strip, "heat": _heat}
    kinds[figure.kind](place, figure, data, everything, palette)
    if figure.kind == "line" and not failed.empty:
        _crosses(place, figure, failed, palette)
    legend = {}
    if (legend_of_panel := place.get_legend()) is not None:
        handles, labels = place.get_legend_handles_labels()
        legend = dict(zip(labels, handles, strict=True))
        legend_of_panel.remove()
    return legend


def _levels(everything: pd.DataFrame, column: str) -> list[Hashable]:
    levels = everything[column].dropna().unique().tolist()
    return list(levels) if column == "impl" else sorted(levels, key=lambda level: (isinstance(level, str), level))


def _colours(figure: Figure, everything: pd.DataFrame, palette: Palette) -> dict[str, Any]:
    """The keyword arguments of seaborn for the colour of each value."""
    if figure.hue is None:
        return {"color": palette.colours("", [""])[""]}
    order = _levels(everything, figure.hue)
    return {"hue": figure.hue, "hue_order": order, "palette": palette.colours(figure.hue, order)}


def _line(place: Any, figure: Figure, data: pd.DataFrame, everything: pd.DataFrame, palette: Palette) -> None:
    import seaborn as sns

    colours = _colours(figure, everything, palette)
    style = figure.style
    styles: dict[str, Any] = {}
    # Colour alone would leave some readers out: the same values differ in marker and dashes too.
    ways = _ways(figure.style or figure.hue, everything, palette)
    if not ways:
        styles = {"marker": MARKERS[0]}
    elif style not in (None, figure.hue):
        styles = {
            "style": style,
            "style_order": list(ways),
            "markers": {value: marker for value, (marker, _) in ways.items()},
            "dashes": {value: dashes for value, (_, dashes) in ways.items()},
        }
    keys = list(dict.fromkeys(name for name in (figure.x, figure.hue, style) if name))
    middle: dict[str, Any] = {"estimator": None}  # a value for each place, and nothing to group
    if data.duplicated(keys).any():
        middle = {"estimator": "median", "errorbar": ("pi", 50)}
    before = len(place.lines)
    sns.lineplot(data, x=figure.x, y=figure.y, ax=place, **middle, **colours, **styles)
    if not styles:
        _mark_lines(place.lines[before:], ways, data[figure.hue])
    _band(place, figure, data, colours)
    _scales(place, figure, everything)
    _guide(place, figure, everything)


def _ways(column: str | None, everything: pd.DataFrame, palette: Palette) -> dict[Hashable, tuple[str, Any]]:
    """The marker and the dashes of each value of a column."""
    if column is None:
        return {}
    places = palette.places(column, _levels(everything, column))
    return {value: (MARKERS[at % len(MARKERS)], DASHES[at % len(DASHES)]) for value, at in places.items()}


def _mark_lines(lines: Sequence[Any], ways: Mapping[Hashable, tuple[str, Any]], values: pd.Series[Any]) -> None:
    """Give each line of seaborn's, and its sample in the legend, the marker and the dashes of its value.

    Asked for a style, seaborn would try each value of it with each value of the colour, though they are the same.
    The lines come in the order of the values that a panel has, then the samples, by the names of all values.
    """
    drawn = [line for line in lines if line.get_label().startswith("_")]
    known = set(values.dropna())
    pairs = list(zip(drawn, (way for value, way in ways.items() if value in known), strict=True))
    named = {str(value): way for value, way in ways.items()}
    pairs += [(line, named[line.get_label()]) for line in lines if line.get_label() in named]
    for line, (marker, dashes) in pairs:
        line.set(marker=marker, linestyle=(0, dashes) if dashes else "-")


def _band(place: Any, figure: Figure, data: pd.DataFrame, colours: dict[str, Any]) -> None:
    """The interval that the frame gives, where there is one row for each point of a line.

    A few are shaded, with an outline that is seen where two overlap; many would merge, and are thin bars instead.
    """
    low, high = BANDS.get(figure.y, ("", ""))
    if low not in data or high not in data:
        return
    lines = [name for name in (figure.hue, figure.style) if name]
    parts = [(None, data)] if not lines else list(data.groupby(lines, sort=False))
    for key, part in parts:
        known = _bounded(part, low, high).sort_values(figure.x)
        if known[figure.x].duplicated().any():
            continue
        colour = colours["color"] if figure.hue is None or key is None else colours["palette"][key[0]]
        if len(parts) > FEW_BANDS:
            place.vlines(known[figure.x], known[low], known[high], color=colour, alpha=0.7, linewidth=1.4)
        else:
            place.fill_between(known[figure.x], known[low], known[high], color=colour, alpha=0.15, linewidth=0)
            for end in (low, high):
                place.plot(known[figure.x], known[end], color=colour, alpha=0.6, linewidth=0.6, label="_band")


def _bounded(part: pd.DataFrame, low: str, high: str) -> pd.DataFrame:
    """The rows whose interval has two ends."""
    ends = part[[low, high]].astype(float)
    return part[ends.notna().all(axis=1) & (ends.abs() != float("inf")).all(axis=1)]


def _crosses(place: Any, figure: Figure, failed: pd.DataFrame, palette: Palette) -> None:
    """A cross at the foot of the panel for each cell without a measurement, in the colour of its line."""
    for value, part in failed.groupby(figure.hue or "impl", sort=False):
        column = figure.hue or ""
        colour = palette.colours(column, [value])[value] if column else INK
        foot = [0.025] * len(part)
        place.plot(part[figure.x], foot, "x", color=colour, markersize=5, transform=place.get_xaxis_transform())


def _bar(place: Any, figure: Figure, data: pd.DataFrame, everything: pd.DataFrame, palette: Palette) -> None:
    import seaborn as sns

    lying = figure.x == "impl"
    chosen = _categorical_colours(figure, everything, palette)
    order = _levels(everything, figure.x)
    x, y = (figure.y, figure.x) if lying else (figure.x, figure.y)
    sns.barplot(data, x=x, y=y, order=order, ax=place, estimator="median", errorbar=None, **chosen)
    if figure.hue in (None, figure.x):
        _whiskers(place, figure, data, order, lying=lying)
    _value_scale(place, figure, data if own_axes(figure, everything) else everything, lying=lying)


def _whiskers(place: Any, figure: Figure, data: pd.DataFrame, order: list[Hashable], *, lying: bool) -> None:
    low, high = BANDS.get(figure.y, ("", ""))
    if low not in data or high not in data or data[figure.x].duplicated().any():
        return
    known = _bounded(data, low, high)
    where = [order.index(value) for value in known[figure.x]]
    lines = place.hlines if lying else place.vlines
    lines(where, known[low], known[high], colors=INK, linewidth=1.6, zorder=1 if figure.kind == "strip" else 2)


def _strip(place: Any, figure: Figure, data: pd.DataFrame, everything: pd.DataFrame, palette: Palette) -> None:
    import seaborn as sns

    lying = figure.x == "impl"
    x, y = (figure.y, figure.x) if lying else (figure.x, figure.y)
    chosen = _categorical_colours(figure, everything, palette)
    order = _levels(everything, figure.x)
    sns.stripplot(data, x=x, y=y, order=order, ax=place, jitter=False, alpha=0.85, size=6, zorder=3, **chosen)
    if figure.hue in (None, figure.x):
        _whiskers(place, figure, data, order, lying=lying)
    _value_scale(place, figure, data if own_axes(figure, everything) else everything, lying=lying)


def _categorical_colours(figure: Figure, everything: pd.DataFrame, palette: Palette) -> dict[str, Any]:
    """Colours where x is a category: implementations keep theirs even where they are the axis."""
    if figure.hue is None and figure.x == "impl":
        order = _levels(everything, "impl")
        return {"hue": "impl", "hue_order": order, "palette": palette.colours("impl", order), "legend": False}
    return _colours(figure, everything, palette)


def _heat(place: Any, figure: Figure, data: pd.DataFrame, everything: pd.DataFrame, _: Palette) -> None:
    import seaborn as sns
    from matplotlib.colors import LogNorm

    value = str(figure.hue)
    table = data.pivot_table(index=figure.y, columns=figure.x, values=value, aggfunc="median", sort=False)
    table = table.astype("float64")  # whole numbers that may be absent are of another type
    # Where something stands at the places, the map is to be looked at, and its numbers would hide it.
    small = table.size <= MANY_VALUES and figure.x_text is None
    least, most = float(everything[value].min()), float(everything[value].max())
    shades = {"norm": LogNorm(least, most)} if figure.log_y and 0 < least < most else {"vmin": least, "vmax": most}
    sns.heatmap(
        table,
        ax=place,
        cmap="viridis",
        **shades,
        annot=table.map(lambda number: units.significant(number) if units.known(number) else "") if small else False,
        fmt="",
        linewidths=0.5,
        linecolor=PAPER_GRID,
        annot_kws={"fontsize": 8},
        cbar=False,  # one for all panels: see figures
    )
    for axis, column, text in ((place.xaxis, figure.x, figure.x_text), (place.yaxis, figure.y, figure.y_text)):
        if text is not None:
            _texts_at_places(axis, list(table.columns if axis is place.xaxis else table.index), data, column, text)
    place.grid(visible=False)
    place.tick_params(axis="y", rotation=0)
    place.set_xlabel(figure.x_label or label(figure.x))
    place.set_ylabel(figure.y_label or label(figure.y))


def _texts_at_places(axis: Any, places: list[Any], data: pd.DataFrame, column: str, text: str) -> None:
    """Every place of a heat map's axis with what stands there, such as a letter."""
    texts = data.drop_duplicates(column).set_index(column)[text]
    axis.set_ticks([number + 0.5 for number in range(len(places))], labels=[str(texts[place]) for place in places])


def _scales(place: Any, figure: Figure, everything: pd.DataFrame) -> None:
    place.set_xlabel(figure.x_label or label(figure.x))
    place.set_ylabel(figure.y_label or label(figure.y))
    if figure.log_x:
        place.set_xscale("log", base=2 if doubling(everything[figure.x]) else 10)
        plain_numbers(place.xaxis)
    if figure.log_y:
        place.set_yscale("log")
    if everything[figure.x].dtype.kind in "iuf":
        ticks_at_levels(place, everything[figure.x])
    ticks_with_units(place.yaxis, figure.y, everything[figure.y], logarithmic=figure.log_y)


def _value_scale(place: Any, figure: Figure, everything: pd.DataFrame, *, lying: bool) -> None:
    """The axes of bars and strips: one of categories, one of values; lying where implementations are the categories."""
    value_axis = place.xaxis if lying else place.yaxis
    names = figure.x_label or ("" if lying else label(figure.x)), figure.y_label or label(figure.y)
    x_label, y_label = reversed(names) if lying else names
    place.set_xlabel(x_label)
    place.set_ylabel(y_label)
    if figure.log_y:
        (place.set_xscale if lying else place.set_yscale)("log")
    room = beside_each_other(place) if lying else None
    ticks_with_units(value_axis, figure.y, everything[figure.y], logarithmic=figure.log_y, room=room)
    place.grid(visible=False, axis="y" if lying else "x")
    if figure.guide is not None:
        factor, _, text = figure.guide
        (place.axvline if lying else place.axhline)(factor, color=INK, linestyle="--", linewidth=1)
        if figure.kind == "bar":
            return
        where = {"xy": (factor, 0.98), "xycoords": ("data", "axes fraction"), "rotation": 90, "ha": "right"}
        flat = {"xy": (0.01, factor), "xycoords": ("axes fraction", "data")}
        place.annotate(text, **(where if lying else flat), fontsize=8, va="top" if lying else "bottom")


def _guide(place: Any, figure: Figure, everything: pd.DataFrame) -> None:
    """The dashed line y = factor · x^power with its label."""
    if figure.guide is None:
        return
    import numpy as np

    factor, power, text = figure.guide
    values = everything[figure.x]
    low, high = float(values.min()), float(values.max())
    x = np.geomspace(low, high, 50) if figure.log_x and low > 0 else np.linspace(low, high, 50)
    (drawn,) = place.plot(x, factor * x**power, linestyle="--", linewidth=1, color=INK, zorder=1)
    drawn.set_label("_guide")
    place.annotate(text, xy=(x[-1], factor * x[-1] ** power), fontsize=8, ha="right", va="bottom")
