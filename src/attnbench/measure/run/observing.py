"""Observed cells, several at once: nothing is timed in them, so that a second worker only makes them end sooner.

Blocks are taken from one queue in planned order by as many observers as there are processors for their threads; each
has processes of its own. Rows are written down by whoever has them, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue

from attnbench.measure.blocks.outcome import Outcome
from attnbench.suite import Cell
from attnbench.workers.pool import Pool
from attnbench.workers.protocol import Observed, value

Cells = Sequence[Cell]


def observe_blocks(
    blocks: Iterable[Cells],
    new_pool: Callable[[int, int], Pool],
    finish: Callable[[Outcome], None],
    spent: Callable[[], bool],
    observers: int,
) -> None:
    """Observe every block. ``new_pool(threads, observer)`` makes the processes of an observer.

    ``finish`` is told of every outcome, from several threads; ``spent`` says when to begin no further cell. An
    exception of any observer, and an interrupt, ends them all.
    """
    queue: SimpleQueue[Cells] = SimpleQueue()
    for block in blocks:
        queue.put(block)
    crew = [_Observer(number, queue, new_pool, finish, spent) for number in range(observers)]
    with ThreadPoolExecutor(observers) as executor:
        futures = [executor.submit(observer.work) for observer in crew]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            for observer in crew:
                observer.abandon()


class _Observer:
    """Takes blocks from the queue until it is empty."""

    def __init__(
        self,
        number: int,
        queue: SimpleQueue[Cells],
        new_pool: Callable[[int, int], Pool],
        finish: Callable[[Outcome], None],
        spent: Callable[[], bool],
    ) -> None:
        self._number, self._queue, self._new_pool = number, queue, new_pool
        self._finish, self._spent = finish, spent
        self._pools: dict[int, Pool] = {}
        self._abandoned = False

    def work(self) -> None:
        """Observe; at the end of it the processes are gone."""
        try:
            while not self._abandoned and not self._spent():
                try:
                    cells = self._queue.get_nowait()
                except Empty:
                    return
                self._observe(cells)
        finally:
            for pool in self._pools.values():
                pool.close()

    def abandon(self) -> None:
        """End the processes under the observer's hands; what they were computing is not written down."""
        self._abandoned = True
        for pool in list(self._pools.values()):
            pool.abandon()

    def _observe(self, cells: Cells) -> None:
        threads = cells[0].threads
        if threads not in self._pools:
            self._pools[threads] = self._new_pool(threads, self._number)
        for cell in cells:
            if self._abandoned or self._spent():
                return
            reply, outcome = self._pools[threads].ask(cell, "observe", cell=cell.to_dict()), Outcome(cell)
            if self._abandoned:
                return
            if reply.ok:
                outcome.metrics = value(Observed, reply).metrics
            else:
                outcome.end(reply)
            self._finish(outcome)
