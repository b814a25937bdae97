"""A run while it goes on: block after block, from the plan to a row for every cell."""

from __future__ import annotations

import math
import random
import secrets
import threading
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

from attnbench.backends import discover
from attnbench.errors import EXIT_INCONCLUSIVE, UsageError, worst_exit
from attnbench.measure.anchor.beside import BesideBlock
from attnbench.measure.anchor.choosing import anchor_for
from attnbench.measure.audits.auditor import Auditor
from attnbench.measure.blocks.block import Block
from attnbench.measure.blocks.budgeted import Budgeted, Waiting
from attnbench.measure.blocks.effort import is_tight
from attnbench.measure.blocks.forecast import LookForecast
from attnbench.measure.blocks.outcome import Outcome, RunClock
from attnbench.measure.blocks.passes import Passes, laps
from attnbench.measure.blocks.spending import Spending
from attnbench.measure.run import rows
from attnbench.measure.run.kept import FromBefore, is_open
from attnbench.measure.run.observing import observe_blocks
from attnbench.measure.run.options import RunOptions, RunOutcome, SeenCell, exit_code
from attnbench.measure.run.plan import Plan
from attnbench.measure.run.rates import Rates
from attnbench.results.journal import SHORTENED, WITHDRAWN
from attnbench.results.schema import CellResult, Fingerprint
from attnbench.results.store import RunWriter
from attnbench.suite import Cell, TimedSuite
from attnbench.workers.limits import find_groups, free_memory
from attnbench.workers.pool import Pool
from attnbench.workers.processors import at_once
from attnbench.workers.protocol import INTERRUPTED, NOT_RUN, OK, Hello, Memory, Reply

NOTHING = FromBefore()

# A worker may take this share of the memory that is free at the start: a kernel that allocates without end then fails
# by itself, and the machine goes on.
MEMORY_SHARE = 0.8
# Of a budget so many seconds are kept for what comes after the measurements, tables and the report: for a run, for the
# findings and figures of each suite, and for each of its cells, and never more than this share of it. An answer is
# waited for so much longer than the budget.
CLOSING_S, CLOSING_SUITE_S, CLOSING_CELL_S, MOST_CLOSING = 0.5, 0.5, 0.005, 0.3
GRACE_S, GRACE = 2.0, 0.03


class OngoingRun:
    """A run while it goes on: what is planned, what is done, and where it is written."""

    def __init__(
        self,
        options: RunOptions,
        writer: RunWriter,
        plan: Plan,
        planned: dict[str, CellResult],
        kept: FromBefore = NOTHING,
        began: float | None = None,
    ) -> None:
        self.writer = writer
        self._options, self._plan, self._rows, self._kept = options, plan, planned, kept
        self._label = "before the first cell"
        self._in_work: tuple[Block, ...] = ()
        self._blocks: list[Block] = []
        self._budgeted: Budgeted | None = None
        self._seed = secrets.randbits(32) if options.seed is None else options.seed
        deadline, self._until = _deadline(options.budget_s, plan, began)
        started = datetime.fromisoformat(writer.info.started).timestamp()
        self._clock = RunClock(writer.info.run_id, started, deadline)
        self._left = [cell for cell in plan.cells if is_open(planned[cell.id])]
        timed = sum(cell.case is not None and cell.id not in plan.refused for cell in self._left)
        self._effort = options.effort.within(options.budget_s, timed)
        self._tight = options.budget_s is not None and is_tight(options.budget_s, timed)
        free = int(free_memory() * MEMORY_SHARE)
        self._limit = free if options.memory_limit is None else options.memory_limit
        self._groups = find_groups()
        self._spending = Spending()
        timeout_s, brief = self._effort.timeout_s, self._tight
        measured = [cell for cell in self._left if cell.id not in plan.refused]
        self._rates = Rates(measured, writer, self._spending, timeout_s, brief=brief, at_work=self._at_work)
        self._greeting, self._finishing = threading.Lock(), threading.Lock()
        self._auditor = Auditor(timeout_s, self._until, brief=brief)
        # What frameworks compile is shared by the processes of a run, where they can, and gone with it.
        self._shared = TemporaryDirectory(prefix="attnbench-shared-", ignore_cleanup_errors=True)

    def close(self) -> None:
        """End what judges, and what was shared."""
        self._auditor.close()
        self._shared.cleanup()

    def measure(self) -> None:
        """Everything that is left, block after block."""
        self.writer.event(
            "start",
            seed=self._seed,
            kept=self._kept.cells,
            kept_bursts=len(self._kept.samples),
            left=len(self._left),
            memory_limit=self._limit,
            control_groups=self._groups.describe(),
        )
        for cell_id, replicate in sorted(self._kept.unaudited):
            self.writer.event(WITHDRAWN, cell=cell_id, replicate=replicate, during="resuming")
        for cell in self._left:
            if cell.id in self._plan.refused:
                self._finish(rows.refused(self._rows[cell.id], self._plan.refused[cell.id]))
        left = {cell.id for cell in self._left} - set(self._plan.refused)
        blocks = [mine for cells in self._plan.blocks() if (mine := [cell for cell in cells if cell.id in left])]
        observed = [block for block in blocks if block[0].case is None]
        timed = [block for block in blocks if block[0].case is not None]
        if self._clock.deadline is not None and timed:
            self._time_within(timed, sum(map(len, timed)) / len(left))
        else:
            self._rates.measure()
            self._spending.began()
            self._time(timed)
        if observed:
            with self._spending.during("observing"):
                self._observe(observed)
        self._tell(None)

    def outcome(self, note: str | None) -> RunOutcome:
        """Close the run: complete and compacted, or partial and ready to be resumed."""
        finished = tuple(self._rows[cell.id] for cell in self._plan.cells)
        unmeasured, unweighed = sum(row.status == NOT_RUN for row in finished), self._unweighed()
        measured_share, by_suite = self._spending.measured_share(), self._spending.by_suite
        self.writer.event("spent", **self._spending.total(), measured_share=measured_share, by_suite=by_suite)
        resumed = self._kept.cells > 0
        shortened = self._budgeted.said(resumed=resumed) if self._budgeted is not None else []
        self.writer.event(SHORTENED, sentences=shortened)
        interrupted = note is not None
        code = exit_code(finished)
        if not unmeasured and not unweighed and note is None:
            self.writer.finish()
        else:
            why = "the budget was spent" if self._clock.spent() else "the budget is too short"
            note = f"{note or why}{unweighed}: {unmeasured} of {len(finished)} cells were not run"
            code = worst_exit({code, EXIT_INCONCLUSIVE})
            self.writer.event("partial", note=note)
            self.writer.close()
        return RunOutcome(
            self._clock.run_id,
            self.writer.folder,
            finished,
            code,
            kept=self._kept.cells,
            note=note,
            interrupted=interrupted,
            kept_bursts=len(self._kept.samples),
            bursts_lost=self._kept.bursts_lost,
            resumed=self._options.resume is not None,
            spending=self._spending,
            left_out=self._plan.left_out,
            shortened=tuple(shortened),
        )

    def _tell(self, next_cell: Cell | None, what: str = "") -> None:
        label = "" if next_cell is None else f"{next_cell.suite}: {self._rows[next_cell.id].case_label}"
        self._label = f"{label}, {what}" if what else label
        self._tell_how_far()

    def _tell_of(self, block: Block, what: str) -> None:
        self._tell(block.first, what)

    def _tell_of_the_one(self, block: Block, what: str) -> None:
        self._in_work = (block,)
        self._tell_of(block, what)

    def _tell_how_far(self) -> None:
        if self._options.progress is not None:
            done: float = sum(row.status != NOT_RUN for row in self._rows.values())
            for block in self._in_work:
                waiting = sum(self._rows[o.cell.id].status == NOT_RUN for o in block.alive())
                done += block.share * waiting
            self._options.progress(done, len(self._rows), self._label)

    def _at_work(self, what: str) -> None:
        self._tell_how_far()
        if self._options.at_work is not None:
            self._options.at_work(what)

    def _finish(self, row: CellResult) -> None:
        self._rows[row.cell_id] = row
        self.writer.cell(row)

    def _pool(self, threads: int, salt: str) -> Pool:
        return Pool(
            threads=threads,
            timeout_s=self._effort.timeout_s,
            rng=self._rng(salt),
            memory_limit=self._limit,
            groups=self._groups,
            greeted=self._greeted,
            noted=self.writer.event,
            until=self._until,
            shared=self._shared.name,
        )

    def _new_pool(self, threads: int, salt: str) -> Pool:
        """The processes of a pass; those of a run that goes on are not started as those before were."""
        return self._pool(threads, f"{salt} {self._kept.so_far} environment")

    def _pool_of_a_pass(self, first: str, threads: int, salt: str) -> Pool:
        """The same of a lap, which is known by its first block: each lap and number of threads has its own draws."""
        return self._new_pool(threads, f"{salt} {first} {threads}")

    def _rng(self, salt: str) -> random.Random:
        return random.Random(f"{self._seed} {salt}")  # noqa: S311  (an order to be repeatable, not secret)

    def _greeted(self, backend: str, hello: Hello, drawn: dict[str, Any]) -> None:
        self.writer.event("process", backend=backend, pid=hello.pid, import_s=hello.import_s, **drawn)
        with self._greeting:  # cells are weighed beside each other
            before: Fingerprint = self.writer.info.fingerprint
            after = before.with_framework(backend, hello.versions, hello.threads)
            if after != before:
                self.writer.update(self.writer.info.model_copy(update={"fingerprint": after}))

    def _time(self, blocks: list[list[Cell]]) -> None:
        """Timed blocks without a budget, lap by lap."""
        for lap in laps([self._block(cells, self._clock) for cells in blocks]):
            self._in_work = tuple(lap)
            first = lap[0].first.block_id
            Passes(
                lap,
                partial(self._pool_of_a_pass, first),
                self._finish_block,
                self._tell_of,
                self._rng(f"order {first}"),
            ).measure()

    def _time_within(self, blocks: list[list[Cell]], share: float) -> None:
        """Timed blocks under a budget, of which they have a share: the rest is for what is observed."""
        clock = replace(self._clock, deadline=time.monotonic() + share * self._clock.left())
        waiting = []
        for cells in blocks:
            suite = self._suite(cells[0].suite)
            waiting.append(Waiting(self._block(cells, clock), memory_first=suite is not None and suite.memory_first))
        self._budgeted = budgeted = Budgeted(
            waiting,
            clock,
            LookForecast(self._rates),
            self._new_pool,
            self._finish_block,
            self._tell_of_the_one,
            self.writer.event,
            tight=self._tight,
            goes_on=None if self._options.goes_on is None else self._goes_on,
        )
        some = {(cell.backend, cell.device, cell.threads): cell for cells in blocks for cell in cells}

        def ask(backend: str, device: str, threads: int, what: dict[str, Any]) -> Reply:
            return budgeted.pool_of(threads).ask(some[backend, device, threads], "ceilings", **what)

        self._auditor.start()
        try:
            self._rates.measure(ask)
            self._spending.began()
            budgeted.measure()
        finally:
            budgeted.close()

    def _goes_on(self, outcomes: Sequence[Outcome]) -> Collection[str]:
        """Which cells have further looks, of those whose row is a result: what was too fast to be true is none."""
        seen = [
            SeenCell(
                o.cell.id,
                o.cell.impl,
                o.samples,
                o.memory is not None,
                None if o.memory is None else o.memory.peak_bytes,
            )
            for o in outcomes
            if o.status == OK and o.stands and self._rows[o.cell.id].status == OK
        ]
        return () if self._options.goes_on is None else self._options.goes_on(seen)

    def _block(self, cells: list[Cell], clock: RunClock) -> Block:
        mine = {cell.id for cell in cells}
        earlier = [sample for sample in self._kept.samples if sample.cell_id in mine]
        threads, salt = cells[0].threads, f"{cells[0].block_id} {self._kept.so_far}"
        suite = self._suite(cells[0].suite)
        block = Block(
            cells,
            self._pool(threads, f"{salt} environment"),
            self._effort.at_most(suite.cell_s).at_least(suite.rounds) if suite else self._effort,
            clock,
            self.writer,
            self._rng(salt),
            earlier=earlier,
            begin_at=self._kept.begin_at(cell.id for cell in self._plan.cells if cell.block_id == cells[0].block_id),
            spending=self._spending,
            weigh=suite is None or suite.weigh,
            auditor=self._auditor,
            anchor=BesideBlock(anchor_for(cells), self._effort.limits),
            at_work=self._at_work,
        )
        self._blocks.append(block)
        return block

    def interrupted(self) -> str:
        """Keep the rows of blocks that lack nothing but memory; in words what an interrupt left, and what it lost."""
        for block in self._in_work:
            if block.complete and not self._rates.in_doubt(block.outcomes, block.first.device, block.first.threads):
                for outcome in block.to_weigh:
                    outcome.memory = Memory(None, INTERRUPTED)
                self._finish_block(block)
        lost = sum(outcome.unaudited for block in self._blocks for outcome in block.alive())
        words = f", {lost} bursts that were not audited yet do not count" if lost else ""
        return f"interrupted{words}"

    def _unweighed(self) -> str:
        """In words how many cells lack nothing but memory, which an interrupt left out; empty where none does."""
        count = sum((row.memory or {}).get("source") == INTERRUPTED for row in self._rows.values())
        return f", the memory of {count} cells was not measured" if count else ""

    def _finish_block(self, block: Block) -> None:
        """Its rows as they are now; the last row of a cell is the one that counts."""
        first = block.first
        ceilings, cached = self._rates.of(block.outcomes, first.device, first.threads)
        self._in_work = tuple(other for other in self._in_work if other is not block)
        for outcome in block.outcomes:
            if not self._keeps_its_row(outcome):
                self._finish(rows.finished(self._rows[outcome.cell.id], outcome, ceilings, cached))
        self._spending.ended(first.suite)

    def _keeps_its_row(self, outcome: Outcome) -> bool:
        """Whether a cell was a result before the run was broken off, and its look was left out or not begun since."""
        unseen = outcome.prepared is None and outcome.status in (OK, NOT_RUN)
        return unseen and self._rows[outcome.cell.id].status == OK

    def _suite(self, name: str) -> TimedSuite | None:
        """The suite of a timed cell, for its rules of measuring; a resumed run knows only its name."""
        planned = {suite.name: suite for suite in self._plan.suites}
        with suppress(UsageError):
            suite = planned.get(name) or discover.suite(name)
            return suite if isinstance(suite, TimedSuite) else None
        return None

    def _observe(self, blocks: list[list[Cell]]) -> None:
        """After the clocks, so that nobody is disturbed: several at once."""

        def finish(outcome: Outcome) -> None:
            with self._finishing:
                self._tell(outcome.cell)
                self._spending.ended(outcome.cell.suite)
                self._finish(rows.finished(self._rows[outcome.cell.id], outcome, None))

        def new_pool(threads: int, observer: int) -> Pool:
            return self._pool(threads, f"observe {threads} {observer}")

        threads = max(block[0].threads for block in blocks)
        observe_blocks(blocks, new_pool, finish, self._clock.spent, min(at_once(threads), len(blocks)))


def _deadline(budget_s: float | None, plan: Plan, began: float | None) -> tuple[float | None, float]:
    """When to begin nothing more (``None``: never), and until when an answer is waited for, of ``time.monotonic``."""
    if budget_s is None:
        return None, math.inf
    start = time.monotonic() if began is None else began
    suites = len({cell.suite for cell in plan.cells})
    closing_s = CLOSING_S + CLOSING_SUITE_S * suites + CLOSING_CELL_S * len(plan.cells)
    end = start + budget_s - min(closing_s, MOST_CLOSING * budget_s)
    return end, end + min(GRACE_S, GRACE * budget_s)
