"""The grid as plain tables: for text, Markdown and papers, in blocks of columns where all of them have no room."""

from __future__ import annotations

from collections.abc import Iterator

from attnbench.report.glance.grid import ABSENT, FAILED, NOT_RUN, TIED, AnswerGrid, GridCell
from attnbench.report.tables import Table
from attnbench.show.table import Column

LEGEND = {
    TIED: "? not told from the fastest",
    FAILED: "✕ failed",
    ABSENT: "– not supported",
    NOT_RUN: "… not reached",
}


def grid_text(cell: GridCell) -> str:
    """What a cell says: its ratio, with ``?`` where it is not told from the fastest, or its mark."""
    return f"{cell.text}?" if cell.kind == TIED and cell.within else cell.text


def legend(grid: AnswerGrid) -> str:
    """What the numbers and the marks of a grid mean, as far as it has them."""
    marks = [text for kind, text in LEGEND.items() if kind in grid.kinds]
    return "; ".join(["1.00 is the fastest of its case, and 1.50 takes 1.5 times as long", *marks]) + "."


def grid_tables(grid: AnswerGrid, most: int | None = None) -> Iterator[Table]:
    """The grid in tables of at most ``most`` implementations, each with the cases and the time of the fastest."""
    step = max(most or len(grid.impls), 1)
    for start in range(0, len(grid.impls), step):
        impls = grid.impls[start : start + step]
        columns = (Column("case"), Column("fastest", right=True), *(Column(impl, right=True) for impl in impls))
        rows = tuple(
            (row.name, row.fastest, *(grid_text(cell) for cell in row.cells[start : start + step])) for row in grid.rows
        )
        yield Table("Times over the fastest of each case", columns, rows, ("",) * len(rows))
