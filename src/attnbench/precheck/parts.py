"""Every part of a precheck, asked of every implementation.

A part is a function of ``(impl, question)`` that yields rows; it yields none where an implementation is not its
business. Parts run in the front, which imports no framework: what needs one is asked of a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attnbench.precheck.kernels import triton_kernels
from attnbench.precheck.lowered_rows import lowered_programs
from attnbench.precheck.question import PrecheckQuestion
from attnbench.precheck.rows import PartRow, Prechecked, PrecheckRow

Part = Callable[[str, PrecheckQuestion], Iterable[PrecheckRow]]
PARTS: tuple[Part, ...] = (triton_kernels, lowered_programs)
NOTHING = "no part of the precheck is about it: it claims no GPU, and launches no kernel of Triton's"


def precheck(
    question: PrecheckQuestion,
    progress: Callable[[PrecheckRow], None] | None = None,
    parts: Iterable[Part] = PARTS,
) -> Prechecked:
    """Ask every part of every implementation; one that is nobody's business is a row with the reason."""
    rows: list[PrecheckRow] = []
    parts = tuple(parts)
    for impl in question.impls:
        before = len(rows)
        for part in parts:
            for row in part(impl, question):
                rows.append(row)
                if progress is not None:
                    progress(row)
        if len(rows) == before:
            rows.append(PartRow(impl, "launches", "unknown", reason=NOTHING))
    return Prechecked.of(rows)
