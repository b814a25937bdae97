"""Blocks without a budget: all of them once, then all of them again, in as many passes as each is to have looks.

Between two processes of the same code there is a difference that no burst shows, so that a block is looked at in
several. To start a process of every framework for every look of every block would take longer than all that is timed
in them. So the blocks of a lap share, in each pass, one process of each framework. All of them that have as many
threads are timed, in an order that is drawn anew for each pass, before any is audited: an audit changes how a process
keeps freed memory (``Bench.steady``), and with it times. Then these processes end, before those of other threads begin:
they would take memory meanwhile, and threads that wait would take processors. After the last pass the memory of each
is measured, and its rows are written. A run that is broken off has the laps before, and ``--resume`` goes on with the
passes of this one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from attnbench.measure.blocks.block import Block
from attnbench.measure.clock.roofline import array_bytes
from attnbench.workers.pool import Pool

# So many blocks at most are a lap, and operands of so many bytes: they are kept until their cells are audited.
LAP, LAP_BYTES = 16, 2**30


def laps(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """The blocks in laps: those of one suite, in planned order, each with the processes of its threads."""
    lap: list[Block] = []
    for block in blocks:
        full = len(lap) == LAP or sum(map(_bytes, [*lap, block])) > LAP_BYTES
        if lap and (full or lap[0].first.suite != block.first.suite):
            yield lap
            lap = []
        lap.append(block)
    if lap:
        yield lap


def _bytes(block: Block) -> float:
    return sum(array_bytes(outcome.cell.case) for outcome in block.outcomes if outcome.cell.case is not None)


@dataclass
class Passes:
    """Measures the blocks of a lap.

    ``new_pool(threads, pass)`` makes the processes of a pass. ``finish`` is told of a block when all of it is done,
    ``tell`` of what comes next.
    """

    blocks: Sequence[Block]
    new_pool: Callable[[int, str], Pool]
    finish: Callable[[Block], None]
    tell: Callable[[Block, str], None]
    rng: random.Random

    def measure(self) -> None:
        """Every pass, then memory."""
        number = 0
        while left := [block for block in self.blocks if block.looks_left]:
            total = number + max(block.looks_left for block in left)
            number += 1
            self._pass(left, f"pass {number} of {total}")
        for block in self.blocks:
            self.tell(block, "memory" if block.to_weigh else "")
            block.weigh()
            block.ended()
            self.finish(block)

    def _pass(self, blocks: Sequence[Block], what: str) -> None:
        """A look at each of the blocks, in random order; those of one number of threads share processes."""
        counts = sorted({block.first.threads for block in blocks})
        for threads in self.rng.sample(counts, len(counts)):
            mine = [block for block in blocks if block.first.threads == threads]
            with self.new_pool(threads, what) as pool:
                self._look(self.rng.sample(mine, len(mine)), pool, what)

    def _look(self, order: Sequence[Block], pool: Pool, what: str) -> None:
        pool.start([outcome.cell for block in order for outcome in block.alive()])
        for block in order:
            self.tell(block, what)
            block.time(pool)
        for block in order:
            self.tell(block, f"{what}, audits")
            block.audit(shared=True)
