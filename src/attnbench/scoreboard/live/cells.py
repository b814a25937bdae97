"""The cells of the scoreboard: one head count, eight lengths, so that k of 100 head slices are k % of the work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import UsageError
from attnbench.live.duo import Side, Twin
from attnbench.live.sides import Resolved
from attnbench.scoreboard.attention import HEAD_SIZE, HEADS
from attnbench.suite import Cell

KERNEL = Path(__file__).with_name("kernel.py")
SUITE = "scoreboard"
LENGTHS = (16, 24, 32, 40, 48, 64, 80, 96)
# What kernel.py has.
EXTRAS = (0, 2, 3, 5, 10, 20)


@dataclass(frozen=True)
class SharedCell(Cell):
    """A cell whose kernel comes from our own file: it shares its process with the others, as a built-in's does."""

    def to_dict(self) -> dict[str, Any]:
        """With the file, which the cell itself does not name: those that do have a process of their own."""
        return super().to_dict() | {"files": [str(KERNEL)]}


def case(T: int) -> Case:
    """B1 H100 D32 float32 at one length: a forward pass without masks."""
    return Case(AttentionSpec(), Problem(Hq=HEADS, Tq=T, D=HEAD_SIZE, dtype="float32"))


def cell(T: int, extra: int) -> Cell:
    """The cell of one length with so much extra work."""
    return SharedCell(SUITE, {"T": T}, case(T), f"numpy/extra-{extra}")


def lengths(count: int) -> tuple[int, ...]:
    """The lengths of so many cells, spread over all of them."""
    if not 1 <= count <= len(LENGTHS):
        msg = f"--cells is 1 to {len(LENGTHS)}; got {count}"
        raise UsageError(msg)
    step = len(LENGTHS) / count
    return tuple(LENGTHS[int(step * (i + 0.5))] for i in range(count))


def versions(extra: int, at: Sequence[int] = LENGTHS) -> Resolved:
    """The version without a change against the one with ``extra`` per cent more work."""
    if extra not in EXTRAS:
        msg = f"slowdowns are {', '.join(map(str, EXTRAS))} %; got {extra}"
        raise UsageError(msg)
    twins = tuple(Twin(cell(T, 0), cell(T, extra)) for T in at)
    labels = f"numpy/extra-0, numpy/extra-{extra}".split(", ")
    return Resolved("implementations", {"A": Side(labels[0]), "B": Side(labels[1])}, twins, {})
