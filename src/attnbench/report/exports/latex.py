r"""LaTeX: tables in booktabs form that compile as they are, with \usepackage{booktabs} in the preamble.

Whatever stands in a name or a reason is text: no sign of it is a command. A sign that LaTeX has no letter for stands as
its number, such as [U+4E2D].
"""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.report.glance.spread import grid_tables, legend
from attnbench.report.tables import Table
from attnbench.show.table import Column, visible

if TYPE_CHECKING:
    from attnbench.report.content import RunReport, Section

SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "_": r"\_",
    "%": r"\%",
    "&": r"\&",
    "#": r"\#",
    "$": r"\$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\texttt{\char34}",
    "`": r"\textasciigrave{}",
    "'": r"{'}",
    "-": "{-}",  # two of them would be a dash
    "[": "{[}",  # after the end of a row it would begin an option
    "]": "{]}",
    "*": "{*}",
    "✕": r"$\times$",
    "×": r"$\times$",
    "…": r"\ldots{}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "·": r"$\cdot$",
    "±": r"$\pm$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "∞": r"$\infty$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "√": r"$\sqrt{\,}$",
    "²": "$^2$",
    "³": "$^3$",
    "→": r"$\to$",
    "\u201c": "``",
    "\u201d": "''",
    "\u2018": "`",
    "\u2019": "'",
    "\u00a0": "~",
    "\u202f": r"\,",
}
ASCII = 0x7F
FIRST, LETTERS = 0xC0, 0x17F  # Latin letters with accents are between, which every LaTeX of today knows
OGONEK = " 0328"  # ... but for this one, which the fonts that it begins with have not
MOST_LINES = 40  # of a table on one page
MOST_SIGNS = 1000  # of a cell
MOST_TABLES = 12  # that wait for a page before LaTeX gives up
LONG = 26  # a text beyond wraps
LINE_CM, LEAST_CM, GAP_CM = 12.0, 2.0, 0.2
WIDEST_CM = 14.2  # of a table that stands out into the margins
LETTER_CM, SMALL_CM = 0.15, 0.12  # of \\footnotesize and of \\scriptsize
MANY = 6  # columns beyond which letters are smaller
SPAN_CM = 1.4  # of each column that a reason spans
BLOCK = 5  # implementations beside each other in one grid


def latex(run: RunReport) -> str:
    """The answers, the claims and the tables of a run, to stand in a document or to be input by it."""
    parts = [rf"% Run {visible(run.info.run_id)}. In the preamble: \usepackage{{booktabs}}"]
    run_id = re.sub(r"[^A-Za-z0-9.-]", "-", run.info.run_id)
    tables = [part for table in _tables(run) for block in _blocks(table) for part in _pages(block)]
    for number, table in enumerate(tables, start=1):
        parts.append(_table(table, f"tab:attnbench-{run_id}-{number}"))
        if number % MOST_TABLES == 0:
            parts.append("\\clearpage")
    return "\n\n".join(parts) + "\n"


def _tables(run: RunReport) -> Iterator[Table]:
    for section in run.sections:
        yield from _answer(section)
    for section in run.sections:
        if section.claims is not None:
            yield replace(section.claims, title=f"{section.suite}: {section.claims.title}")
        for table in section.tables:
            yield replace(table, title=f"{section.suite}: {table.title}")
    yield from (table for table in (run.failures, run.absent, run.left_out) if table.rows)
    facts = {"Run": run.info.run_id, **run.conditions, "Cells": run.counts, "Command": run.command}
    rows = tuple((label, text) for label, text in facts.items() if text)
    yield Table("Conditions", (Column("what"), Column("value")), rows, ("",) * len(rows))


def _answer(section: Section) -> Iterator[Table]:
    if section.grid is None:
        return
    sentence = "" if section.advice is None else section.advice.sentence
    for number, table in enumerate(grid_tables(section.grid, BLOCK)):
        title = f"{section.suite}, continued." if number else f"{section.suite}. {sentence} {legend(section.grid)}"
        yield replace(table, title=title)


def _blocks(table: Table) -> Iterator[Table]:
    """The table in parts that fit a line: each has the columns before the first number, and some of the others."""
    numbers = [place for place, column in enumerate(table.columns) if column.right]
    room = [_room(table, place) for place in range(len(table.columns))]
    if not numbers or sum(room) <= WIDEST_CM:
        yield table
        return
    keys = list(range(numbers[0]))
    blocks: list[list[int]] = [[]]
    for place in range(numbers[0], len(table.columns)):
        if blocks[-1] and sum(room[at] for at in (*keys, *blocks[-1], place)) > WIDEST_CM:
            blocks.append([])
        blocks[-1].append(place)
    for number, block in enumerate(blocks, start=1):
        kept = [*keys, *block]
        title = table.title if len(blocks) == 1 else f"{table.title} (columns, part {number} of {len(blocks)})"
        rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
        yield replace(table, title=title, columns=tuple(table.columns[place] for place in kept), rows=rows)


def _room(table: Table, place: int) -> float:
    """The width in cm of a column and the gap beside it; of a text that wraps the least."""
    column = table.columns[place]
    longest = max(len(text) for text in (column.name, *(row[place] for row in table.rows)))
    return GAP_CM + (LEAST_CM if longest > LONG and not column.right else longest * _letter(table))


def _pages(table: Table) -> Iterator[Table]:
    """The table in parts that fit a page."""
    starts, lines = [0], 0
    for number, high in enumerate(_lines(table)):
        if lines and lines + high > MOST_LINES:
            starts.append(number)
            lines = 0
        lines += high
    for number, (start, end) in enumerate(itertools.pairwise([*starts, len(table.rows)]), start=1):
        title = table.title if len(starts) == 1 else f"{table.title} (part {number} of {len(starts)})"
        yield replace(table, title=title, rows=table.rows[start:end], marks=table.marks[start:end])


def _lines(table: Table) -> Iterator[int]:
    """How many lines each row takes, at the most."""
    widths, letter = _widths(table), _letter(table)
    for number in range(len(table.rows)):
        high, place = 1, 0
        for text, span, _ in table.cells(number):
            width = span * SPAN_CM if span > 1 else widths[place]
            if width is not None:
                # A word that has no room moves down whole, so that lines are not full.
                high = max(high, math.ceil(1.3 * len(text) * letter / width))
            place += span
        yield high


def _letter(table: Table) -> float:
    return SMALL_CM if len(table.heads()) > MANY else LETTER_CM


def _table(table: Table, label: str) -> str:
    heads = table.heads()
    widths = _widths(table)
    layout = "".join(_column(column, width) for column, width in zip(heads, widths, strict=True))
    rows = [_row(table.cells(number), widths) for number in range(len(table.rows))]
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            rf"\centering\{'scriptsize' if len(heads) > MANY else 'footnotesize'}\setlength{{\tabcolsep}}{{3pt}}",
            rf"\caption{{{escaped(table.title)}}}",
            rf"\label{{{label}}}",
            rf"\begin{{tabular}}{{@{{}}{layout}@{{}}}}",
            r"\toprule",
            " & ".join(escaped(column.name) for column in heads) + r" \tabularnewline",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _widths(table: Table) -> list[float | None]:
    """The width in cm of each column that wraps; ``None`` for those that are as wide as their texts."""
    heads = table.heads()
    longest = [len(column.name) for column in heads]
    for number in range(len(table.rows)):
        place = 0
        for text, span, _ in table.cells(number):
            if span == 1:
                longest[place] = max(longest[place], len(text))
            place += span
    wraps = [not column.right and length > LONG for column, length in zip(heads, longest, strict=True)]
    letter = _letter(table)
    taken = GAP_CM * len(heads) + sum(length * letter for length, wide in zip(longest, wraps, strict=True) if not wide)
    room = max((LINE_CM - taken) / max(sum(wraps), 1), LEAST_CM)
    return [room if wide else None for wide in wraps]


def _column(column: Column, width: float | None) -> str:
    if width is not None:
        return f"p{{{width:.1f}cm}}"
    return "r" if column.right else "l"


def _row(cells: Sequence[tuple[str, int, bool]], widths: Sequence[float | None]) -> str:
    parts, place = [], 0
    for text, span, _ in cells:
        if span > 1:
            parts.append(rf"\multicolumn{{{span}}}{{p{{{span * SPAN_CM:.1f}cm}}}}{{\raggedright {escaped(text)}}}")
        else:
            ragged = r"\raggedright " if widths[place] is not None else ""
            parts.append(ragged + escaped(text))
        place += span
    return " & ".join(parts) + r" \tabularnewline"


def escaped(text: str) -> str:
    """Text with nothing in it that LaTeX takes for more than text; what no page could hold says that it was cut."""
    line = visible(" ".join(text.split()))
    if len(line) > MOST_SIGNS:
        line = f"{line[:MOST_SIGNS]} … ({len(line):,} characters; all of them are in --to markdown)"
    return "".join(map(_sign, line))


def _sign(sign: str) -> str:
    if sign in SIGNS:
        return SIGNS[sign]
    parts = unicodedata.decomposition(sign)
    accented = FIRST <= ord(sign) <= LETTERS and parts and not parts.startswith("<") and not parts.endswith(OGONEK)
    if ord(sign) <= ASCII or accented:
        return sign
    return f"{{[}}U+{ord(sign):04X}{{]}}"
