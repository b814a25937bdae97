"""``attnbench check --junit FILE``: the rows as JUnit XML, one test case each, as continuous integration reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnbench.checking.lost import LOST
from attnbench.interface.checks.declared import besides, is_explained, to_add
from attnbench.show import junit

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

NOT_EXAMINED = "unknown: not examined, since the time for that was spent on others; `again` examines it by itself"
SKIPPED = ("unsupported", "untried")


def write_junit(rows: Sequence[CheckRow], file: Path) -> None:
    """Write the rows to ``file``: a suite for each implementation. Raises ``UsageError`` if it cannot be written."""
    impls = dict.fromkeys(row.impl for row in rows)
    suites = [junit.TestSuite(impl, [_case(row) for row in rows if row.impl == impl]) for impl in impls]
    junit.write(file, "attnbench check", suites)


def _case(row: CheckRow) -> junit.TestCase:
    name = f"{row.feature} {row.dtype}" + ("" if row.device == "cpu" else f" {row.device}")
    if row.status in SKIPPED:
        return junit.TestCase(row.impl, name, "skipped", row.reason or "not supported")
    if row.status == "wrong":
        return junit.TestCase(
            row.impl, name, "failure", row.reason or "", "\n".join(details(row)), row.fault or "value"
        )
    return junit.TestCase(row.impl, name, text="\n".join(_remarks(row)))


def _remarks(row: CheckRow) -> list[str]:
    """What a row that does not disagree has to say: why it is known, and which of its cases are not supported."""
    known = [f"{row.status}: {row.reason}"] if row.reason else []
    left_out = (row.left_out or {}).items()
    return known + [f"{count} of {row.asked} cases not supported: {reason}" for reason, count in left_out]


def details(row: CheckRow) -> list[str]:
    """The case, the diagnosis, the smallest case and the command of a disagreement, one line each."""
    lines = [f"case: {row.case}"] if row.case else []
    if row.diagnosis:
        lines.append(f"diagnosis: {row.diagnosis['kind']}: {row.diagnosis['evidence']}")
    elif row.failing and row.fault not in LOST:
        lines.append(f"diagnosis: {NOT_EXAMINED}")
    lines += [to_add(row)] if is_explained(row) else besides(row)
    if row.smallest_case:
        lines.append(f"smallest case: {', then '.join(row.smallest_case)}")
    lines += [f"condition: {row.condition}"] if row.condition else []
    lines += [f"again: {row.again}"] if row.again else []
    return lines
