"""What a precheck found, as text: a table of machine code, a table of the rest, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from attnbench.precheck.rows import KernelRow, PartRow, Prechecked, PrecheckRow
from attnbench.show.console import table

ABSENT = "–"
SAID = {"ok": "ok", "wrong": "WRONG", "unknown": "not known", "lost": "LOST"}


def line_of(row: PrecheckRow) -> str:
    """One row in one line, as it is found."""
    if isinstance(row, KernelRow):
        what = " ".join(filter(None, (row.kernel, row.arch)))
    else:
        what = " ".join(filter(None, (row.part, row.subject)))
    why = f": {row.reason}" if row.reason else ""
    return f"  {row.impl} {what}: {SAID[row.status]}{why}"


def text(answer: Prechecked) -> str:
    """All of it, for a terminal."""
    parts = []
    if answer.rows:
        parts.append(_machine_code(answer.rows))
    if answer.parts:
        parts.append(_rest(answer.parts))
    wrong = [line_of(row).strip() for row in answer.every if row.status in ("wrong", "lost")]
    if wrong:
        parts.append("\n".join(wrong))
    return "\n\n".join([*parts, _sum(answer)])


def _machine_code(rows: Sequence[KernelRow]) -> str:
    heads = ("kernel", "arch", "code", "registers", "spills", "shared", "tensor core", "occupancy")
    return table(heads, [_cells(row) for row in rows], ranks={"registers": 1, "occupancy": 2})


def _cells(row: KernelRow) -> list[str]:
    kernel = row.impl if row.kernel is None else f"{row.impl} {row.kernel}"
    numbers = [ABSENT if number is None else f"{number:,}" for number in (row.registers, row.spill_bytes)]
    shared = ABSENT if row.shared_bytes is None else f"{row.shared_bytes / 1024:.4g} KiB"
    core = ", ".join(row.instructions) or ("yes" if row.tensor_core else ABSENT)
    occupancy = ABSENT if row.occupancy is None else f"{row.occupancy:.0%}"
    return [kernel, row.arch or ABSENT, SAID[row.status], *numbers, shared, core, occupancy]


def _rest(rows: Sequence[PartRow]) -> str:
    cells = [[row.impl, row.part, row.subject or ABSENT, SAID[row.status], row.reason or ""] for row in rows]
    return table(("implementation", "part", "about", "answer", "why"), cells)


def _sum(answer: Prechecked) -> str:
    counts = {said: sum(row.status == status for row in answer.every) for status, said in SAID.items()}
    return "; ".join(f"{count} {said}" for said, count in counts.items() if count)
