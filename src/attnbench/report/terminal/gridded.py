"""A grid as text: in blocks of columns where the screen has no room for all, and never cut.

Colour says nothing that the text does not: the fastest is 1.00, ``?`` is not told from it, marks are explained below.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from attnbench.report.glance.grid import ABSENT, FAILED, FASTEST, NOT_RUN, TIED, AnswerGrid
from attnbench.report.glance.spread import grid_text, legend
from attnbench.show.table import COLOURS, GAP, Screen, cells, visible

MARKS = {FASTEST: "best", TIED: "best", FAILED: "failed", ABSENT: "absent", NOT_RUN: "absent"}
CODES = {"green": "\x1b[32m", "yellow": "\x1b[33m", "dim": "\x1b[2m"}
PLAIN = "\x1b[0m"
HEAD = 9  # a name is broken at its dashes into lines no longer than this, where that can be
LONGEST = 16  # a part of a name that has no dash is broken after so many signs
SHORTEST = 12  # columns that the names of cases have at least
PIECES = re.compile(r"[^-_/.]*[-_/.]?")


@dataclass(frozen=True)
class TextColumn:
    """A column: the lines of its head, its texts, a colour for each, whether it stands at the right."""

    head: tuple[str, ...]
    texts: tuple[str, ...]
    codes: tuple[str, ...]
    right: bool = True

    @property
    def width(self) -> int:
        """The columns of the screen that it takes."""
        return max(map(cells, (*self.head, *self.texts, "-")))


def grid_lines(grid: AnswerGrid, screen: Screen) -> Iterator[str]:
    """The grid in as many blocks as the width asks for, a blank line between them, and its legend."""
    impls = [_impl(grid, place, screen) for place in range(len(grid.impls))]
    names, fastest = _cases(grid, impls, screen)
    for number, block in enumerate(_blocks(impls, names, fastest, screen.width)):
        if number:
            yield ""
        yield from _block(names, [fastest, *block])
    yield ""
    yield from wrapped(legend(grid), screen.width)
    if grid.absent:
        yield from wrapped(f"Supported in none of these cases: {', '.join(map(visible, grid.absent))}.", screen.width)


def wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    """A sentence in lines that fit; one line where there is no width."""
    if width is None:
        return [text]
    return textwrap.wrap(text, max(width, 1), subsequent_indent=indent, break_on_hyphens=False)


def _impl(grid: AnswerGrid, place: int, screen: Screen) -> TextColumn:
    in_rows = [row.cells[place] for row in grid.rows]
    codes = tuple(CODES[COLOURS[MARKS[cell.kind]]] if screen.colour and cell.kind in MARKS else "" for cell in in_rows)
    name = visible(grid.impls[place])
    head = (name,) if screen.width is None else tuple(_broken(name))
    return TextColumn(head, tuple(grid_text(cell) for cell in in_rows), codes)


def _broken(name: str) -> list[str]:
    """A name in lines, broken after its library and then at dashes."""
    library, slash, variant = name.partition("/")
    lines = [library + slash] if slash else []
    line = ""
    words = PIECES.findall(variant if slash else name)
    for piece in (word[at : at + LONGEST] for word in words for at in range(0, len(word), LONGEST)):
        if line and cells(line + piece) > HEAD:
            lines.append(line)
            line = ""
        line += piece
    return [*lines, *filter(None, [line])]


def _cases(grid: AnswerGrid, impls: Sequence[TextColumn], screen: Screen) -> tuple[list[list[str]], TextColumn]:
    """The name of each case in lines, and the times of the fastest."""
    fastest = TextColumn(("fastest",), tuple(row.fastest for row in grid.rows), ("",) * len(grid.rows))
    texts = [visible(row.name) for row in grid.rows]
    if screen.width is None:
        return [[text] for text in texts], fastest
    widest = max((column.width for column in impls), default=1)
    room = max(min(screen.width // 3, screen.width - fastest.width - widest - 2 * len(GAP)), SHORTEST)
    return [textwrap.wrap(text, room, break_on_hyphens=False) or [""] for text in texts], fastest


def _blocks(
    impls: Sequence[TextColumn], names: Sequence[Sequence[str]], fastest: TextColumn, width: int | None
) -> Iterator[list[TextColumn]]:
    block: list[TextColumn] = []
    start = _names_width(names) + len(GAP) + fastest.width
    taken = start
    for column in impls:
        if block and width is not None and taken + len(GAP) + column.width > width:
            yield block
            block, taken = [], start
        block.append(column)
        taken += len(GAP) + column.width
    yield block


def _names_width(names: Sequence[Sequence[str]]) -> int:
    return max(map(cells, ("case", *(line for lines in names for line in lines))))


def _block(names: Sequence[Sequence[str]], columns: Sequence[TextColumn]) -> Iterator[str]:
    width, high = _names_width(names), max(len(column.head) for column in columns)
    for line in range(high):
        # Heads stand on the rule, the last line of each at the bottom.
        heads = [_placed(_at(column.head, line - high + len(column.head)), column) for column in columns]
        yield GAP.join([_filled("case" if line == high - 1 else "", width), *heads]).rstrip()
    yield GAP.join("─" * wide for wide in (width, *(column.width for column in columns)))
    for row, lines in enumerate(names):
        numbers = [_placed(column.texts[row], column, column.codes[row]) for column in columns]
        yield GAP.join([_filled(lines[0], width), *numbers]).rstrip()
        yield from lines[1:]


def _at(lines: Sequence[str], place: int) -> str:
    return lines[place] if 0 <= place < len(lines) else ""


def _filled(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def _placed(text: str, column: TextColumn, code: str = "") -> str:
    return " " * (column.width - cells(text)) + (f"{code}{text}{PLAIN}" if code and text else text)
