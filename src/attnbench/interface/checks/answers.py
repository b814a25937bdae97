"""What ``attnbench check`` says besides agreement: answers about the bits of a kernel, and how often it refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.agree.cases.by_feature import REPEATABLE
from attnbench.errors import check_known

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

REQUIRED = "required"


def asked_for(names: Sequence[str]) -> list[str]:
    """What ``--require`` names, as the rows are called. Raises ``UsageError`` for anything else."""
    check_known("requirement", names, [_typed(name) for name in REPEATABLE])
    return [name.replace("-", "_") for name in names]


def required(rows: Sequence[CheckRow], names: Sequence[str]) -> list[CheckRow]:
    """The rows, where a question of ``names`` has no yes for its answer with the status ``wrong``."""
    return [_unmet(row) if row.feature in names and _open(row) else row for row in rows]


def _open(row: CheckRow) -> bool:
    return row.status != "wrong" and row.answer != "yes"


def _unmet(row: CheckRow) -> CheckRow:
    why = row.reason or "no answer"
    return replace(row, status="wrong", fault=REQUIRED, reason=f"{_typed(row.feature)} is required: {why}")


def _typed(name: str) -> str:
    return name.replace("_", "-")


def answers(rows: Sequence[CheckRow]) -> list[str]:
    """A line for each answer that is no: where the first difference is."""
    return [
        f"{row.impl} {row.feature} {row.dtype}: no (a fault only where --require asks for it): {row.reason}\n"
        f"  case: {row.case}"
        for row in rows
        if row.answer == "no" and row.status != "wrong"
    ]


def refusals(rows: Sequence[CheckRow]) -> str:
    """How many cases the kernels themselves refused, for the last line; empty where there are none."""
    count = sum(row.refused for row in rows)
    return f"; {count} {'cases' if count > 1 else 'case'} refused by the kernel itself" if count else ""
