"""Figures as files: SVG and PDF are drawn in vectors, PNG at 200 dots per inch; the same run gives the same bytes.

All are on white, in the colours of the light page; a PDF holds its fonts.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attnbench.errors import UsageError, not_one_of
from attnbench.report.drawing import PAPER_GRID
from attnbench.report.drawn.answers import answer_figures
from attnbench.show.svg import NOT_XML

if TYPE_CHECKING:
    from attnbench.report.content import RunReport
    from attnbench.report.figures import DrawnFigure

PICTURES = ("svg", "png", "pdf")
DOTS = 200
INK, PALE = "#1b1b1b", "#c8c8c8"
LIGHT: Mapping[str, Any] = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": PALE,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": PALE,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # whole TrueType fonts inside the file
    "svg.hashsalt": "attnbench",
}
# What files say of when and by what they were made; a time would make other bytes of the same run.
METADATA: Mapping[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "attnbench"},
    "png": {"Software": "attnbench"},
    "pdf": {"CreationDate": None, "Creator": "attnbench"},
}


def chosen(run: RunReport, name: str | None, *, single: bool = False) -> list[DrawnFigure]:
    """The answers and the figures of a run, or the one of this name. Raises ``UsageError`` where there is none.

    Where a ``single`` one is asked for, as for a file, it is the only figure of the suites, whatever answers there are.
    """
    of_suites = [figure for section in run.sections for figure in section.figures]
    every = [*answer_figures(run), *of_suites]
    drawn = [figure for figure in every if figure.again is not None]
    if single and name is None and len(alone := [figure for figure in of_suites if figure.again is not None]) == 1:
        return alone
    if name is not None:
        for figure in every:
            if figure.name == name and figure.again is None:
                msg = f"the figure {name} has nothing to draw: {figure.caption}"
                raise UsageError(msg)
        names = [figure.name for figure in drawn]
        if name not in names:
            raise UsageError(not_one_of("figure", name, names) if names else f"{NO_FIGURE}, so none is called {name}")
        return [figure for figure in drawn if figure.name == name]
    if not drawn:
        msg = f"{NO_FIGURE}; its tables are in --to markdown, csv, latex and excel"
        raise UsageError(msg)
    return drawn


NO_FIGURE = "this run has no figure: nothing that could be drawn was measured"


def picture(figure: DrawnFigure, kind: str) -> bytes:
    """A figure that was drawn, as the bytes of a file."""
    file = io.BytesIO()

    def keep(canvas: Any) -> None:
        _light(canvas)
        title = {} if kind == "png" else {"Title": NOT_XML.sub("\ufffd", figure.title)}
        canvas.savefig(file, format=kind, dpi=DOTS, metadata={**METADATA[kind], **title})

    assert figure.again is not None  # noqa: S101  (a drawn figure can be drawn again)
    figure.again(LIGHT, keep)
    if kind != "svg":
        return file.getvalue()
    return NOT_XML.sub("\ufffd", file.getvalue().decode()).encode()


def _light(canvas: Any) -> None:
    """The lines between the cells of maps in the colour of paper: what the page puts into its finished SVG."""
    from matplotlib.collections import Collection
    from matplotlib.colors import to_rgba

    for part in canvas.findobj(Collection):
        edges: Sequence[Any] = part.get_edgecolor()
        if len(edges) and tuple(edges[0]) == to_rgba(PAPER_GRID):
            part.set_edgecolor(PALE)
