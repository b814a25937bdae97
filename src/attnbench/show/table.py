"""Tables as text: wrapped inside their columns on a terminal, and one row a line where another program reads."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

GAP = "  "
SHORTEST = 16  # what is left of the last column where a row has to stay one line
READABLE = 24  # a text that may be left out is left out rather than wrapped in fewer columns than this
COLOURS = {"best": "green", "failed": "yellow", "absent": "dim"}
# Signs of control, of which a terminal makes colours or moves; others end a line, or turn the direction of a text.
COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
BLANKS_AT_THE_END = re.compile(r" +((?:\x1b\[0m)?)$")


@dataclass(frozen=True)
class Column:
    """A column: its head, whether it is a number (right-aligned), and its rank (0 is never left out)."""

    name: str
    right: bool = False
    rank: int = 0


@dataclass(frozen=True)
class Screen:
    """What a table is drawn on: its width (``None``: without end), whether text wraps there, whether it has colours."""

    width: int | None = None
    wraps: bool = False
    colour: bool = False


def visible(text: str) -> str:
    r"""Text in one line, whatever stands in it: a line break is ``\n``, and what would command a terminal ``\x1b``."""
    return COMMANDS.sub(lambda sign: sign[0].encode("unicode_escape").decode("ascii"), text)


def _all_visible(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[visible(text) for text in row] for row in rows]


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], screen: Screen) -> list[int]:
    """The numbers of the columns that the screen has room for: those of the highest rank are left out first."""
    rows = _all_visible(rows)
    kept = list(range(len(columns)))
    if screen.width is None:
        return kept
    while len(kept) > 1 and _together(_least(columns, rows, kept, screen)) > screen.width:
        first_to_go = max(kept, key=lambda i: (columns[i].rank, i))
        if columns[first_to_go].rank == 0:
            break
        kept.remove(first_to_go)
    return kept


def too_narrow(names: Sequence[str], screen: Screen) -> list[str]:
    """The lines that say which columns were left out; none where none was."""
    return textwrap.wrap(f"(too narrow for: {', '.join(names)})", screen.width or 80) if names else []


def draw(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    screen: Screen,
    marks: Sequence[str] = (),
    title: str = "",
) -> str:
    """The table as text. ``marks`` has a word for each row: ``best``, ``failed``, ``absent`` or none."""
    rows, marks = _all_visible(rows), marks or [""] * len(rows)
    if screen.wraps and screen.width is not None:
        return _wrapped(columns, rows, screen, marks, title)
    return "\n".join([*_titled(title, screen.width), *_plain(columns, rows, screen.width)])


def _titled(title: str, width: int | None) -> list[str]:
    if not title or width is None:
        return [title] if title else []
    return textwrap.wrap(title, width, subsequent_indent="  ")


def _together(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _least(columns: Sequence[Column], rows: Sequence[Sequence[str]], kept: Sequence[int], screen: Screen) -> list[int]:
    """The width that each of these columns needs: without a word cut in two, or, as a line, with its last text cut."""
    if screen.wraps:
        return [_readable(columns[i], [row[i] for row in rows]) for i in kept]
    widths = [_natural(columns[i], [row[i] for row in rows]) for i in kept]
    if not columns[kept[-1]].right:
        widths[-1] = min(widths[-1], SHORTEST)
    return widths


def _natural(column: Column, texts: Sequence[str]) -> int:
    return max(map(cells, ("-", column.name, *texts)))


def _narrowest(column: Column, texts: Sequence[str]) -> int:
    """The longest word of a column; numbers and their units stay in one line."""
    words = column.name.split() + ([*texts] if column.right else [word for text in texts for word in text.split()])
    return max(map(cells, ("-", *words)))


def _readable(column: Column, texts: Sequence[str]) -> int:
    """The same, and more for a text that may be left out."""
    least = _narrowest(column, texts)
    return max(least, min(_natural(column, texts), READABLE)) if column.rank and not column.right else least


def _shared(least: Sequence[int], most: Sequence[int], room: int) -> list[int]:
    """Widths from ``least`` to ``most`` that fill the room: the widest columns give way first.

    Where there is no room for ``least``, the widest fall below it, to one column at the least.
    """
    if not most:
        return []
    if sum(least) > room:
        least, most = [1] * len(least), least
    for level in range(max(most), 0, -1):
        widths = [min(high, max(low, level)) for low, high in zip(least, most, strict=True)]
        if sum(widths) <= room:
            return widths
    return [1] * len(most)


def _wrapped(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], screen: Screen, marks: Sequence[str], title: str
) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    assert screen.width is not None  # noqa: S101  (asked by draw)
    texts = [[row[i] for row in rows] for i in range(len(columns))]
    least, most = (list(map(width, columns, texts)) for width in (_narrowest, _natural))
    widths = _shared(least, most, screen.width - len(GAP) * (len(columns) - 1))
    grid = Table(box=None, padding=0, pad_edge=False, collapse_padding=True, header_style="")
    for i, (column, width) in enumerate(zip(columns, widths, strict=True)):
        if i:
            grid.add_column(width=len(GAP))  # a gap by ``padding`` is counted otherwise in older versions
        grid.add_column(Text(column.name), width=width, justify="right" if column.right else "left", overflow="fold")
    grid.add_row(*_apart("─" * width for width in widths))
    for row, mark in zip(rows, marks, strict=True):
        grid.add_row(*_apart(Text(text, COLOURS.get(mark, "")) for text in row))
    colours: Literal["standard"] | None = "standard" if screen.colour else None
    # The height is given because a dumb terminal would be taken for one of 80 columns otherwise.
    width = max(screen.width, _together(widths))
    console = Console(width=width, height=25, color_system=colours, force_terminal=screen.colour, no_color=False)
    with console.capture() as capture:
        for line in _titled(title, screen.width):
            console.print(Text(line, "bold"))
        console.print(grid)
    return "\n".join(BLANKS_AT_THE_END.sub(r"\1", line) for line in capture.get().splitlines())


def _apart(texts: Iterable[Any]) -> list[Any]:
    """The texts of a row with nothing in the gaps between them."""
    return [part for text in texts for part in ("", text)][1:]


def _plain(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """A line for each row; where these are too wide, the last text of each is cut."""
    widths = [_natural(column, [row[i] for row in rows]) for i, column in enumerate(columns)]
    over = 0 if width is None else _together(widths) - width
    if over > 0 and not columns[-1].right:
        widths[-1] = max(widths[-1] - over, SHORTEST)
    heads, rule = [column.name for column in columns], ["─" * width for width in widths]
    return [_line(columns, texts, widths) for texts in (heads, rule, *rows)]


def _line(columns: Sequence[Column], texts: Sequence[str], widths: Sequence[int]) -> str:
    parts = []
    for column, text, width in zip(columns, texts, widths, strict=True):
        shown = _cut(text, width)
        fill = " " * (width - cells(shown))
        parts.append(fill + shown if column.right else shown + fill)
    return GAP.join(parts).rstrip()


def _cut(text: str, width: int) -> str:
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def cells(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )
