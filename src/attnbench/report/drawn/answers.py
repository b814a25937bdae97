"""The answers of a page as pictures for files: the grid of its first screen, and the forest of its claims.

They are drawn from what the page shows (``glance``), in the colours of the light page.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from attnbench.analysis.claims import CONTRADICTED, DIRECTION_ONLY, REPRODUCED
from attnbench.report.drawing import PAPER_GRID
from attnbench.report.figures import STYLE, DrawnFigure, Keeper, without_noise
from attnbench.report.glance.forest import LEFT, RIGHT, ForestLine, ForestMark, clipped
from attnbench.report.glance.grid import TIED, AnswerGrid
from attnbench.report.glance.spread import grid_text, legend
from attnbench.show.svg import NOT_XML

if TYPE_CHECKING:
    from attnbench.report.content import RunReport, Section

# The steps of a ratio as page.css has them on white.
STEPS = ("#08519c", "#2f78b7", "#86b8e0", "#aecfe9", "#cde1f2", "#e2edf7", "#f2f6fa")
BAND, OTHER, DASHED = "#cfe8da", "#566070", "#566070"
COLOURS = {REPRODUCED: "#0a6b3b", CONTRADICTED: "#a4480a", DIRECTION_ONLY: "#6b5500"}
MANY = 12  # implementations whose names stand upright
# Inches of a column, of a row, of a sign of a name, of a line of text, and of the drawing of an interval.
COLUMN, ROW, SIGN, LINE, SCALE = 0.76, 0.36, 0.075, 0.16, 2.4
SIGNS_OF_CASE, SIGNS_OF_CLAIM = 44, 62  # on a line


def answer_figures(run: RunReport) -> list[DrawnFigure]:
    """The grid of each suite and the claims of the run, as far as there are any; they are drawn when they are kept."""
    taken = {figure.name for section in run.sections for figure in section.figures}
    made = [_of_grid(section, section.grid, taken) for section in run.sections if section.grid is not None]
    if run.forest:
        title = f"{run.claims[:1].upper()}{run.claims[1:]}, held against our intervals (95 %)"
        made.append(_figure("claims", title, partial(_draw_forest, run.forest, title), taken))
    return made


def _of_grid(section: Section, grid: AnswerGrid, taken: set[str]) -> DrawnFigure:
    said = "" if section.advice is None else section.advice.sentence
    title = f"Time over the fastest of each case: {section.suite}"
    return _figure(f"{section.suite}-grid", title, partial(_draw_grid, grid, f"{title}\n{said}".strip()), taken)


def _figure(name: str, title: str, again: Any, taken: set[str]) -> DrawnFigure:
    while name in taken:  # a suite may have a figure of this name
        name += "-answer"
    taken.add(name)
    return DrawnFigure(name, title, "", title, again)


def _draw_grid(grid: AnswerGrid, title: str, settings: Mapping[str, Any], keep: Keeper) -> None:
    """A row for each case, a column for each implementation, coloured as on the page."""
    import numpy as np
    import seaborn as sns
    from matplotlib.colors import BoundaryNorm, ListedColormap

    names = [_lines(f"{row.name} · {row.fastest}", SIGNS_OF_CASE) for row in grid.rows]
    width = COLUMN * len(grid.impls) + SIGN * max(len(line) for name in names for line in name.split("\n")) + 0.4
    upright = len(grid.impls) > MANY
    heads = [_held(impl if upright else _head(impl)) for impl in grid.impls]
    above = SIGN * max(map(len, heads)) if upright else LINE * max(head.count("\n") for head in heads)
    with _canvas(settings, max(width, 6.0), ROW * len(names) + above + 1.7) as canvas:
        place = canvas.subplots()
        steps = np.array([[np.nan if cell.ratio is None else cell.step for cell in row.cells] for row in grid.rows])
        colours = ListedColormap(STEPS)
        norm = BoundaryNorm(np.arange(len(STEPS) + 1) - 0.5, len(STEPS))
        ends = {"vmin": 0, "vmax": len(STEPS) - 1}  # given, so that none is looked for where nothing has a time
        lines: Any = {"linewidths": 0.5, "linecolor": PAPER_GRID}
        sns.heatmap(steps, ax=place, cmap=colours, norm=norm, cbar=False, **lines, **ends)
        for y, x in itertools.product(range(len(grid.rows)), range(len(grid.impls))):
            cell = grid.rows[y].cells[x]
            dark = cell.ratio is not None and cell.step <= 1
            ink = {"color": "#ffffff"} if dark else {}
            within = f"\n{cell.within}" if cell.kind == TIED and cell.within else ""
            size = 6.5 if within else 9
            text = _held(f"{grid_text(cell)}{within}")
            place.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=size, **ink)
        place.set_xticks([x + 0.5 for x in range(len(heads))], labels=heads, rotation=90 if upright else 0)
        place.set_yticks([y + 0.5 for y in range(len(names))], labels=[_held(name) for name in names], rotation=0)
        place.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
        place.tick_params(axis="x", labelsize=8)
        place.grid(visible=False)
        signs = int(canvas.get_figwidth() / SIGN)
        canvas.suptitle(_held(_lines(title, signs)), fontsize=10)
        canvas.supxlabel(_held(_lines(_below(grid), signs)), fontsize=8)
        keep(canvas)


def _below(grid: AnswerGrid) -> str:
    """What the signs mean, and who is not there."""
    absent = f" Of no case: {', '.join(grid.absent)}." if grid.absent else ""
    return f"Beside each case stands the time of its fastest. {legend(grid)}{absent}"


def _head(impl: str) -> str:
    """A name on two lines, and on more where it is long."""
    return "\n".join(part for name in impl.split("/", 1) for part in textwrap.wrap(name, 11) or [""])


def _draw_forest(
    drawn: Mapping[str, Sequence[ForestLine]], title: str, settings: Mapping[str, Any], keep: Keeper
) -> None:
    """The claims below each other with their intervals, those that did not hold first."""
    rows = list(_rows(drawn))
    high = sum(room for room, *_ in rows)
    with _canvas(settings, SIGN * SIGNS_OF_CLAIM + SCALE + 3.6, high + 1.0) as canvas:
        place = canvas.subplots()
        place.set_xlim(LEFT - 0.15, RIGHT + 0.15)
        place.set_ylim(high, 0)
        at, ours = [], []
        top = 0.0
        for room, text, line in rows:
            at.append((top + room / 2, text))
            if line is not None:
                ours.append((top + room / 2, _lines(_found(line), 40)))
                _draw_line(place, line, top, room)
            top += room
        place.axvline(0.0, color=DASHED, linestyle=(0, (2, 2)), linewidth=1, zorder=1)
        place.set_yticks([y for y, _ in at], labels=[_held(text) for _, text in at], ha="left")
        place.tick_params(axis="y", pad=SIGN * SIGNS_OF_CLAIM * 72, length=0)
        for label, (_, _, line) in zip(place.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if line is None else "normal")
        right = place.secondary_yaxis("right")
        right.set_yticks([y for y, _ in ours], labels=[_held(text) for _, text in ours])
        right.tick_params(length=0)
        right.spines["right"].set_visible(False)
        place.spines[["left", "bottom"]].set_visible(False)
        place.set_xticks([0.0], labels=["no effect"])
        place.grid(visible=False)
        canvas.suptitle(_held(title), fontsize=10)
        said = "The band is what counts as reproduced, fixed before measuring. Every claim has a scale of its own."
        canvas.supxlabel(f"{said}\nAn interval with an arrow goes on beyond the drawing.", fontsize=8)
        keep(canvas)


def _rows(drawn: Mapping[str, Sequence[ForestLine]]) -> Iterator[tuple[float, str, ForestLine | None]]:
    """Each row with its height in inches and its text: the verdicts as heads, each with its claims below it."""
    for verdict, lines in drawn.items():
        yield 1.9 * LINE, f"{verdict[:1].upper()}{verdict[1:]}", None
        for line in lines:
            text = _lines(f"{line.claim} ({line.suite})", SIGNS_OF_CLAIM)
            yield LINE * (max(text.count("\n") + 1, len(line.marks) * 0.8) + 0.8), text, line


def _found(line: ForestLine) -> str:
    more = f" and {len(line.marks) - 1} more" if len(line.marks) > 1 else ""
    return f"{line.marks[0].text}{more}, {line.counted}"


def _draw_line(place: Any, line: ForestLine, top: float, room: float) -> None:
    if line.within is not None:
        low, high = line.within
        place.fill_between([low, high], top + 0.03, top + room - 0.03, color=BAND, linewidth=0, zorder=0)
    step = room / (len(line.marks) + 1)
    for number, mark in enumerate(line.marks, start=1):
        if mark.middle is not None:
            _draw_mark(place, mark, mark.middle, top + number * step)


def _draw_mark(place: Any, mark: ForestMark, middle: float, y: float) -> None:
    colour = COLOURS.get(mark.verdict, OTHER)
    low, high = clipped(mark.low), clipped(mark.high)
    place.hlines(y, low, high, color=colour, linewidth=1.4)
    for end, beyond, sign in ((LEFT, mark.low < LEFT, "<"), (RIGHT, mark.high > RIGHT, ">")):
        if beyond:
            place.plot([end], [y], sign, color=colour, markersize=4.5)
    if LEFT <= middle <= RIGHT:
        place.plot([middle], [y], "o", color=colour, markersize=4)


def _lines(text: str, signs: int) -> str:
    parts = text.split("\n")
    return "\n".join("\n".join(textwrap.wrap(part, max(signs, 12))) for part in parts)


def _held(text: str) -> str:
    """Without the signs that no font and no file can hold."""
    return NOT_XML.sub("\ufffd", text)


@contextmanager
def _canvas(settings: Mapping[str, Any], width: float, height: float) -> Iterator[Any]:
    """An empty canvas of this size in inches, in the style of the page."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas

    style: Any = {**STYLE, **settings}
    with mpl.rc_context(style), without_noise():
        canvas = Canvas(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(canvas)
        yield canvas
