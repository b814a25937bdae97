"""Timed blocks under a budget: every block has its first look before any has a second one.

What the time is not enough for is left out before anything of it is prepared, by its forecast (``forecast``), and every
block keeps the cells that are measured soonest. After the first looks come second ones, since one process hardly tells
two cells apart; then memory (first, where somebody chooses who goes on), and further replicates, as far as they fit. A
look has few bursts, so that there can be several; where there is no time for a second one, the only one has as many as
an interval takes. Where fresh processes for every block would take the time of the cells, blocks of a pass share
theirs: one process of each framework, which keeps nothing of a block that is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from attnbench.measure.blocks.block import Block
from attnbench.measure.blocks.effort import FEWEST_FOR_INTERVAL, USUAL
from attnbench.measure.blocks.forecast import FURTHER, START_S, LookForecast, chosen, reason
from attnbench.measure.blocks.outcome import Outcome, RunClock
from attnbench.show.units import roughly
from attnbench.suite import Cell
from attnbench.workers.pool import Pool
from attnbench.workers.protocol import OK

FIRST, MEMORY, AGAIN = "first look", "memory", "another look"
TIGHT = (
    "The budget leaves hardly a look for every cell: bursts are shorter and a disturbed one counts, the check "
    "and the audits judge less of an answer, and this machine's rates were measured briefly, in one framework."
)
SHARING = "To save time the cases share processes, one of each framework."
ONCE = (
    "timed cells were seen in one process, not in several: what differs between processes is not in their intervals, "
    "and in a block of ten cells none is told from the fastest unless it takes nearly ten times as long."
)
FEW = "timed cells were seen in fewer processes than the usual {}: less is told apart."
SINCE = "timed cells that were measured after the run was resumed"
MORE = "All of them take about {} more."
# Which cells, by id, have further looks, by the outcomes of their block.
GoesOn = Callable[[Sequence[Outcome]], Collection[str]]
# The first cells of the blocks ahead may take so much longer than their forecast, and still have their turn.
MARGIN = 0.5


@dataclass
class Waiting:
    """A block with what is known of it: the seconds of its last look, and whether memory is what it is about.

    ``wanted`` is how many looks it is to have, and ``looked_at`` how many cells the last one was at, with those of late
    looks. ``usual`` is in how many processes its cells usually are, those before a break too.
    """

    block: Block
    memory_first: bool = False
    look_s: float = 0.0
    looked_at: int = 0
    wanted: int = field(init=False)
    usual: int = field(init=False)

    def __post_init__(self) -> None:
        self.wanted = self.block.looks_left
        before = min((len(outcome.replicates) for outcome in self.block.outcomes), default=0)
        self.usual = min(USUAL, self.wanted + before)

    @property
    def again_s(self) -> float:
        """The seconds of a further look, about: at fewer cells than the last one was it is shorter."""
        share = len(self.block.alive()) / self.looked_at if self.looked_at else 1.0
        return self.look_s * share * (FURTHER if self.block.looks_left == self.wanted - 1 else 1.0)

    @property
    def threads(self) -> int:
        """The threads of its cells."""
        return self.block.first.threads


@dataclass
class Budgeted:
    """Measures blocks until ``clock`` says that the time is over.

    ``new_pool(threads, pass)`` makes the processes of a block, or of a pass where blocks share them. ``finish`` is told
    of a block whenever there is more to tell of it, ``tell`` of what comes next, ``note`` of what was decided.
    ``goes_on`` says which cells of a block, by id, have further looks, by what was seen of it; all without.
    """

    blocks: Sequence[Waiting]
    clock: RunClock
    forecast: LookForecast
    new_pool: Callable[[int, str], Pool]
    finish: Callable[[Block], None]
    tell: Callable[[Block, str], None]
    note: Callable[..., None]
    shared: dict[int, Pool] = field(default_factory=dict)
    tight: bool = False
    sharing: bool = True
    passes: int = 0
    fresh: int = 0
    goes_on: GoesOn | None = None

    def measure(self) -> None:
        """All that there is time for; then every outcome says what became of its cell."""
        self._decide_to_share()
        self._decide_on_bursts()
        self._first_looks()
        if self.goes_on is not None:  # who fits has a say in who goes on
            self._memory(self.blocks)
        self._further_looks()
        self._memory(self.blocks)
        while self._further_looks():
            pass
        for waiting in self.blocks:
            waiting.block.ended()
            self.finish(waiting.block)

    def _decide_to_share(self) -> None:
        """Fresh processes for every block, where there is time for all first looks with them."""
        cells = [outcome.cell for waiting in self.blocks for outcome in waiting.block.alive()]
        starts = sum(len({o.cell.backend for o in waiting.block.alive()}) for waiting in self.blocks)
        looks_s = sum(self.forecast.look_s(cell) for cell in cells)
        self.sharing = self.tight or looks_s + START_S * starts > self.clock.left()
        decided = {"tight": self.tight, "sharing": self.sharing}
        self.note("budget", cells=len(cells), forecast_s=looks_s, left_s=self.clock.left(), **decided)
        if not self.sharing:
            self.close()
            return
        # Those of as many threads follow each other, so that no processes of other threads wait meanwhile.
        counts = list(dict.fromkeys(waiting.threads for waiting in self.blocks))
        self.blocks = sorted(self.blocks, key=lambda waiting: counts.index(waiting.threads))

    def _decide_on_bursts(self) -> None:
        """Few bursts in each of several processes, or as many as an interval takes in one."""
        firsts_s = [sum(self.forecast.look_s(o.cell) for o in waiting.block.alive()) for waiting in self.blocks]
        wanted, left_s = [waiting.wanted for waiting in self.blocks], self.clock.left()
        alone = (1 + FURTHER) * sum(firsts_s) > left_s
        short = sum((1 + FURTHER * (n - 1)) * s for n, s in zip(wanted, firsts_s, strict=True)) > left_s
        for waiting in self.blocks if max(wanted, default=1) > 1 else ():
            if alone:
                waiting.block.at_least(FEWEST_FOR_INTERVAL)
            elif short:
                waiting.block.as_few_as_possible()

    def _first_looks(self) -> None:
        for number, waiting in enumerate(self.blocks):
            self._leave_out(self.blocks[number:])
            if waiting.block.alive():
                self._look(waiting, FIRST)
                if waiting.memory_first:
                    self._memory([waiting])
            self.finish(waiting.block)
        while self._late_looks():
            pass
        if self.sharing:
            self.close()

    def _late_looks(self) -> bool:
        """First looks at cells that were left out and that there is time for after all; whether there was any."""
        costs = [{o.cell.id: self._first_s(w, o.cell) for o in w.block.left_out()} for w in self.blocks]
        kept = chosen([list(cells.items()) for cells in costs], self.clock.left())
        looked = False
        for waiting, cells in zip(self.blocks, costs, strict=True):
            if not kept.isdisjoint(cells):
                keep_s = self.forecast.audit_s(o.cell for o in waiting.block.left_out() if o.cell.id in kept)
                late = len(kept & cells.keys())
                self.tell(waiting.block, FIRST)
                began = time.monotonic()
                with self._pool(waiting, f"late {FIRST}") as pool:
                    waiting.block.look_at(kept, pool, keep_s)
                waiting.look_s, waiting.looked_at = waiting.look_s + time.monotonic() - began, waiting.looked_at + late
                self.finish(waiting.block)
                looked = not self.clock.spent()
        return looked

    def _leave_out(self, ahead: Sequence[Waiting]) -> None:
        """End the cells of the first block ahead that there is no time for, if the others are to have their look."""
        costs = [{o.cell.id: self._first_s(w, o.cell, later=w is not ahead[0]) for o in w.block.alive()} for w in ahead]
        reserve = MARGIN * sum(min(cells.values(), default=0.0) for cells in costs[1:])
        kept = chosen([list(cells.items()) for cells in costs], self.clock.left() - reserve)
        ahead[0].block.leave_out({cell: reason(cost) for cell, cost in costs[0].items() if cell not in kept})

    def _first_s(self, waiting: Waiting, cell: Cell, *, later: bool = False) -> float:
        return self.forecast.look_s(cell, later=later) + (self.forecast.weigh_s(cell) if waiting.memory_first else 0.0)

    def _look(self, waiting: Waiting, what: str) -> None:
        block, began, left_s = waiting.block, time.monotonic(), self.clock.left()
        self.tell(block, what)
        looked = block.alive()
        keep_s = self.forecast.audit_s(outcome.cell for outcome in looked)
        with self._pool(waiting, what) as pool:
            block.look(pool, keep_s)
        waiting.look_s, waiting.looked_at = time.monotonic() - began, len(looked)
        expected_s = sum(self.forecast.look_s(outcome.cell) for outcome in looked if outcome.prepared)
        self.note("look", cells=len(block.alive()), seconds=waiting.look_s, expected_s=expected_s, left_s=left_s)
        self.forecast.learn(looked, waiting.look_s)

    @contextmanager
    def _pool(self, waiting: Waiting, what: str) -> Iterator[Pool]:
        """The processes of a look: those of the pass, or fresh ones that end with it, drawn anew for each."""
        if not self.sharing:
            self.fresh += 1
            with self.new_pool(waiting.threads, f"{what} {self.fresh} {waiting.block.first.block_id}") as pool:
                yield pool
            return
        yield self.pool_of(waiting.threads)

    def _memory(self, blocks: Sequence[Waiting]) -> None:
        for waiting in blocks:
            cells = [outcome.cell for outcome in waiting.block.to_weigh]
            if cells and sum(self.forecast.weigh_s(cell) for cell in cells) <= self.clock.left():
                self.tell(waiting.block, MEMORY)
                waiting.block.weigh()
                self.finish(waiting.block)

    def _further_looks(self) -> bool:
        """A further look at every block that there is time for; whether there was any."""
        looked = False
        for waiting in self.blocks:
            self._rest(waiting.block)
            if waiting.block.looks_left > 0 and waiting.again_s < self.clock.left():
                self._look(waiting, AGAIN)
                self.finish(waiting.block)
                looked = True
        if self.sharing:
            self.close()
        return looked

    def _rest(self, block: Block) -> None:
        """Let those rest that need no further look; they keep what was seen of them, and may be called again."""
        if self.goes_on is not None:
            cells = self.goes_on(block.outcomes)
            for outcome in block.outcomes:
                outcome.resting = outcome.stands and outcome.cell.id not in cells
            self.note("goes on", cells=sorted(cells))

    def said(self, *, resumed: bool = False) -> list[str]:
        """What the budget made otherwise than it usually is, in sentences for people.

        They speak of the cells that are measured here; where a run is ``resumed``, there are others, and they say so.
        """
        sentences = [TIGHT] if self.tight else []
        sentences += [SHARING] if self.sharing else []
        measured = [(w, o) for w in self.blocks for o in w.block.outcomes if o.status == OK and o.replicates]
        seen = [(len(outcome.replicates), waiting.usual) for waiting, outcome in measured if waiting.usual > 1]
        once, few = sum(n == 1 for n, _ in seen), sum(1 < n < usual for n, usual in seen)
        sentences += _of(once, len(measured), ONCE, resumed=resumed)
        if self.goes_on is None:  # who chooses which cells go on says who had fewer looks, and why
            words = FEW.format(max((usual for _, usual in seen), default=USUAL))
            sentences += _of(few, len(measured), words, resumed=resumed)
            more_s = self._more_s() if once + few else 0.0
            sentences += [MORE.format(roughly(more_s))] if more_s > 0 else []
        return sentences

    def _more_s(self) -> float:
        """The seconds of all looks that are still wanted, about, less those that are left."""
        looks = ((waiting.block.looks_left, waiting.again_s, waiting.look_s) for waiting in self.blocks)
        return sum(min(n, 1) * again_s + max(0, n - 1) * min(again_s, s) for n, again_s, s in looks) - self.clock.left()

    def pool_of(self, threads: int) -> Pool:
        """The processes that blocks of so many threads share until the pass is over."""
        if threads not in self.shared:
            self.close()  # of one number of threads at a time
            self.passes += 1
            self.shared[threads] = self.new_pool(threads, f"pass {self.passes}")
        return self.shared[threads]

    def close(self) -> None:
        """End the shared processes; the next pass has fresh ones."""
        pools, self.shared = list(self.shared.values()), {}
        for pool in pools:
            pool.close()


def _of(count: int, measured: int, words: str, *, resumed: bool) -> list[str]:
    """What is so of some of the cells that were measured, in a sentence; none where it is so of none."""
    if not count:
        return []
    how_many = "All" if count == measured and not resumed else f"{count} of {measured}"
    return [f"{how_many} {words.replace('timed cells', SINCE, 1) if resumed else words}"]
