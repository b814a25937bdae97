"""The memory of the cells of a block: a run of its own, after the clocks, in a fresh process for each cell.

No order can matter so. Nothing is timed here, so that small cells are weighed beside each other, as many as there are
processors.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.blocks.outcome import Outcome
from attnbench.workers.pool import Pool
from attnbench.workers.processors import at_once
from attnbench.workers.protocol import Reply

# Cells whose matrix of scores is larger are weighed alone: together they might not fit.
WEIGHED_TOGETHER = 64 * 2**20


@dataclass
class Scales:
    """Weighs cells. Each has a process of its own, of the kind of ``pool``.

    ``spent`` says that nothing is begun any more, ``doing`` is told what is weighed next, ``take`` of every answer:
    ``None`` where there was no time for it.
    """

    pool: Pool
    auditor: Auditor | None
    spent: Callable[[], bool]
    doing: Callable[[str], None]
    take: Callable[[Outcome, Reply | None], None]
    _judging: threading.Lock = field(default_factory=threading.Lock)
    _siblings: list[Pool] = field(default_factory=list)

    def weigh(self, order: Sequence[Outcome]) -> None:
        """Weigh these cells, the small ones first, beside each other."""
        small = [outcome for outcome in order if outcome.scores_bytes <= WEIGHED_TOGETHER]
        with ThreadPoolExecutor(at_once(order[0].cell.threads if order else 1)) as executor:
            try:
                for outcome, reply in zip(small, executor.map(self._weighed, small), strict=True):
                    self.take(outcome, reply)
            except BaseException:
                executor.shutdown(wait=False, cancel_futures=True)
                for pool in self._siblings:  # nobody waits for what they are doing
                    pool.abandon()
                raise
        for outcome in order:
            if outcome not in small:
                self.take(outcome, self._weighed(outcome))

    def _weighed(self, outcome: Outcome) -> Reply | None:
        """The answer of a process of its own; ``None`` where the budget is spent."""
        if self.spent():
            return None
        self.doing(f"measuring the memory of {outcome.cell.impl}")
        with self.pool.sibling(outcome.cell.id) as alone:
            self._siblings.append(alone)
            reply = alone.weigh(outcome.cell)
            exact = None if outcome.prepared is None else outcome.prepared.precision
            if reply.ok and self.auditor is not None and exact is not None and outcome.cell.device == "cpu":
                ask = partial(alone.ask, outcome.cell, cell_id=outcome.cell.id)
                with self._judging:
                    return self.auditor.answered(outcome.cell, exact, ask) or reply
            return reply
