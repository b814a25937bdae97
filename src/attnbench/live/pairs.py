"""Two versions measured in pairs of fresh processes: one number for a cell and pair, until a judge has heard enough.

For every pair: two processes, both alive, one for each side; of every cell that is still open some quads, ABBA or BAAB,
of bursts; the number is the logarithm of the ratio of the medians, above 0 where B is slower. The judge is given, since
measuring knows no statistics: it takes a number and says when a cell is decided, and the cell leaves. So the time goes
to the hard ones. What is drawn (hash seeds, environment size, order of cells, who starts, ABBA or BAAB) is recorded.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from attnbench.live.duo import BOTH, Drawn, Duo, Name, Side, Start, Twin, no_reply
from attnbench.live.pair import Failure, Greeting, Pair, PairedEffort
from attnbench.live.twin_state import NOT_COMPARABLE, Judge, TwinState
from attnbench.measure.audits.auditor import Auditor
from attnbench.workers.pool import DOUBTFUL, MOST_KILLS
from attnbench.workers.process import WorkerProcess
from attnbench.workers.protocol import NOT_RUN, OK, SPENT, Memory, ProtocolError, Reply, value
from attnbench.workers.weighing import weigh

INTERRUPTED = "interrupted"

# At most this share of the budget is kept for the memory runs; and so many seconds for what comes after all runs.
MOST_RESERVED, CLOSING_S, MOST_CLOSING = 0.25, 1.0, 0.2
# An answer is waited for so much longer than the budget, in seconds and as a share of it.
GRACE_S, GRACE = 2.0, 0.03
# Seconds of a start, and of a cell in its first pair, in which it is checked and audited; until one was seen.
FIRST_START_S, FIRST_CELL_S = 1.5, 3.0
TOO_SHORT = f"the budget is too short for a pair; a first one may take {FIRST_START_S + FIRST_CELL_S:g} s and more"
# Forecasts are made from this many pairs.
RECENT = 8

Progress = Callable[[int, int, str], None]
# Whether the peaks of both sides, in bytes, leave a question that further processes may answer.
Doubtful = Callable[[Sequence[int], Sequence[int]], bool]


def usable(budget_s: float) -> float:
    """Seconds of a budget in which something may be begun; what comes after all runs has the rest."""
    return budget_s - min(CLOSING_S, MOST_CLOSING * budget_s)


class PairRecorder(Protocol):
    """Where pairs are written down, at once."""

    def pair(self, record: Mapping[str, Any]) -> None:
        """All of one pair, raw bursts included."""

    def event(self, name: str, **detail: Any) -> None:
        """Something else that happened."""


@dataclass(frozen=True)
class PairsOutcome:
    """What the pairs left. ``note`` says why it is partial; ``pair_s`` forecasts seconds for a pair of one cell."""

    states: tuple[TwinState, ...]
    pairs: int
    seconds: float
    note: str | None
    startup_s: float
    cell_s: float
    versions: Mapping[str, Mapping[str, Any]]


class Pairs:
    """Runs pair after pair, then the memory runs. ``clock`` and ``start`` can be put in place of the real ones."""

    def __init__(
        self,
        sides: Mapping[Name, Side],
        twins: Sequence[Twin],
        judge: Callable[[], Judge],
        recorder: PairRecorder,
        rng: random.Random,
        *,
        effort: PairedEffort | None = None,
        budget_s: float | None = None,
        memory_limit: int = 0,
        doubtful: Doubtful = lambda _a, _b: False,
        start: Start = WorkerProcess,
        clock: Callable[[], float] = time.monotonic,
        progress: Progress | None = None,
        auditor: Auditor | None = None,
        began: float | None = None,
    ) -> None:
        self._auditor = auditor
        self.states = [TwinState(twin, judge()) for twin in twins]
        self._sides, self._recorder, self._rng = sides, recorder, rng
        self._effort = effort or PairedEffort()
        self._limit, self._start, self._clock, self._progress = memory_limit, start, clock, progress
        self._doubtful = doubtful
        self._began = clock() if began is None else began
        self._budget_s = math.inf if budget_s is None else budget_s
        self._end = self._began + usable(self._budget_s)
        self._pairs = 0
        self._starts: list[float] = []
        self._cells: list[float] = []
        self._firsts: list[float] = []
        self._weighings: list[float] = []
        self._versions: dict[str, Mapping[str, Any]] = {}

    def measure(self) -> PairsOutcome:
        """Everything, within the budget; an interrupt ends it, and what is there counts."""
        note = None
        try:
            self._refuse()
            while self._round():
                pass
            if any(state.open for state in self.states):
                note = SPENT if self._pairs else TOO_SHORT
            self._weigh()
        except KeyboardInterrupt:
            note = INTERRUPTED
        return PairsOutcome(
            tuple(self.states),
            self._pairs,
            self._clock() - self._began,
            note,
            _mean(self._starts),
            _mean(self._cells),
            self._versions,
        )

    def add(self, twin: Twin, judge: Judge) -> TwinState:
        """One cell more, for who chooses himself which cells the next ``pair`` has."""
        state = TwinState(twin, judge)
        self.states.append(state)
        return state

    @property
    def startup_s(self) -> float:
        """Seconds in which both processes of a pair start, by those that did; 0 before the first."""
        return _mean(self._starts)

    def _refuse(self) -> None:
        for name in BOTH:
            if (problem := self._sides[name].problem) is not None:
                for state in self.states:
                    if state.status == OK:
                        state.end(NOT_COMPARABLE, name, problem)

    def _round(self) -> bool:
        """One pair for every group of open cells that there is time for; whether there was any."""
        ran = False
        groups = self._groups()
        for group in self._rng.sample(groups, len(groups)):
            fitting = self._fitting(group)
            if fitting:
                self._tell(fitting)
                self.pair(fitting)
                ran = True
        return ran

    def _groups(self) -> list[list[TwinState]]:
        """Cells that share processes; one that may have failed for another's doing has processes of its own."""
        groups: dict[tuple[str, ...], list[TwinState]] = {}
        for state in self.states:
            if state.open:
                alone = (state.twin.id,) if state.apart or state.twin.a.files or state.twin.b.files else ()
                groups.setdefault((*state.twin.processes, *alone), []).append(state)
        return list(groups.values())

    def left(self) -> float:
        """Seconds until nothing more is begun."""
        return self._end - self._clock()

    def _fitting(self, group: Sequence[TwinState]) -> list[TwinState]:
        """The cells of a group that there is time for; those without a pair come first, and share the time with others.

        A first pair takes longer than those after it, for its cells are checked and audited.
        """
        new = [state for state in group if not state.tried]
        if not new:
            needed_s = _mean(self._starts) + _mean(self._cells) * len(group)
            return list(group) if self.left() - self._reserve() >= needed_s else []
        if math.isinf(self.left()):
            return list(group)
        start_s, cell_s = _mean(self._starts) or FIRST_START_S, _mean(self._firsts) or FIRST_CELL_S
        waiting = sum(any(not state.tried for state in other) for other in self._groups())
        count = int((self.left() / waiting - start_s) / cell_s)
        if count < 1:  # of its share not one can be measured, but perhaps of all that is left
            count = int(self.left() >= start_s + cell_s)
        return self._rng.sample(new, min(count, len(new)))

    def _reserve(self) -> float:
        """Seconds for the memory runs of every cell."""
        alive = sum(state.status == OK for state in self.states)
        expected = self._effort.memory_repeats * alive * (_mean(self._starts) + _mean(self._cells) / 4)
        return min(expected, MOST_RESERVED * self._budget_s)

    def _tell(self, group: Sequence[TwinState]) -> None:
        if self._progress is not None:
            done = sum(not state.open for state in self.states)
            self._progress(done, len(self.states), f"pair {self._pairs + 1}: {len(group)} cells open")

    def pair(
        self, group: list[TwinState], effort: PairedEffort | None = None, *, steady: bool = False
    ) -> dict[str, Any]:
        """One pair of processes with these cells, which share them; the record of it, which is written by now.

        ``steady``: freed memory stays with the processes, so that no cell's time depends on the sizes of the others.
        """
        drawn, began = Drawn.by(self._rng), self._clock()
        order = self._rng.sample(group, len(group))
        record: dict[str, Any] = {"pair": self._pairs, "drawn": drawn.to_dict(), "cells": {}}
        self._pairs += 1
        with self._duo(group[0].twin, drawn) as duo:
            pair = Pair(
                duo,
                order,
                record,
                effort=effort or self._effort,
                rng=self._rng,
                clock=self._clock,
                auditor=self._auditor,
            )
            for seen in pair.run():
                if isinstance(seen, Greeting):
                    self._versions[f"{seen.side} {self._sides[seen.side].label}"] = dict(seen.hello.versions)
                    if steady:  # before the first quad: a greeting is told when all is prepared
                        duo.ask(seen.side, "steady", cell_id=group[0].twin.cell(seen.side).id)
                else:
                    self._failed(seen, alone=len(group) == 1)
        record["seconds"] = self._clock() - began
        if pair.greeted_s is not None and any(not state.tried for state in group):
            self._firsts.append((record["seconds"] - pair.greeted_s) / len(group))
        for state in group:
            state.tried = True
        if pair.greeted_s is not None:
            self._starts.append(pair.greeted_s)
            took = record["seconds"] if pair.again_s is None else pair.again_s
            self._cells.append((took - pair.greeted_s) / len(group))
        record["greeted_s"] = pair.greeted_s
        self._recorder.pair(record)
        return record

    def _duo(self, twin: Twin, drawn: Drawn) -> Duo:
        return Duo(
            self._sides,
            twin,
            drawn,
            start=self._start,
            memory_limit=self._limit,
            timeout_s=self._effort.timeout_s,
            left=lambda: self.left() + min(GRACE_S, GRACE * self._budget_s),
        )

    def _failed(self, failure: Failure, *, alone: bool) -> None:
        """Take a failure: the cell's own, or somebody else's doing, which is to be seen in another pair."""
        state, side, reply = failure.state, failure.side, failure.reply
        detail = {"cell": state.twin.id, "side": side, "during": failure.during, "status": reply.status}
        if reply.status == NOT_RUN:  # it says nothing of the cell, which keeps what was seen of it before
            self._recorder.event("cut", **detail)
            return
        if reply.outside and state.kills < MOST_KILLS:
            state.kills += 1
            self._recorder.event("again", **detail, why="its process was ended from outside", reason=reply.reason)
        elif reply.status in DOUBTFUL and not alone and not state.apart:
            state.apart = True
            self._recorder.event("again", **detail, why="others had been in its process", reason=reply.reason)
        else:
            state.end(reply.status, side, reply.reason)
            self._recorder.event("ended", **detail, reason=reply.reason)

    def _weigh(self) -> None:
        """A run of its own, after the clocks: fresh processes for every cell and repeat, both sides at once.

        Where the first ones leave a question there are as many again, once every cell has had its first.
        """
        for state in self._rng.sample(self.states, len(self.states)):
            self._weigh_often(state, "its memory was measured")
        for state in self._rng.sample(self.states, len(self.states)):
            if self._doubtful(state.memory["A"], state.memory["B"]):
                self._weigh_often(state, "its memory was measured again")

    def _weigh_often(self, state: TwinState, what: str) -> None:
        for _ in range(self._effort.memory_repeats):
            if state.status != OK or state.memory_reason is not None:
                return
            if self.left() < _mean(self._weighings):
                state.memory_reason = f"the budget was spent before {what}"
                return
            began = self._clock()
            self._weigh_once(state)
            self._weighings.append(self._clock() - began)

    def _weigh_once(self, state: TwinState, tries: int = 1) -> None:
        replies: dict[Name, Reply] = {}
        drawn = Drawn.by(self._rng)
        with self._duo(state.twin, drawn) as duo:

            def work(name: Name) -> None:
                cell = state.twin.cell(name)
                hello = duo.hello(name, cell)
                replies[name] = (
                    weigh(partial(duo.ask, name), lambda: duo.workers[name].pid, cell) if hello.ok else hello
                )

            duo.together(work)
            self._hold_to_the_judge(state, duo, replies)
        if any(reply.outside for reply in replies.values()) and tries < MOST_KILLS:
            self._weigh_once(state, tries + 1)
            return
        memories: dict[Name, Memory] = {}
        for name in BOTH:
            reply = replies.get(name, no_reply("nobody asked it"))
            if reply.status == NOT_RUN:
                state.memory_reason = f"{SPENT} while its memory was measured"
                return
            if not reply.ok:
                state.memory_status, state.memory_reason = reply.status, f"{name}: {reply.reason}"
                return
            try:
                memories[name] = _memory(reply)
            except ProtocolError as error:
                state.memory_status = NOT_COMPARABLE
                state.memory_reason = f"{name}: its worker speaks another protocol: {error}"
                return
        peaks = {name: memory.peak_bytes for name, memory in memories.items()}
        state.memory_unknown = tuple(name for name in BOTH if peaks[name] is None)
        if state.memory_unknown:
            state.memory_reason = "; ".join(f"{name}: {memories[name].source}" for name in state.memory_unknown)
            return
        for name, peak in peaks.items():
            state.memory[name].extend([] if peak is None else [peak])
        self._recorder.event("memory", cell=state.twin.id, drawn=drawn.to_dict(), peak_bytes=peaks)

    def _hold_to_the_judge(self, state: TwinState, duo: Duo, replies: dict[Name, Reply]) -> None:
        """The answers of the calls that were weighed are right, or their memory is none that counts."""
        if self._auditor is None or None in (state.exact.get("A"), state.exact.get("B")):
            return
        for name in BOTH:
            cell = state.twin.cell(name)
            if cell.device != "cpu" or name not in replies or not replies[name].ok:
                continue
            ask = partial(duo.ask, name, cell_id=cell.id)
            replies[name] = self._auditor.answered(cell, state.exact[name] or {}, ask) or replies[name]


def _memory(reply: Reply) -> Memory:
    """What a side says of its memory; ``ProtocolError`` for what is no number of bytes, such as NaN."""
    memory = value(Memory, reply)
    peak = memory.peak_bytes
    if peak is not None and (not isinstance(peak, int) or peak < 0):
        msg = f"a peak of {peak!r} bytes"
        raise ProtocolError(msg)
    return memory


def _mean(values: Sequence[float]) -> float:
    """The mean of the last few; 0 where there is none."""
    return statistics.fmean(values[-RECENT:]) if values else 0.0
