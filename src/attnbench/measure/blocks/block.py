"""A block: the cells of one case, or of several, measured beside each other so that drift hits all alike.

For each replicate: processes that the block has not seen, one for each backend; every cell is prepared first; then
bursts of all cells in random order, round by round, only one process computing at a time while the others sleep in a
read. A cell that crashes, hangs or disagrees ends there, with its reason; its process is started again for the cells
that are left, and one that may have failed for another's doing is asked again in a process of its own (``Pool.again``).

Bursts count only where the process that timed them is audited. Where it is lost before, the look is none for the cells
in it: what it timed is withdrawn, and the block has one look more.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from attnbench.measure.anchor.beside import BesideBlock
from attnbench.measure.audits.auditor import AuditedProcess, Auditor
from attnbench.measure.audits.charges import by_the_system
from attnbench.measure.blocks.drawing import Draw
from attnbench.measure.blocks.effort import Effort, enough, exhausted
from attnbench.measure.blocks.outcome import Outcome, Recorder, RunClock
from attnbench.measure.blocks.spending import Spending
from attnbench.measure.blocks.weighed import Scales
from attnbench.measure.clock.outside import FEWEST, cpu_s
from attnbench.measure.clock.receipts import disturbance
from attnbench.results.journal import STANDS, WITHDRAWN
from attnbench.results.schema import Cache, Sample
from attnbench.suite import Cell
from attnbench.workers.placement import shuffled
from attnbench.workers.pool import MOST_KILLS, Pool
from attnbench.workers.protocol import NOT_RUN, OK, SPENT, WRONG, Burst, Memory, Prepared, Reply, Verified, value

# Of a cell whose process is lost more often than ``MOST_KILLS`` between its bursts and the end of their audit.
LOST = (
    "its process was lost {} times between its bursts and the end of their audit: bursts count only where the process "
    "that timed them is audited; the last time: {}"
)


class Block:
    """Measures the cells of one block, in replicates that are numbered from ``begin_at``.

    ``earlier`` are samples of a run that was broken off, which were audited there; they count.
    ``weigh`` is false where its suite does not ask for memory. Without an ``auditor`` the process of a kernel judges
    its own answers; without an ``anchor`` none is beside them. ``at_work(what)`` is told what is done next.

    ``passes`` asks for its parts: ``time`` and ``audit`` in every pass, ``weigh``, ``ended``. Under a budget
    ``leave_out`` cells, ``look`` once, ``weigh``, ``look`` again (``budgeted``).
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        pool: Pool,
        effort: Effort,
        clock: RunClock,
        recorder: Recorder,
        rng: random.Random,
        earlier: Sequence[Sample] = (),
        spending: Spending | None = None,
        *,
        begin_at: int = 0,
        weigh: bool = True,
        auditor: Auditor | None = None,
        anchor: BesideBlock | None = None,
        at_work: Callable[[str], None] | None = None,
    ) -> None:
        self.outcomes = [Outcome(c, samples=[s for s in earlier if s.cell_id == c.id], anchor=anchor) for c in cells]
        self._pool, self._effort, self._clock, self._recorder, self._rng = pool, effort, clock, recorder, rng
        self._spending, self._weighing, self._auditor = spending or Spending(), weigh, auditor
        self._anchor, self._draw = anchor, Draw()
        self._at_work = at_work or (lambda _: None)
        self._receipts: list[dict[str, object]] = []
        self._unaudited: list[Sample] = []
        self._keep_s, self._steps = 0.0, 0
        self._next = max([begin_at, *(sample.replicate + 1 for sample in earlier)])
        kept = min(len(outcome.replicates) for outcome in self.outcomes)
        self._looks = self._wanted = max(1, self._effort.replicates - kept)

    @property
    def share(self) -> float:
        """How much of it is done, about: of preparing, timing and auditing for each look, and of memory."""
        looks = self._next + self._looks
        return min(1.0, self._steps / max(1, len(self.outcomes) * (3 * looks + self._weighing)))

    @property
    def first(self) -> Cell:
        """Its first cell; all are of one suite, with the same threads."""
        return self.outcomes[0].cell

    @property
    def looks_left(self) -> int:
        """How many replicates are still wanted."""
        return self._looks if self.alive() else 0

    @property
    def to_weigh(self) -> list[Outcome]:
        """Those whose memory is still to be measured."""
        return [outcome for outcome in self.alive() if self._weighing and outcome.memory is None]

    @property
    def complete(self) -> bool:
        """Whether nothing is to be timed or audited any more."""
        alive, wanted = self.alive(), self._effort.replicates
        return all(o.prepared and len(o.replicates) >= wanted and not o.unaudited for o in alive)

    def at_least(self, bursts: int) -> None:
        """From now on each of its cells has so many bursts in a look."""
        self._effort = self._effort.at_least(bursts)

    def as_few_as_possible(self) -> None:
        """From now on a look has no more bursts of a cell than it has to have."""
        self._effort = replace(self._effort, cell_s=0.0)

    def leave_out(self, reasons: Mapping[str, str]) -> None:
        """Cells, by id, that are not measured for now, and why."""
        for outcome in self.outcomes:
            if outcome.cell.id in reasons:
                outcome.status, outcome.reason, outcome.left_out = NOT_RUN, reasons[outcome.cell.id], True

    def left_out(self) -> list[Outcome]:
        """Those that were left out."""
        return [o for o in self.outcomes if o.left_out]

    def look_at(self, cells: Collection[str], pool: Pool, keep_s: float) -> None:
        """A look at cells, by id, that were left out before, and at no others."""
        looks, others = self._looks, [outcome for outcome in self.alive() if outcome.cell.id not in cells]
        for outcome in self.left_out():
            if outcome.cell.id in cells:
                outcome.status, outcome.reason, outcome.left_out = OK, None, False
        for outcome in others:
            outcome.cut = True
        self.look(pool, keep_s)
        self._looks = min(looks, self._wanted - 1)  # for the others it was none
        for outcome in others:
            outcome.cut = False

    def look(self, pool: Pool | None = None, keep_s: float = 0.0) -> None:
        """One replicate, timed and audited; so many seconds of the budget are kept for the audits."""
        self.time(pool, keep_s)
        self.audit(shared=pool is not None)

    def time(self, pool: Pool | None = None, keep_s: float = 0.0) -> None:
        """The first half of a look; its cells stay prepared for the second."""
        self._pool, self._keep_s, replicate = pool or self._pool, keep_s, self._next
        self._next, self._looks = self._next + 1, self._looks - 1
        for outcome in self.outcomes:
            outcome.timed_by = None
        self._replicate(replicate)
        self._hold_to_the_clock_outside(replicate)

    def audit(self, *, shared: bool) -> None:
        """The second half. Processes that are ``shared`` with other blocks then forget this one."""
        replicate = self._next - 1
        with self._spending.during("audit"):
            self._audit(replicate)
        self._looks += any(replicate in outcome.lost for outcome in self.alive())
        if self._unaudited:
            self._recorder.samples(self._unaudited)
            self._unaudited = []
        for outcome in self.outcomes if shared else ():
            self._pool.release(outcome.cell)

    def weigh(self) -> None:
        """The memory of every cell, where its suite asks for it."""
        if self._weighing:
            with self._spending.during("memory"):
                scales = Scales(self._pool, self._auditor, self._clock.spent, self._do, self._take_memory)
                scales.weigh(self._shuffled(self.to_weigh))

    def ended(self) -> list[Outcome]:
        """The outcomes, when nothing more is done."""
        for outcome in self.alive():
            if outcome.prepared is None:
                outcome.status, outcome.reason = NOT_RUN, f"{SPENT} before its turn"
            elif not outcome.stands:
                outcome.status, outcome.reason = NOT_RUN, f"{SPENT} before it was timed and audited"
            elif self._weighing and outcome.memory is None:
                outcome.memory = Memory(None, f"not measured: {SPENT}")
        return self.outcomes

    def _do(self, what: str) -> None:
        """Tell what is done next, which is a step."""
        self._steps += 1
        self._at_work(what)

    def alive(self) -> list[Outcome]:
        """Those that are still to be measured."""
        return [outcome for outcome in self.outcomes if outcome.alive]

    def _shuffled(self, outcomes: list[Outcome]) -> list[Outcome]:
        return self._rng.sample(outcomes, len(outcomes))

    def _replicate(self, replicate: int) -> None:
        with self._spending.during("prepare"):
            for outcome in self._shuffled(self.alive()):
                if not self._clock.spent(self._keep_s):
                    self._prepare(outcome, replicate)
        # One whose process another cell has taken with it is prepared again at its burst.
        ready = [outcome for outcome in self.alive() if outcome.prepared is not None]
        self._steps += len(ready)
        with self._spending.during("rounds"):
            if self._anchor is not None and ready:
                self._anchor.begin(self._pool)
            while ready and not self._clock.spent(self._keep_s):
                order, processors = self._shuffled(ready), shuffled(self._rng)
                for outcome in order:
                    self._at_work(f"timing {outcome.cell.impl}")
                    self._pool.place(outcome.cell, processors)
                    self._counted_burst(outcome, replicate)
                ids = [outcome.cell.id for outcome in order]
                self._write_receipts("round", replicate=replicate, order=ids, processors=processors)
                ready = self._wanting(ready, replicate)

    def _wanting(self, ready: list[Outcome], replicate: int) -> list[Outcome]:
        """Those that go on to the next round.

        Cells of one implementation are there to be paired, round by round: one whose own interval is narrow stays while
        another has not enough. One that has had its seconds leaves, so that a slow one is not held by a fast one.
        """
        left = [o for o in ready if o.goes_on(replicate) and not exhausted(self._effort, o.samples, replicate)]
        wanting = {outcome.cell.impl for outcome in left if not enough(self._effort, outcome.samples, replicate)}
        return [outcome for outcome in left if outcome.cell.impl in wanting]

    def _hold_to_the_clock_outside(self, replicate: int) -> None:
        """End the cells whose process does not tell the time; where that is not sure further bursts are asked for."""
        for outcome in self.alive():
            for _ in range(FEWEST):
                if outcome.goes_on(replicate) and outcome.outside.unsure and not self._clock.spent(self._keep_s):
                    reply = self._ask_prepared(outcome, replicate, "burst", calls=outcome.outside.calls)
                    if reply is not None:
                        outcome.outside.add(reply, value(Burst, reply), outcome.cell)
            if outcome.alive and (why := outcome.outside.broken()):
                self._end(outcome, Reply(0, WRONG, why), "burst")

    def _audit(self, replicate: int) -> None:
        """After the clock, of each process: the times of its cells are those of their work, and the answers are right.

        What was measured is audited even where the budget is spent: it would otherwise be believed without an audit.
        """
        for outcome in self.alive():
            prepared = outcome.prepared
            if prepared is None or not any(s.replicate == replicate and not s.warmup for s in outcome.samples):
                continue
            self._do(f"auditing {outcome.cell.impl}")
            seen, in_full = None, False
            if self._auditor is not None and prepared.precision is not None:
                call_s = outcome.seconds_of(replicate)
                ask = partial(self._ask_prepared, outcome, replicate)
                burst = partial(self._uncounted_burst, outcome, replicate)
                rest = partial(self._pool.working_s, outcome.cell)
                process = AuditedProcess(ask, burst, rest, partial(self._move, outcome))
                in_full = bool(outcome.audited) and self._draw.in_full(outcome.cell.id, self._looks)
                earlier = [] if in_full else outcome.audited
                seen = self._auditor.audit(outcome.cell, prepared.precision, call_s, process, earlier)
                if seen is None:
                    continue
                in_full = in_full and seen.skipped is None
                if seen.skipped is not None and self._clock.spent():
                    self._end(outcome, Reply(0, NOT_RUN, f"{SPENT} before its times were audited"), "audit")
                    continue
                outcome.audited += seen.rounds if seen.skipped is None else []
                self._recorder.event("audit", cell=outcome.cell.id, **seen.told())
                outcome.kernel_s = outcome.kernel_s if seen.kernel_s is None else seen.kernel_s
                if seen.wrong is not None:
                    self._end(outcome, Reply(0, WRONG, seen.wrong), "audit")
            if seen is None or seen.skipped is not None:
                reply = self._ask_prepared(outcome, replicate, "verify")
                if reply is None:
                    continue
                outcome.kernel_s = value(Verified, reply).kernel_s
            if outcome.alive:
                outcome.stood.add(replicate)
                self._draw.stands(outcome.cell.id, in_full=in_full)
                self._recorder.event(STANDS, cell=outcome.cell.id, replicate=replicate)

    def _move(self, outcome: Outcome) -> None:
        self._pool.place(outcome.cell, shuffled(self._rng))

    def _uncounted_burst(self, outcome: Outcome, replicate: int) -> Burst | None:
        """A burst beside an audit: like all others for its process."""
        reply = self._ask_prepared(outcome, replicate, "burst", cache=outcome.first_state)
        return None if reply is None else by_the_system(reply)

    def _prepare(self, outcome: Outcome, replicate: int) -> None:
        self._do(f"preparing {outcome.cell.impl}")
        # Agreement is checked once: the same code on the same inputs does not need the oracle again.
        gate, calls = (True, 0) if outcome.prepared is None else (False, outcome.prepared.calls)
        how = {"gate": gate, "brief": self._effort.brief, "calls": calls}
        reply = self._pool.ask(outcome.cell, "prepare", cell=outcome.cell.to_dict(), **how)
        if not reply.ok:
            self._end(outcome, reply, "prepare")
            return
        prepared = value(Prepared, reply)
        self._pool.hold(outcome.cell)
        if outcome.prepared is None:
            outcome.prepared, outcome.error_ratio = prepared, prepared.error_ratio
            outcome.import_s = self._pool.import_s(outcome.cell) + prepared.import_s
        for burst in prepared.bursts():
            self._record(outcome, burst, replicate, warmup=True)
        self._write_receipts("prepared", replicate=replicate, cell=outcome.cell.id)

    def _counted_burst(self, outcome: Outcome, replicate: int) -> None:
        """One burst that counts, in each cache state."""
        for state in [] if outcome.prepared is None else outcome.prepared.states:
            if outcome.goes_on(replicate):
                self._undisturbed_burst(outcome, replicate, state)

    def _undisturbed_burst(self, outcome: Outcome, replicate: int, state: Cache) -> None:
        """A burst; one with a receipt over the limit is kept, marked, and measured again."""
        for attempt in range(self._effort.retries + 1):
            reply = self._ask_prepared(outcome, replicate, "burst", cache=state)
            if reply is None:
                return
            burst = value(Burst, reply)
            outcome.outside.add(reply, burst, outcome.cell)
            burst = replace(burst, cpu_ns=round(1e9 * cpu_s(reply, burst)))
            why = disturbance(burst.receipt, burst.host_s, self._effort.limits)
            again = why is not None and attempt < self._effort.retries
            anchor_s = None if self._anchor is None else self._anchor.burst(self._pool, outcome.cell)
            self._record(outcome, burst, replicate, disturbed=again, why=why, anchor_s=anchor_s)
            if not again:
                return

    def _ask_prepared(self, outcome: Outcome, replicate: int, op: str, **arguments: object) -> Reply | None:
        """Ask for what needs a prepared cell; where its process is gone it is prepared again. ``None`` at its end.

        One that had timed bursts of this look is gone with them (``_lose``): then ``None`` as well.
        """
        while True:
            if outcome.timed_by not in (None, self._pool.process_of(outcome.cell)):
                self._lose(outcome, replicate, op)
                return None
            if not self._pool.holds(outcome.cell):
                self._prepare(outcome, replicate)
                if not outcome.alive:
                    return None
            reply = self._pool.ask(outcome.cell, op, cell_id=outcome.cell.id, **arguments)
            if reply.ok:
                return reply
            if not self._pool.again(outcome.cell, op, reply):
                self._end(outcome, reply, op)
                return None
            outcome.losses += outcome.timed_by is not None
            if outcome.losses > MOST_KILLS:
                self._end(outcome, replace(reply, reason=LOST.format(outcome.losses, reply.reason)), op)
                return None

    def _lose(self, outcome: Outcome, replicate: int, during: str) -> None:
        """What a process timed that is gone before it was audited is no part of the results; the look goes on."""
        outcome.lose(replicate)
        self._unaudited = [sample for sample in self._unaudited if sample.cell_id != outcome.cell.id]
        self._recorder.event(WITHDRAWN, cell=outcome.cell.id, replicate=replicate, during=during)

    def _record(
        self,
        outcome: Outcome,
        burst: Burst,
        replicate: int,
        *,
        warmup: bool = False,
        disturbed: bool = False,
        why: str | None = None,
        anchor_s: float | None = None,
    ) -> None:
        """Write a burst down, at once. ``why`` it was over a limit stands in its receipt, even where it was kept."""
        sample = outcome.sampled(burst, self._clock, replicate, warmup=warmup, disturbed=disturbed, anchor_s=anchor_s)
        outcome.samples.append(sample)
        if not warmup:
            outcome.timed_by = self._pool.process_of(outcome.cell)
        self._spending.burst(sample)
        if replicate and self._clock.deadline is not None:
            self._unaudited.append(sample)
        else:
            self._recorder.samples([sample])
        over = {} if why is None else {"over": why}
        self._receipts.append({"cell": outcome.cell.id, "burst": sample.burst, **burst.receipt, **over})

    def _write_receipts(self, name: str, **detail: object) -> None:
        """Receipts are written by the round: a second write to the disk for every burst would cost as much as it."""
        receipts, self._receipts = self._receipts, []
        self._recorder.event(name, receipts=receipts, **detail)

    def _take_memory(self, outcome: Outcome, reply: Reply | None) -> None:
        if reply is None or reply.status == NOT_RUN:
            outcome.memory = Memory(None, f"not measured: {SPENT}")
        elif reply.ok:
            outcome.memory = value(Memory, reply)
        else:
            self._end(outcome, reply, "memory")

    def _end(self, outcome: Outcome, reply: Reply, during: str) -> None:
        if reply.status == NOT_RUN and outcome.cut_off(self._next - 1):
            self._unaudited = [sample for sample in self._unaudited if sample.cell_id != outcome.cell.id]
        else:
            outcome.end(reply)
        self._recorder.event("ended", cell=outcome.cell.id, during=during, status=reply.status, reason=reply.reason)
