"""The rows of a check as a notebook shows them: a table for each implementation, and every fault with its case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attnbench.interface.checks.answers import answers
from attnbench.interface.checks.blocks import blocks
from attnbench.interface.checks.covered import covered
from attnbench.interface.checks.declared import declarations, explained, is_explained
from attnbench.interface.checks.table import grid_of

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow


def described(rows: Sequence[CheckRow]) -> dict[str, Any]:
    """Faults, tables and remarks, as the template takes them."""
    wrong = [row for row in rows if row.status == "wrong"]
    texts = [*explained(wrong), *blocks([row for row in wrong if not is_explained(row)])]
    legend = "Numbers are error ratios, forward/gradient: 1.00 is the bound; · is not supported, ? not tried."
    impls = dict.fromkeys(row.impl for row in rows)
    return {
        "faults": [_fault(text) for text in texts],
        "tables": [_table(impl, [row for row in rows if row.impl == impl]) for impl in impls],
        "remarks": [*answers(rows), *covered(rows), *declarations(rows), legend],
    }


def counted(
    heads: Sequence[str], lines: Sequence[Sequence[str]], faults: Sequence[str], remarks: Sequence[str]
) -> dict[str, Any]:
    """The same of what is counted by implementation: one table."""
    from attnbench.report.tables import Table
    from attnbench.show.table import Column

    table = Table("", tuple(map(Column, heads)), tuple(map(tuple, lines)), ("",) * len(lines))
    return {"faults": [_fault(text) for text in faults], "tables": [table], "remarks": list(remarks)}


def _fault(text: str) -> dict[str, Any]:
    head, *lines = text.splitlines()
    return {"head": head, "lines": [line.strip() for line in lines]}


def _table(impl: str, rows: Sequence[CheckRow]) -> Any:
    from attnbench.report.tables import Table
    from attnbench.show.table import Column

    if all(row.dtype == "all" for row in rows):
        return Table("", (Column(impl),), ((f"{rows[0].status}: {rows[0].reason}",),), ("",))
    heads, lines = grid_of(impl, rows)
    marks = tuple("failed" if any("WRONG" in text for text in line) else "" for line in lines)
    return Table("", tuple(Column(head) for head in heads), tuple(tuple(line) for line in lines), marks)
