"""Tables on a terminal: aligned plain text that fits its width, coloured only where colour is wanted."""

from __future__ import annotations

import os
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TextIO

from attnbench.report.tables import Table

GAP = "  "
SHORTEST = 16
COLOURS = {"best": "\x1b[32m", "failed": "\x1b[33m", "absent": "\x1b[2m"}
BOLD, RESET = "\x1b[1m", "\x1b[0m"


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to ``stream``: a terminal, and neither NO_COLOR nor a dumb one."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def render(table: Table, width: int | None = None, *, colour: bool = False) -> str:
    """The table as text of at most ``width`` columns (the terminal's if not given).

    Where it does not fit, the last column is cut, then columns are left out by rank; a note says which. Reasons are
    never left out: they go below the table. Columns of rank 0 always stay, whatever the width.
    """
    width = width or shutil.get_terminal_size((100, 24)).columns
    filled = [i for i, _ in enumerate(table.columns) if any(row[i] for row in table.rows) or not table.rows]
    kept = _fitting(table, filled, width)
    widths = {i: _natural(table, i) for i in kept}
    over = sum(widths.values()) + len(GAP) * (len(kept) - 1) - width
    if over > 0 and not table.columns[kept[-1]].right:
        widths[kept[-1]] = max(widths[kept[-1]] - over, SHORTEST)
    lines = textwrap.wrap(table.title, width, subsequent_indent="  ")
    lines = [_painted(line, BOLD if colour else "") for line in lines]
    heads = [column.name for column in table.columns]
    lines.append(_line(table, heads, kept, widths))
    lines.append(_line(table, ["─" * widths.get(i, 0) for i in range(len(heads))], kept, widths))
    for row, mark in zip(table.rows, table.marks, strict=True):
        lines.append(_painted(_line(table, row, kept, widths), COLOURS.get(mark, "") if colour else ""))
    dropped = [heads[i] for i in filled if i not in kept]
    if "reason" in dropped:
        dropped.remove("reason")
        lines += _reasons(table, width)
    if dropped:
        lines += textwrap.wrap(f"(too narrow for: {', '.join(dropped)})", width)
    return "\n".join(lines)


def _reasons(table: Table, width: int) -> list[str]:
    """The reasons of the rows below the table, each after the first cell of its row."""
    at = [column.name for column in table.columns].index("reason")
    lines = []
    for row in table.rows:
        if row[at]:
            lines += textwrap.wrap(f"{row[0]}: {row[at]}", width, subsequent_indent="    ")
    return lines


def _fitting(table: Table, columns: Sequence[int], width: int) -> list[int]:
    kept = list(columns)
    while len(kept) > 1 and _least(table, kept) > width:
        ranked = max(kept, key=lambda i: (table.columns[i].rank, i))
        if table.columns[ranked].rank == 0:
            break
        kept.remove(ranked)
    return kept


def _least(table: Table, kept: Sequence[int]) -> int:
    """The width that these columns need when the last one, if it is text, is cut as short as it may be."""
    widths = [_natural(table, i) for i in kept]
    if not table.columns[kept[-1]].right:
        widths[-1] = min(widths[-1], SHORTEST)
    return sum(widths) + len(GAP) * (len(kept) - 1)


def _natural(table: Table, i: int) -> int:
    return max(_cells(table.columns[i].name), *(_cells(row[i]) for row in table.rows), 0)


def _line(table: Table, texts: Sequence[str], kept: Sequence[int], widths: dict[int, int]) -> str:
    parts = []
    for i in kept:
        text = _cut(texts[i], widths[i])
        fill = " " * (widths[i] - _cells(text))
        parts.append(fill + text if table.columns[i].right else text + fill)
    return GAP.join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    if _cells(text) <= width:
        return text
    while text and _cells(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def _cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def _painted(line: str, code: str) -> str:
    return f"{code}{line}{RESET}" if code else line
