"""The suite of a workload: all ways of calling the sequences of a kind stand in one block.

One call for each sequence and one call for a batch are then measured round by round beside each other, so that what
changes on the machine meanwhile hits both. Where the operands of a kind are more than ``MOST_BYTES`` for one
implementation, a block has one part alone, since those of a block are all kept; who is called in ways of two blocks has
the wider interval of ``paired.against_best``.
"""

from __future__ import annotations

from dataclasses import dataclass

from attnbench.attention.precision import numpy_dtype
from attnbench.attention.problem import Problem
from attnbench.attention.shapes import shape
from attnbench.attention.spec import stable_id
from attnbench.suite import TimedSuite
from attnbench.suite.cells import Point
from attnbench.workloads.parts import WAYS, case_of, part

MOST_BYTES = 2**28


@dataclass(frozen=True, kw_only=True)
class ServedSuite(TimedSuite):
    """A suite whose blocks are the kinds of sequences of a mix."""

    def block_of(self, point: Point, device: str, threads: int) -> str:
        """One for all parts of a kind and all ways of calling them, if their operands are few enough."""
        kind = part(str(point["part"])).kind
        if self._bytes(kind, point) > MOST_BYTES:
            return super().block_of(point, device, threads)
        rest = {axis: level for axis, level in point.items() if axis not in ("part", "way")}
        return stable_id([self.name, "kind", kind, rest, device, threads])

    def _bytes(self, kind: str, point: Point) -> int:
        """What the operands and answers of all calls of a kind take, for one implementation."""
        mine = [each for each in map(part, map(str, self.axes["part"])) if each.kind == kind]
        asked_for = shape(str(point["shape"])), str(point["dtype"])
        cases = [case_of(each, way, *asked_for) for each in mine for way in WAYS]
        return sum(_size(case.problem) for case in cases if case is not None)


def _size(problem: Problem) -> int:
    rows = problem.B * (problem.Hq * problem.Tq + problem.Hkv * problem.S) * (problem.D + problem.Dv)
    return int(numpy_dtype(problem.dtype).itemsize * rows)
