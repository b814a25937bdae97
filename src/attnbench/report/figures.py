"""Draws a suite's figures from its frame, with seaborn, as SVG: the same frame gives the same bytes.

One colour belongs to one implementation on the whole page (``Palette``), the line style and the marker to its
backend, so that no figure depends on colour alone. What cannot be drawn is named in the caption. Text and axes take
the colour of the page (``currentColor``), so that a figure fits a light page and a dark one.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError
from attnbench.report import maps
from attnbench.report.drawing import INK, PAPER_GRID, draw_axes
from attnbench.report.drawn.choosing import as_drawn, needed, own_axes, thin_bands, why
from attnbench.report.drawn.ticks import label, plain_numbers
from attnbench.report.palette import Palette
from attnbench.results.frames import column_names
from attnbench.show import units
from attnbench.show.svg import NOT_XML, clean_svg

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Figure

MAX_PANELS = 12
THIN = "The intervals of so many lines are drawn as thin bars."
MAPS = ("heat", "map")  # their places are cells of a table, and the value is the hue
PANELS_IN_A_ROW = 3
FOUR = 4  # panels that stand two and two
SHOWN_FAILURES = 8
LEGEND_COLUMNS = 4
LEGEND_LINES = 4  # for which every figure has room
LEGEND_MARK, LEGEND_SIGN, LEGEND_LINE = 0.55, 0.075, 0.17  # inches: a mark and its gap, a sign of a name, a line
STYLE: dict[str, Any] = {
    "text.parse_math": False,  # names are other people's: a dollar in them begins no formula
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": PAPER_GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": PAPER_GRID,
    "axes.grid": True,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
}


# What a canvas is handed to when all of it is drawn.
Keeper = Callable[[Any], None]


@dataclass(frozen=True)
class DrawnFigure:
    """A drawn figure: an SVG document (empty if there was nothing to draw) and the caption in full.

    ``again`` draws it once more, in other settings of matplotlib, and hands its canvas on.
    """

    name: str
    title: str
    svg: str
    caption: str
    again: Callable[[Mapping[str, Any], Keeper], None] | None = field(default=None, compare=False, repr=False)


def draw(figure: Figure, frame: pd.DataFrame, palette: Palette, prefix: str = "") -> DrawnFigure:
    """Draw one figure of a suite from the suite's frame.

    ``prefix`` makes the ids inside the SVG unique on a page. A figure that its own ``data`` or a missing column makes
    impossible comes back without a drawing and with the reason as its caption.
    """
    name = f"{prefix}{figure.name}"
    if not (frame["status"] == "ok").any():  # a suite's columns of numbers need not be there at all
        return DrawnFigure(
            name, figure.title, "", " ".join([figure.caption, "Nothing to draw.", *_failures(frame)]).strip()
        )
    try:
        data = _readable(_data(figure, frame))
    except Exception as error:  # noqa: BLE001  (a suite's own code; the rest of the report must survive it)
        return DrawnFigure(name, figure.title, "", f"This figure could not be drawn. {type(error).__name__}: {error}")
    known = data.dropna(subset=[figure.y])
    asked_for, figure = figure, as_drawn(figure, known)
    drawable, notes = _drawable(figure, data)
    notes += why(asked_for, figure, known)
    notes += _failures(frame)
    if drawable.empty:
        return DrawnFigure(name, figure.title, "", " ".join([figure.caption, "Nothing to draw.", *notes]).strip())
    notes += [THIN] if thin_bands(figure, drawable) else []
    panels, left_out = _panels(figure, needed(figure, drawable))
    failed = _readable(_placeable_failures(figure, frame))
    crosses = ["A cross at the foot is a cell without a measurement."] if len(failed) else []
    # Bars would hide the words beside the line.
    dashed = [f"Dashed: {figure.guide[2]}."] if figure.guide is not None and figure.kind == "bar" else []
    caption = " ".join(filter(None, [figure.caption, *dashed, *crosses, *left_out, *notes]))
    drawn = partial(_drawn, figure, panels, failed, palette)
    return DrawnFigure(name, figure.title, _svg(drawn, name, figure.title), caption, drawn)


def _data(figure: Figure, frame: pd.DataFrame) -> pd.DataFrame:
    data = frame[frame["status"] == "ok"]
    data = data if figure.data is None else figure.data(data.copy())
    for column in (figure.x, figure.y, figure.hue, figure.style, figure.col, figure.row, figure.x_text, figure.y_text):
        if column is not None and column not in data:
            msg = (
                f"figure {figure.name!r} needs the column {column!r}; there are {', '.join(sorted(column_names(data)))}"
            )
            raise UsageError(msg)
    return data


def _readable(data: pd.DataFrame) -> pd.DataFrame:
    """The same with a sign in the place of each that no font and no file can hold, such as half a surrogate pair."""
    texts = [name for name in data.columns if data[name].dtype.kind not in "biufM"]
    odd = [name for name in texts if any(isinstance(text, str) and NOT_XML.search(text) for text in data[name])]
    return data.assign(**{name: data[name].map(_replaced) for name in odd}) if odd else data


def _replaced(value: Any) -> Any:
    return NOT_XML.sub("\ufffd", value) if isinstance(value, str) else value


def _drawable(figure: Figure, data: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows that have a place on the axes, and a note on the others."""
    value = figure.hue if figure.kind in MAPS and figure.hue else figure.y
    has_place = data[value].notna() & data[figure.x].notna()
    for column, logarithmic in ((figure.x, figure.log_x), (figure.y, figure.log_y and figure.kind not in MAPS)):
        if logarithmic:
            has_place &= data[column] > 0
    lost = data[~has_place]
    if lost.empty:
        return data, []
    who = ", ".join(sorted(set(map(str, lost["impl"].to_numpy())))) if "impl" in lost else "some"
    return data[has_place], [f"{len(lost)} measured cells have no {value} to draw here ({who})."]


def _failures(frame: pd.DataFrame) -> list[str]:
    failed = frame[frame["status"] != "ok"]
    if failed.empty:
        return []
    counts = Counter(zip(failed["impl"], failed["status"], strict=True))
    parts = [f"{impl} {status} ({count})" for (impl, status), count in sorted(counts.items())]
    more = [f"and {len(parts) - SHOWN_FAILURES} more"] if len(parts) > SHOWN_FAILURES else []
    return ["Not drawn, with the number of cells: " + "; ".join([*parts[:SHOWN_FAILURES], *more]) + "."]


def _placeable_failures(figure: Figure, frame: pd.DataFrame) -> pd.DataFrame:
    """The cells without a measurement that have a place along x: those of a line figure of the frame as it is."""
    columns = [name for name in (figure.x, figure.hue, figure.row, figure.col) if name]
    failed = frame[frame["status"] != "ok"]
    if figure.kind != "line" or figure.data is not None or any(name.startswith("metric.") for name in columns):
        return failed.iloc[:0]
    failed = failed.dropna(subset=columns)
    return failed[failed[figure.x] > 0] if figure.log_x else failed


def _panels(figure: Figure, data: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """The panels by their titles, in order of appearance, and a note if there are too many."""
    columns = [name for name in (figure.row, figure.col) if name]
    if not columns:
        return {"": data}, []
    panels = {_panel_title(columns, key): part for key, part in data.groupby(columns, sort=False)}
    extra = len(panels) - MAX_PANELS
    notes = [f"{extra} more panels are left out; their numbers are in the tables."] if extra > 0 else []
    return dict(list(panels.items())[:MAX_PANELS]), notes


def _panel_title(columns: Sequence[str], key: tuple[Any, ...]) -> str:
    pairs = zip(columns, key, strict=True)
    return ", ".join(
        units.number(value)
        if name.removeprefix("point.") == "setting"
        else f"{name.removeprefix('point.')} = {units.level(value)}"
        for name, value in pairs
    )


@contextmanager
def without_noise() -> Iterator[None]:
    """Without matplotlib's warnings on names for which its font has no sign, or a figure no room: tables have them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from|constrained_layout not applied", UserWarning)
        yield


def _svg(drawn: Callable[[Mapping[str, Any], Keeper], None], name: str, title: str) -> str:
    """The figure as it stands in a page."""
    text = io.StringIO()
    drawn({"svg.hashsalt": name}, lambda canvas: canvas.savefig(text, format="svg", metadata={"Date": None}))
    return clean_svg(text.getvalue(), name, title, {INK: "currentColor", PAPER_GRID: "rgb(128 128 128 / 35%)"})


def _drawn(
    figure: Figure,
    panels: Mapping[str, pd.DataFrame],
    failed: pd.DataFrame,
    palette: Palette,
    settings: Mapping[str, Any],
    keep: Keeper,
) -> None:
    """Draw the figure in the style of the page with these settings besides, and hand the canvas to ``keep``."""
    import matplotlib as mpl
    import pandas as pd
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure as Canvas

    everything = pd.concat(list(panels.values()))
    # Without failures nothing is grouped: columns that the figure itself derives are not in their frame.
    missing = {} if failed.empty else _panels(figure, failed)[0]
    across = _across(figure, everything, len(panels))
    down = -(-len(panels) // across)
    style: Any = {**STYLE, **settings}
    with mpl.rc_context(style), without_noise():
        width, height = _panel_size(figure, everything, across)
        canvas = Canvas(figsize=(width * across, height * down + 0.5), layout="constrained")
        FigureCanvasSVG(canvas)
        share_x, share_y = _shared_axes(figure, everything)
        grid = canvas.subplots(down, across, squeeze=False, sharex=share_x, sharey=share_y)
        places = list(grid.flat)
        legend: dict[str, Any] = {}
        for place, (title, part) in zip(places, panels.items(), strict=False):
            if figure.kind == "map":
                legend |= maps.draw_map(place, figure, part, everything)
            else:
                legend |= draw_axes(place, figure, part, everything, palette, missing.get(title, failed.iloc[:0]))
            wrapped = maps.title(title, width) if figure.kind == "map" else title
            place.set_title(title.replace(", ", "\n") if across == FOUR else wrapped)  # narrow panels
        for place in places[len(panels) :]:
            place.set_visible(False)
        for place in places[len(panels) - across : len(panels)]:
            place.tick_params(labelbottom=True)  # the last of its column, though not in the last row
        if figure.kind in MAPS:
            bar = canvas.colorbar(places[0].collections[0], ax=places[: len(panels)], label=label(str(figure.hue)))
            if figure.kind == "map":
                maps.name_bar(bar)
            elif isinstance(bar.norm, LogNorm):
                plain_numbers(bar.ax.yaxis)
        _finish(canvas, figure, places, across, legend)
        # Laid out here: left to savefig, every figure would be drawn twice, once for its layout alone.
        if (engine := canvas.get_layout_engine()) is not None:
            engine.execute(canvas)
            canvas.set_layout_engine("none")
        keep(canvas)


def _shared_axes(figure: Figure, data: pd.DataFrame) -> tuple[bool, bool]:
    """Whether the panels share x and y; values of different sizes have axes of their own."""
    if figure.kind in MAPS:
        return False, False
    lying = figure.kind in ("bar", "strip") and figure.x == "impl"
    apart = own_axes(figure, data)
    return not (apart and lying), lying or not apart


def _across(figure: Figure, data: pd.DataFrame, panels: int) -> int:
    """Panels beside each other: with rows and columns as many as there are columns, where these fit."""
    if figure.kind == "map":
        return maps.across(figure, data, panels)
    columns = data[figure.col].nunique() if figure.row and figure.col else 0
    if 1 < columns <= FOUR and panels % columns == 0:
        return int(columns)
    return panels if panels <= PANELS_IN_A_ROW else FOUR // 2 if panels == FOUR else PANELS_IN_A_ROW


def _panel_size(figure: Figure, data: pd.DataFrame, across: int) -> tuple[float, float]:
    """Inches of one panel: alone it is wide; lying bars and strips grow with their number."""
    if figure.kind == "map":
        return maps.panel_size(figure, data, across)
    width = {1: 9.4, 2: 4.7, FOUR: 2.7}.get(across, 3.25)
    if figure.kind in ("bar", "strip") and figure.x == "impl":
        return width, 0.9 + 0.28 * data["impl"].nunique()
    return width, 3.2 if across < PANELS_IN_A_ROW else 2.6


def _finish(canvas: Any, figure: Figure, places: Sequence[Any], across: int, legend: Mapping[str, Any]) -> None:
    for number, place in enumerate(places):
        if number % across:
            place.set_ylabel("")
        if figure.kind in MAPS and number < sum(place.get_visible() for place in places) - across:
            place.set_xlabel("")
    if len(legend) > 1 or (legend and figure.kind == "map"):
        title = None if figure.hue in (None, "impl") or figure.kind == "map" else label(str(figure.hue))
        names = [label(name) if name in (figure.hue, figure.style) else name for name in legend]
        room = int(canvas.get_figwidth() / (LEGEND_MARK + LEGEND_SIGN * max(map(len, map(str, names)))))
        columns = max(1, min(len(legend), LEGEND_COLUMNS, room))
        lines = -(-len(legend) // columns)
        canvas.set_figheight(canvas.get_figheight() + LEGEND_LINE * max(0, lines - LEGEND_LINES))
        canvas.legend(legend.values(), names, loc="outside lower center", ncols=columns, title=title)
