"""What a precheck found, as text: a table of machine code, a table of the rest, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from attnbench.precheck.grids.grid_table import HEADS, grid_lines
from attnbench.precheck.grids.suite_grids import PART as GRIDS
from attnbench.precheck.rows import KernelRow, PartRow, Prechecked, PrecheckRow, Status
from attnbench.show.console import table

ABSENT = "–"
WORST: tuple[Status, ...] = ("lost", "wrong", "unknown", "ok")
MARKS = {"ok": "", "wrong": "failed", "unknown": "absent", "lost": "failed"}
RANKS = {"registers": 1, "occupancy": 2}  # left out first where a terminal is narrow
NAMED = 6  # implementations in the last line
SAID = {"ok": "ok", "wrong": "WRONG", "unknown": "not known", "lost": "LOST"}


def line_of(row: PrecheckRow) -> str:
    """One row in one line, as it is found."""
    if isinstance(row, KernelRow):
        what = " ".join(filter(None, (row.kernel, row.arch)))
    else:
        what = " ".join(filter(None, (row.part, row.subject)))
    why = f": {row.reason}" if row.reason else ""
    return f"  {row.impl} {what}: {SAID[row.status]}{why}"


@dataclass(frozen=True)
class PrecheckTable:
    """A table of texts; ``marks`` has a word for each row, ``failed``, ``absent`` or none."""

    title: str
    heads: tuple[str, ...]
    rows: list[list[str]]
    marks: list[str]


def tables(answer: Prechecked) -> list[PrecheckTable]:
    """Machine code, a row for each kernel and architecture, and the rest, a row for each part of an implementation."""
    made = []
    if answer.rows:
        heads = ("kernel", "arch", "code", "registers", "spills", "shared", "tensor cores", "occupancy")
        cells = [_cells(row) for row in answer.rows]
        made.append(PrecheckTable("Machine code", heads, cells, [MARKS[row.status] for row in answer.rows]))
    grouped: dict[tuple[str, str], list[PartRow]] = {}
    for row in answer.parts:
        grouped.setdefault((row.impl, row.part), []).append(row)
    if grouped:
        cells = [_line(*key, some) for key, some in grouped.items()]
        marks = [MARKS[_worst(some)] for some in grouped.values()]
        made.append(PrecheckTable("The rest", ("implementation", "part", "answer", "what"), cells, marks))
    launches, faulty = grid_lines(answer.parts)
    if launches:
        about = next(row.subject for row in answer.parts if row.part == GRIDS)
        made.append(PrecheckTable(f"Launches in {about}", HEADS, launches, faulty))
    return made


def remarks(answer: Prechecked) -> list[tuple[str, list[str]]]:
    """What is wrong and what nobody knows, each with its reason."""
    wrong = [line_of(row).strip() for row in answer.every if row.status in ("wrong", "lost")]
    unknown = [line_of(row).strip() for row in answer.every if row.status == "unknown"]
    return [(title, lines) for title, lines in (("What is wrong", wrong), ("What is not known", unknown)) if lines]


def text(answer: Prechecked) -> str:
    """All of it, for a terminal."""
    drawn = [table(made.heads, made.rows, ranks=RANKS) for made in tables(answer)]
    return "\n\n".join([*drawn, *("\n".join(lines) for _, lines in remarks(answer)), sentence(answer)])


def sentence(answer: Prechecked) -> str:
    """How many rows of which kind, and which parts of which implementations are not known at all, or not wholly."""
    counts = {said: sum(row.status == status for row in answer.every) for status, said in SAID.items()}
    said = ["; ".join(f"{count} {said}" for said, count in counts.items() if count)]
    if answer.untold:
        said.append(f"not told at all, so that nothing may be concluded: {_joined(answer.untold)}")
    partly = [(row.impl, _part(row)) for row in answer.every if row.status == "unknown"]
    if partly := [each for each in dict.fromkeys(partly) if each not in answer.untold]:
        said.append(f"not known: {_joined(partly)}")
    return "; ".join(said)


def _part(row: PrecheckRow) -> str:
    return row.part if isinstance(row, PartRow) else f"machine code for {row.arch}"


def _joined(parts: Sequence[tuple[str, str]]) -> str:
    """Parts by implementation; where there are many, how many more."""
    by_impl: dict[str, list[str]] = {}
    for impl, part in parts:
        by_impl.setdefault(impl, []).append(part)
    said = [f"{impl} ({', '.join(some)})" for impl, some in by_impl.items()]
    more = [f"{len(said) - NAMED} more"] if len(said) > NAMED else []
    return ", ".join([*said[:NAMED], *more])


def _cells(row: KernelRow) -> list[str]:
    kernel = row.impl if row.kernel is None else f"{row.impl} {row.kernel}"
    numbers = [ABSENT if number is None else f"{number:,}" for number in (row.registers, row.spill_bytes)]
    shared = ABSENT if row.shared_bytes is None else f"{row.shared_bytes / 1024:.4g} KiB"
    core = ", ".join(row.instructions) or ABSENT
    occupancy = ABSENT if row.occupancy is None else f"{row.occupancy:.0%}"
    return [kernel, row.arch or ABSENT, SAID[row.status], *numbers, shared, core, occupancy]


def _worst(rows: Sequence[PartRow]) -> Status:
    return next(status for status in WORST if any(row.status == status for row in rows))


def _line(impl: str, part: str, rows: Sequence[PartRow]) -> list[str]:
    status = _worst(rows)
    if status == "ok":
        return [impl, part, SAID[status], _what(rows)]
    some = [row for row in rows if row.status == status]
    about = ", ".join(dict.fromkeys(row.subject for row in some if row.subject))
    return [impl, part, SAID[status], about or (some[0].reason or "")]


def _what(rows: Sequence[PartRow]) -> str:
    """What is right: the largest error ratio of numbers, the reason that one row gives, or the subjects."""
    ratios = [ratio for row in rows if isinstance(of := row.detail.get("error_ratio"), dict) for ratio in of.values()]
    if ratios:
        cases = sum(row.detail["cases"] for row in rows)
        return f"{cases} cases of {len(rows)} features, largest error ratio {max(ratios):.2f}"
    if len(rows) == 1 and rows[0].reason:
        return rows[0].reason
    return ", ".join(row.subject for row in rows if row.subject)
