"""Draws a suite's figures from its frame, with seaborn, as SVG: the same frame gives the same bytes.

One colour belongs to one implementation on the whole page (``Palette``), the line style and the marker to its
backend, so that no figure depends on colour alone. What cannot be drawn is named in the caption. Text and axes take
the colour of the page (``currentColor``), so that a figure fits a light page and a dark one.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ET
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError
from attnbench.report import maps
from attnbench.report.drawing import (
    INK,
    PAPER_GRID,
    as_drawn,
    draw_axes,
    label,
    needed,
    own_axes,
    plain_numbers,
    thin_bands,
)
from attnbench.report.palette import Palette
from attnbench.results.frames import column_names
from attnbench.show import units

if TYPE_CHECKING:
    import pandas as pd

    from attnbench.suite import Figure

MAX_PANELS = 12
THIN = "The intervals of so many lines are drawn as thin bars."
FAR = "The values lie far apart: points on an axis of logarithms stand in the place of bars."
MAPS = ("heat", "map")  # their places are cells of a table, and the value is the hue
PANELS_IN_A_ROW = 3
FOUR = 4  # panels that stand two and two
SHOWN_FAILURES = 8
LEGEND_COLUMNS = 4
SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
COUNTED = re.compile(r"(figure|axes|patch|line2d|text|xtick|ytick|legend|matplotlib\.axis)_\d+")
NUMBER = re.compile(r"-?\d+\.\d+(e-?\d+)?")
FONT = "font-family:'DejaVu Sans',Verdana,Arial,sans-serif;font-size:9px"
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")  # signs of control, which no XML may hold
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


@dataclass(frozen=True)
class DrawnFigure:
    """A drawn figure: an SVG document (empty if there was nothing to draw) and the caption in full."""

    name: str
    title: str
    svg: str
    caption: str


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
        data = _data(figure, frame)
    except Exception as error:  # noqa: BLE001  (a suite's own code; the rest of the report must survive it)
        return DrawnFigure(name, figure.title, "", f"This figure could not be drawn. {type(error).__name__}: {error}")
    asked_for, figure = figure, as_drawn(figure, data.dropna(subset=[figure.y]))
    drawable, notes = _drawable(figure, data)
    notes += [FAR] if figure is not asked_for else []
    notes += _failures(frame)
    if drawable.empty:
        return DrawnFigure(name, figure.title, "", " ".join([figure.caption, "Nothing to draw.", *notes]).strip())
    notes += [THIN] if thin_bands(figure, drawable) else []
    panels, left_out = _panels(figure, needed(figure, drawable))
    failed = _placeable_failures(figure, frame)
    crosses = ["A cross at the foot is a cell without a measurement."] if len(failed) else []
    # Bars would hide the words beside the line.
    dashed = [f"Dashed: {figure.guide[2]}."] if figure.guide is not None and figure.kind == "bar" else []
    svg = _svg(figure, panels, failed, palette, name)
    return DrawnFigure(
        name, figure.title, svg, " ".join(filter(None, [figure.caption, *dashed, *crosses, *left_out, *notes]))
    )


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
        units.number(value) if name == "setting" else f"{name.removeprefix('point.')} = {units.level(value)}"
        for name, value in pairs
    )


@contextmanager
def without_noise() -> Iterator[None]:
    """Without matplotlib's warnings on names for which its font has no sign, or a figure no room: tables have them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from|constrained_layout not applied", UserWarning)
        yield


def _svg(figure: Figure, panels: Mapping[str, pd.DataFrame], failed: pd.DataFrame, palette: Palette, name: str) -> str:
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
    settings: Any = {**STYLE, "svg.hashsalt": name}
    with mpl.rc_context(settings), without_noise():
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
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None})
    return clean_svg(text.getvalue(), name, figure.title)


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
    width = {1: 7.0, 2: 4.7, FOUR: 2.7}.get(across, 3.25)
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
        columns = min(len(legend), LEGEND_COLUMNS)
        names = [label(name) if name in (figure.hue, figure.style) else name for name in legend]
        canvas.legend(legend.values(), names, loc="outside lower center", ncols=columns, title=title)


def clean_svg(svg: str, name: str, title: str) -> str:
    """An SVG that may stand in a page beside others: no prolog, no metadata, ids of its own, the page's colours.

    Matplotlib writes every group, every number in full and every style on each mark; what is left here looks the
    same, to a hundredth of a point, in a quarter of the characters.
    """
    svg = NOT_XML.sub("\ufffd", svg[svg.index("<svg") :]).replace(INK, "currentColor")
    root = ET.fromstring(svg.replace(PAPER_GRID, "rgb(128 128 128 / 35%)"))  # noqa: S314  (drawn just here)
    for below in list(root):
        if below.tag == f"{SVG}metadata":
            root.remove(below)
    for parent in root.iter():
        for style in parent.findall(f"{SVG}style"):
            parent.remove(style)
    # The ids of a figure begin with a number of its own: as long names they would be half of its text.
    _rename(root, f"f{zlib.crc32(name.encode()):08x}-")
    for element in root.iter():
        _shorten(element)
    _without_repeats(root)
    _flatten(root)
    root.attrib = {
        "role": "img",
        "aria-label": title,
        "xmlns": "http://www.w3.org/2000/svg",
        "viewBox": root.attrib["viewBox"],
        "width": root.attrib["width"],
        "height": root.attrib["height"],
        "style": f"stroke-linejoin:round;stroke-linecap:butt;{FONT}",
        "version": "1.1",
    }
    for element in root.iter():
        element.tag = element.tag.removeprefix(SVG)
    return ET.tostring(root, encoding="unicode") + "\n"


def _rename(root: ET.Element, prefix: str) -> None:
    """Ids with a prefix, short where something refers to them; those that matplotlib counts are left out otherwise."""
    text = ET.tostring(root, encoding="unicode")
    meant = set(re.findall(r'href="#([^"]+)"', text)) | set(re.findall(r"url\(#([^)]+)\)", text))
    names = {old: f"{prefix}{number}" for number, old in enumerate(sorted(meant))}
    for element in root.iter():
        if (old := element.attrib.pop("id", None)) is not None and (old in names or not COUNTED.fullmatch(old)):
            element.set("id", names.get(old, f"{prefix}{old}"))
        for key, value in list(element.attrib.items()):
            if key == f"{XLINK}href":
                del element.attrib[key]
                element.set("href", f"#{names[value[1:]]}" if value.startswith("#") else value)
            elif "url(#" in value:
                element.set(key, re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{names[found[1]]})", value))


def _shorten(element: ET.Element) -> None:
    """Numbers to a hundredth, and no space or word that says nothing."""
    if element.tag != f"{SVG}text":
        element.text = None
    for child in element:
        child.tail = None
    for key in ("d", "x", "y", "width", "height", "points", "transform"):
        if key in element.attrib:
            short = NUMBER.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), element.attrib[key])
            element.set(key, re.sub(r"\s*([MLQCzZ])\s*", r"\1", short).strip())
    if re.fullmatch(r"rotate\(-?0 [^)]*\)", element.attrib.get("transform", "")):
        del element.attrib["transform"]
    if "style" in element.attrib:
        parts = [part.strip().replace(": ", ":", 1) for part in element.attrib["style"].split(";")]
        kept = [part for part in parts if part and not part.startswith("font-family") and part not in FONT]
        element.set("style", ";".join(kept))
        if not kept:
            del element.attrib["style"]


def _flatten(parent: ET.Element) -> None:
    """No group that says nothing; a style that all marks of a group have stands once, at the group."""
    kept: list[ET.Element] = []
    for child in list(parent):
        _flatten(child)
        if child.tag != f"{SVG}g" or child.attrib:
            kept.append(child)
        else:
            kept += list(child)
    parent[:] = kept
    if parent.tag == f"{SVG}g" and len(parent) > 1:
        for key in ("style", "clip-path"):
            _raise(parent, key)


def _raise(parent: ET.Element, key: str) -> None:
    """Say once at the group what all its marks say alike; an opacity is another thing there."""
    values = {child.attrib.get(key, "") for child in parent}
    if key in parent.attrib or len(values) > 1 or re.search(r"^$|(^|;)opacity", value := values.pop()):
        return
    parent.set(key, value)
    for child in parent:
        del child.attrib[key]


def _without_repeats(root: ET.Element) -> None:
    """What a mark says though its shape says it, and the filling of a shape that is a line."""
    shapes = {element.get("id"): element for element in root.iter(f"{SVG}path") if "id" in element.attrib}
    for use in root.iter(f"{SVG}use"):
        shape = shapes.get(use.attrib.get("href", "").removeprefix("#"))
        if shape is None or "style" not in use.attrib:
            continue
        said = set(shape.attrib.get("style", "").split(";"))
        flat = re.fullmatch(r"M[^MLCQzZ]*L[^MLCQzZ]*", shape.attrib.get("d", ""))
        kept = [part for part in use.attrib["style"].split(";") if part not in said]
        use.attrib["style"] = ";".join(part for part in kept if not (flat and part.startswith("fill:")))
        if not use.attrib["style"]:
            del use.attrib["style"]
