"""What a run that goes on has from before: rows, and the bursts that were audited in the process that timed them.

A run that is killed between timing and audit leaves bursts that nobody has audited. They count nowhere: their cells are
timed again in processes that are audited, under replicate numbers of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from attnbench.results.journal import STANDS, WITHDRAWN, replicates_of
from attnbench.results.read import Contents
from attnbench.results.schema import CellResult, Sample
from attnbench.workers.protocol import INTERRUPTED, NOT_RUN

Replicate = tuple[str, int]


def is_open(row: CellResult) -> bool:
    """Whether there is more to measure of a cell: all of it, or its memory, which an interrupt left out."""
    return row.status == NOT_RUN or (row.memory or {}).get("source") == INTERRUPTED


@dataclass(frozen=True)
class FromBefore:
    """What is kept: so many finished cells, and ``samples``; ``unaudited`` are the replicates of cells that are not.

    ``used`` is for each cell the first replicate number that it has not had. ``so_far`` tells the parts of a run apart.
    """

    cells: int = 0
    samples: Sequence[Sample] = ()
    unaudited: frozenset[Replicate] = frozenset()
    bursts_lost: int = 0
    used: Mapping[str, int] = field(default_factory=dict)
    so_far: int = 0

    def begin_at(self, cells: Iterable[str]) -> int:
        """The first replicate number that none of these cells of a block has had, those that are finished too.

        Rounds are paired by it: a number that another cell had on another day would pair what never stood together.
        """
        return max((self.used.get(cell, 0) for cell in cells), default=0)

    @classmethod
    def of(cls, contents: Contents) -> Self:
        """From the journal."""
        going_on = {row.cell_id for row in contents.cells if is_open(row)}
        audited, used = replicates_of(contents.events, STANDS), dict[str, int]()
        there = {(sample.cell_id, sample.replicate) for sample in contents.samples}
        for cell, replicate in there | replicates_of(contents.events, WITHDRAWN):
            used[cell] = max(used.get(cell, 0), replicate + 1)
        unaudited = frozenset(key for key in there - audited if key[0] in going_on)
        gone = [sample for sample in contents.samples if (sample.cell_id, sample.replicate) in unaudited]
        return cls(
            cells=sum(not is_open(row) for row in contents.cells),
            samples=[s for s in contents.samples if (s.cell_id, s.replicate) not in unaudited],
            unaudited=unaudited,
            bursts_lost=sum(not sample.warmup for sample in gone),
            used=used,
            so_far=len(contents.events),
        )
