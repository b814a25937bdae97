"""What a precheck found, as text: a table of machine code, a table of the rest, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from attnbench.precheck.rows import KernelRow, PartRow, Prechecked, PrecheckRow
from attnbench.show.console import table

ABSENT = "–"
WORST = ("lost", "wrong", "unknown", "ok")
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
    """All of it, for a terminal: both tables, then what is wrong and what nobody knows, each with its reason."""
    texts = []
    if answer.rows:
        texts.append(_machine_code(answer.rows))
    if answer.parts:
        texts.append(_rest(answer.parts))
    for statuses in (("wrong", "lost"), ("unknown",)):
        lines = [line_of(row).strip() for row in answer.every if row.status in statuses]
        texts += ["\n".join(lines)] if lines else []
    return "\n\n".join([*texts, _sum(answer)])


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
    """A line for each part of each implementation."""
    grouped: dict[tuple[str, str], list[PartRow]] = {}
    for row in rows:
        grouped.setdefault((row.impl, row.part), []).append(row)
    return table(("implementation", "part", "answer", "what"), [_line(*key, some) for key, some in grouped.items()])


def _line(impl: str, part: str, rows: Sequence[PartRow]) -> list[str]:
    status = next(status for status in WORST if any(row.status == status for row in rows))
    wrong = [row for row in rows if row.status == status]
    about = ", ".join(dict.fromkeys(row.subject for row in wrong if row.subject))
    if len(wrong) == len(rows) and status == "ok":
        return [impl, part, SAID[status], _what(rows)]
    return [impl, part, SAID[status], about or (wrong[0].reason or "")]


def _what(rows: Sequence[PartRow]) -> str:
    """What is right: the largest error ratio of numbers, the count of subjects, or the reason that one row gives."""
    ratios = [ratio for row in rows for ratio in (row.detail.get("error_ratio") or {}).values()]
    if ratios:
        cases = sum(row.detail["cases"] for row in rows)
        return f"{cases} cases of {len(rows)} features, largest error ratio {max(ratios):.2f}"
    if len(rows) == 1 and rows[0].reason:
        return rows[0].reason
    return ", ".join(row.subject for row in rows if row.subject)


def _sum(answer: Prechecked) -> str:
    counts = {said: sum(row.status == status for row in answer.every) for status, said in SAID.items()}
    return "; ".join(f"{count} {said}" for said, count in counts.items() if count)
