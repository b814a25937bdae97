"""Which anchor goes with a block: the work nearest to its cells in kind and size, in fixed classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from attnbench.attention.precision import numpy_dtype
from attnbench.measure.anchor.work import READINGS, read_bytes

if TYPE_CHECKING:
    from attnbench.attention.problem import Case
    from attnbench.suite import Cell

# A call with fewer queries for each key head than this reads keys and does little else.
FEW_QUERIES = 16
# Up to so many scores of one head the small tiles.
SMALL_SCORES = 256 * 256
ON_DEVICE = "on {device} no anchor is measured: its work is NumPy's, on the processor"


@dataclass(frozen=True)
class AnchorChoice:
    """The work of a block's anchor; without a ``work`` there is none, and ``reason`` says why."""

    work: str | None
    dtype: str = "float32"
    threads: int = 1
    instead_of: str = ""
    reason: str | None = None

    @property
    def name(self) -> str:
        """How results call it, such as ``tiles-512 float32 (for bfloat16), 2 threads``."""
        instead = f" (for {self.instead_of})" if self.instead_of else ""
        plural = "s" if self.threads > 1 else ""
        return f"{self.work} {self.dtype}{instead}, {self.threads} thread{plural}"


def anchor_for(cells: Sequence[Cell]) -> AnchorChoice:
    """The anchor of a block: that of its largest case. NumPy multiplies no 16-bit numbers: float32 stands for them."""
    cases = [cell.case for cell in cells if cell.case is not None]
    if not cases:
        return AnchorChoice(None, reason="nothing is timed")
    if (device := cells[0].device) != "cpu":
        return AnchorChoice(None, reason=ON_DEVICE.format(device=device))
    case = max(cases, key=_pairs)
    dtype = case.problem.dtype
    usual = dtype if dtype in ("float32", "float64") else "float32"
    return AnchorChoice(_work(case, usual), usual, cells[0].threads, "" if usual == dtype else dtype)


def _pairs(case: Case) -> float:
    p = case.problem
    return float(p.B * p.Hq * p.Tq * p.S)


def _work(case: Case, usual: str) -> str:
    """Of a case that reads keys the largest reading that takes no more memory than its keys and values; else tiles."""
    p = case.problem
    read = numpy_dtype(p.dtype).itemsize * p.B * p.Hkv * p.S * (p.D + p.Dv)
    if p.Tq * (p.Hq // max(1, p.Hkv)) < FEW_QUERIES:
        fitting = [name for name in READINGS if read_bytes(name, usual) <= read]
        if fitting:
            return fitting[-1]
    return "tiles-128" if p.Tq * p.S <= SMALL_SCORES else "tiles-512"
