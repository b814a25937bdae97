"""The tables of a report as text: what has no room is left out by its rank, and reasons never are."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence

from attnbench.report.tables import Table
from attnbench.show.console import screen
from attnbench.show.table import Screen, draw, fitting, too_narrow, visible


def render(table: Table, place: Screen | None = None) -> str:
    """The table as text for a screen (standard output if not given).

    A column without any text is not drawn. Where the others have no room, columns are left out by rank; a note says
    which. Reasons are never left out: they go below the table. Columns of rank 0 always stay, whatever the width.
    """
    # In a pipe lines have no end, unless the variable COLUMNS says otherwise.
    place = place or screen(shutil.get_terminal_size((0, 24)).columns or None)
    filled = [i for i, _ in enumerate(table.columns) if any(row[i] for row in table.rows) or not table.rows]
    columns, rows = [table.columns[i] for i in filled], [[row[i] for i in filled] for row in table.rows]
    kept = fitting(columns, rows, place)
    shown = [[row[i] for i in kept] for row in rows]
    lines = [draw([columns[i] for i in kept], shown, place, table.marks, visible(table.title))]
    dropped = [column.name for i, column in enumerate(columns) if i not in kept]
    if "reason" in dropped:
        dropped.remove("reason")
        lines += _reasons(table, place.width)
    return "\n".join([*lines, *too_narrow(dropped, place)])


def render_all(tables: Sequence[Table]) -> str:
    """Tables for standard output, a blank line after each."""
    return "\n\n".join(map(render, tables)) + "\n"


def _reasons(table: Table, width: int | None) -> list[str]:
    """The reasons of the rows below the table, each after the first cell of its row."""
    at = [column.name for column in table.columns].index("reason")
    texts = [f"{row[0]}: {row[at]}" for row in table.rows if row[at]]
    if width is None:
        return texts
    return [line for text in texts for line in textwrap.wrap(text, width, subsequent_indent="    ")]
