"""Blocks without a budget: all of them once, then all of them again, in as many passes as each is to have looks.

Between two processes of the same code there is a difference that no burst shows, so that a block is looked at in
several. To start a process of every framework for every look of every block would take longer than all that is timed
in them. So the blocks of a lap share, in each pass, one process of each framework. All of them are timed, in
an order that is drawn anew for each pass, before any is audited: an audit changes how a process keeps freed memory
(``Bench.steady``), and with it times. After the last pass the memory of each is measured, and its rows are
written. A run that is broken off has the laps before, and ``--resume`` goes on with the passes of this one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
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
        total = max(block.looks_left for block in self.blocks)
        for number in range(1, total + 1):
            self._pass([block for block in self.blocks if block.looks_left], f"pass {number} of {total}")
        for block in self.blocks:
            self.tell(block, "memory" if block.to_weigh else "")
            block.weigh()
            block.ended()
            self.finish(block)

    def _pass(self, blocks: Sequence[Block], what: str) -> None:
        """A look at each of the blocks, in random order, in processes that they share."""
        with ExitStack() as stack:
            pools: dict[int, Pool] = {}
            order = self.rng.sample(blocks, len(blocks))
            for block in order:
                threads = block.first.threads
                if threads not in pools:
                    pools[threads] = stack.enter_context(self.new_pool(threads, what))
                    mine = [each for each in blocks if each.first.threads == threads]
                    pools[threads].start([outcome.cell for each in mine for outcome in each.alive()])
                self.tell(block, what)
                block.time(pools[threads])
            for block in order:
                self.tell(block, f"{what}, audits")
                block.audit(shared=True)
