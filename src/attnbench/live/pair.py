"""One pair of processes, from its start to a number for each cell: prepared, timed in quads, verified, judged."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from attnbench.live.duo import BOTH, Duo, Name, Twin, no_reply
from attnbench.live.twin_state import NOT_COMPARABLE, TwinState
from attnbench.measure.audits.auditor import AuditedProcess, Auditor
from attnbench.measure.audits.charges import by_the_system
from attnbench.measure.clock.outside import FEWEST
from attnbench.measure.clock.receipts import Limits, disturbance
from attnbench.workers.placement import first, needed, shuffled
from attnbench.workers.pool import DOUBTFUL
from attnbench.workers.protocol import OK, UNSUPPORTED, WRONG, Burst, Hello, Prepared, ProtocolError, Reply, value

AFTER_THE_GATE = ("burst", "steady", "answer", "audit", "rest", "verify")
ABBA: tuple[Name, ...] = ("A", "B", "B", "A")
BAAB: tuple[Name, ...] = ("B", "A", "A", "B")
# Both sides make the same number of calls in a burst, unless the number that suits one is more than this many times
# the number that suits the other.
ALIKE = 4
# How a worker says that its code does not have what it was asked to prepare, which is no failure of a kernel.
ABSENT = ("UsageError: unknown implementation", "no such file or folder")
# How one says that it does not know what it is asked at all: it runs other code than ours, and did not crash.
# In older revisions ``hello`` was the bench's.
UNSPOKEN = ("the worker has no operation", "General.hello() ", "Bench.hello() ", "UsageError: unknown backend")


@dataclass(frozen=True)
class PairedEffort:
    """The rules of measuring, fixed beforehand.

    ``quads`` of four bursts for a cell in each pair; one with a disturbed burst is measured again as a whole, at most
    ``retries`` times. ``memory_repeats`` fresh processes for the memory of a cell on each side, 0 for none.
    """

    quads: int = 4
    retries: int = 2
    memory_repeats: int = 3
    timeout_s: float = 120.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Greeting:
    """What a side says of itself as a pair begins."""

    side: Name
    hello: Hello


@dataclass(frozen=True)
class Failure:
    """A side that could not do for a cell what it was asked ``during``: it leaves the pair, and has no number of it."""

    state: TwinState
    side: Name
    reply: Reply
    during: str


class Pair:
    """One pair of processes, from its start to the numbers of its cells."""

    def __init__(
        self,
        duo: Duo,
        order: list[TwinState],
        record: dict[str, Any],
        *,
        effort: PairedEffort,
        rng: random.Random,
        clock: Callable[[], float],
        auditor: Auditor | None = None,
    ) -> None:
        self._auditor = auditor
        self._duo, self._order, self._record = duo, order, record
        self._effort, self._rng, self._clock = effort, rng, clock
        self._calls: dict[str, dict[Name, int]] = {}
        self._cache: dict[str, str] = {}
        self._seconds: dict[str, dict[Name, list[float]]] = {}
        self._lost: set[str] = set()
        self._began = clock()
        self.greeted_s: float | None = None
        # Seconds that a pair of the same cells takes whose agreement need not be checked any more.
        self.again_s: float | None = None

    def run(self) -> Iterator[Greeting | Failure]:
        """Prepare, quads in random order, verify, judge; greetings and failures, each as soon as it is seen.

        What a failure means for its cell is for the caller to say, before it asks for the next one: so an interrupt
        loses none of those before it.
        """
        checks = any(not state.verified for state in self._order)
        ready = yield from self._prepared()
        for state in ready:
            stage = state.judge.stage
            self._record["cells"][state.twin.id] = {"label": state.twin.label, "stage": stage, "bursts": []}
            self._seconds[state.twin.id] = {"A": [], "B": []}
        prepared = self._clock()
        for quad in range(self._effort.quads):
            for state in self._rng.sample(ready, len(ready)):
                if self._going_on(state) and self._alive():
                    yield from self._quad(state, quad)
        if checks and self.greeted_s is not None:
            # Half the time of the bursts is added for binding, the first call and finding the length of a burst, which
            # take less than all the bursts do.
            self.again_s = self.greeted_s + 1.5 * (self._clock() - prepared)
        for state in ready:
            yield from self._hold_to_the_clock_outside(state)
        finished = [state for state in ready if self._whole(state)]
        unverified = [state for state in finished if not state.verified]
        for state in unverified:
            yield from self._audit(state)
        yield from self._verify([state for state in unverified if not state.verified and self._going_on(state)])
        for state in finished:
            if state.status == OK and state.verified:
                self._judge(state)

    def _alive(self) -> bool:
        return all(worker.alive for worker in self._duo.workers.values())

    def _going_on(self, state: TwinState) -> bool:
        return state.status == OK and state.twin.id not in self._lost

    def _whole(self, state: TwinState) -> bool:
        """Whether a cell has all its quads: a part of them would give less to one side's drift than to the other's."""
        every = 2 * self._effort.quads
        return self._going_on(state) and all(len(seconds) == every for seconds in self._seconds[state.twin.id].values())

    def _fail(self, state: TwinState, side: Name, reply: Reply, during: str) -> Failure:
        """The failure; its cell is not asked again in this pair, whatever becomes of it later.

        What is prepared has passed the gate: to refuse it afterwards is wrong, whatever an older worker calls it.
        """
        self._lost.add(state.twin.id)
        if reply.status == UNSUPPORTED and during in AFTER_THE_GATE:
            reply = replace(reply, status=WRONG)
        return Failure(state, side, reply, during)

    def _prepared(self) -> Generator[Greeting | Failure, None, list[TwinState]]:
        """Greet and prepare both sides at once; the cells that both have ready, in the order of this pair."""
        hellos: dict[Name, Reply] = {}
        replies: dict[tuple[Name, str], Reply] = {}
        greeted: dict[Name, float] = {}

        def work(name: Name) -> None:
            hellos[name] = self._duo.hello(name, self._order[0].twin.cell(name))
            greeted[name] = self._clock() - self._began
            if not hellos[name].ok:
                return
            for state in self._order:
                if not self._duo.workers[name].alive:
                    return
                cell = state.twin.cell(name).to_dict()
                replies[name, state.twin.id] = self._duo.ask(name, "prepare", cell=cell, gate=not state.checked)

        self._duo.together(work)
        if not all(name in hellos and hellos[name].ok for name in BOTH):
            yield from self._not_greeted(hellos)
            return []
        self.greeted_s = max(greeted.values())
        for name in BOTH:
            try:
                hello = value(Hello, hellos[name])
            except ProtocolError as error:
                self._not_understood(str(error))
                return []
            yield Greeting(name, hello)
        for state in self._order:
            yield from self._ready(state, replies)
        return [state for state in self._order if state.twin.id in self._calls]

    def _not_greeted(self, hellos: Mapping[Name, Reply]) -> Iterator[Failure]:
        """A side whose process does not start: a failure of it, unless it does not know what it is asked."""
        for name in BOTH:
            reply = hellos.get(name, no_reply("nobody asked it"))
            if reply.ok:
                continue
            for state in self._order:
                if state.status == OK and reply.outside:
                    yield self._fail(state, name, reply, "hello")
                elif state.status == OK:
                    said = reply.reason or ""
                    unlike = reply.status not in DOUBTFUL or any(words in said for words in UNSPOKEN)
                    state.end(NOT_COMPARABLE if unlike else reply.status, name, f"its worker did not start: {said}")

    def _not_understood(self, reason: str) -> None:
        for state in self._order:
            state.end(NOT_COMPARABLE, None, f"the workers do not speak the same protocol: {reason}")

    def _ready(self, state: TwinState, replies: Mapping[tuple[Name, str], Reply]) -> Iterator[Failure]:
        """How many calls a burst of a cell has, which both sides have ready."""
        prepared: dict[Name, Prepared] = {}
        both = [replies.get((name, state.twin.id)) for name in BOTH]
        if all(reply is not None and reply.status == UNSUPPORTED for reply in both):
            state.end(UNSUPPORTED, None, both[0].reason if both[0] is not None else None)
            return
        for name in BOTH:
            reply = replies.get((name, state.twin.id))
            if reply is None:  # another cell has taken the process with it
                return
            if not reply.ok:
                if any(words in (reply.reason or "") for words in ABSENT):
                    state.end(NOT_COMPARABLE, name, f"it does not have this implementation: {reply.reason}")
                else:
                    yield self._fail(state, name, reply, "prepare")
                return
            try:
                prepared[name] = value(Prepared, reply)
            except ProtocolError as error:
                state.end(NOT_COMPARABLE, name, f"its worker speaks another protocol: {error}")
                return
        if not state.checked:
            state.exact = {name: prepared[name].precision for name in BOTH}
        state.checked = True
        self._calls[state.twin.id] = common_calls(prepared["A"].calls, prepared["B"].calls)
        self._cache[state.twin.id] = prepared["A"].states[0]

    def _quad(self, state: TwinState, number: int) -> Iterator[Failure]:
        """Four bursts; one of them over its limit, and all four are measured again, whatever they showed."""
        effort = self._effort
        for attempt in range(effort.retries + 1):
            pattern = self._rng.choice((ABBA, BAAB))
            processors = self._placed(state.twin)
            timed: list[tuple[Name, float]] = []
            why = None
            for position, name in enumerate(pattern):
                burst = yield from self._burst(state, name)
                if burst is None:
                    return
                why = disturbance(burst.receipt, burst.host_s, effort.limits)
                again = why is not None and attempt < effort.retries
                self._write(
                    state,
                    burst,
                    why,
                    quad=number,
                    attempt=attempt,
                    position=position,
                    side=name,
                    processors=processors,
                    again=again,
                )
                if again:
                    break
                timed.append((name, burst.wall_ns / 1e9 / burst.calls))
                state.disturbed += why is not None
            if len(timed) == len(pattern):
                break
            state.again += 1
        state.quads += 1
        for name, seconds in timed:
            self._seconds[state.twin.id][name].append(seconds)

    def _placed(self, twin: Twin) -> tuple[int, ...] | None:
        """The processors of a quad, the same for both sides; ``None`` where the system places them."""
        if twin.a.device != "cpu":
            return None
        count = max(needed(twin.cell(name)) for name in BOTH)
        return self._duo.place(first(shuffled(self._rng), count))

    def _burst(self, state: TwinState, name: Name, calls: int | None = None) -> Generator[Failure, None, Burst | None]:
        """One burst, by both clocks; of the calls that this pair has agreed on, unless others are asked for."""
        key = state.twin.id
        cell, calls = state.twin.cell(name), calls or self._calls[key][name]
        reply = self._duo.ask(name, "burst", cache=self._cache[key], cell_id=cell.id, calls=calls)
        if not reply.ok:
            yield self._fail(state, name, reply, "burst")
            return None
        try:
            burst = value(Burst, reply)
        except ProtocolError as error:
            state.end(NOT_COMPARABLE, name, f"its worker speaks another protocol: {error}")
            return None
        if not self._sane(state, name, burst):
            return None
        state.outside[name].add(reply, burst, cell)
        return burst

    def _hold_to_the_clock_outside(self, state: TwinState) -> Iterator[Failure]:
        """A side whose process does not tell the time has no numbers; where that is not sure it has further bursts."""
        for name in BOTH:
            outside = state.outside[name]
            for _ in range(FEWEST):
                if self._going_on(state) and self._alive() and outside.unsure:
                    yield from self._burst(state, name, outside.calls)
            if self._going_on(state) and (why := outside.broken()):
                yield self._fail(state, name, Reply(0, WRONG, why), "burst")

    def _sane(self, state: TwinState, name: Name, burst: Burst) -> bool:
        """A clock that stands still or goes backwards measures nothing; nor does one that says no number."""
        numbers = all(isinstance(number, (int, float)) for number in (burst.wall_ns, burst.calls))
        if numbers and burst.calls >= 1 and math.isfinite(burst.wall_ns) and burst.wall_ns > 0:
            return True
        state.end(NOT_COMPARABLE, name, f"its clock is broken: {burst.wall_ns!r} ns for {burst.calls!r} calls")
        return False

    def _write(self, state: TwinState, burst: Burst, why: str | None, **where: Any) -> None:
        raw = asdict(burst)
        over = {} if why is None else {"over": why}
        self._record["cells"][state.twin.id]["bursts"].append({**where, **raw, **over})

    def _audit(self, state: TwinState) -> Iterator[Failure]:
        """Once, after the clock: times and answers of both sides are those of their work; or of neither it is asked."""
        if self._auditor is None or None in (state.exact.get("A"), state.exact.get("B")):
            state.unaudited = "the worker of one side knows no audit"
            return
        for name in BOTH:
            failed: list[tuple[Reply, str]] = []
            ask = partial(self._asked, state, name, failed)
            call_s = statistics.median(self._seconds[state.twin.id][name])
            rest, move = self._duo.workers[name].working_s, partial(self._placed, state.twin)
            process = AuditedProcess(ask, partial(self._burst_beside, state, ask, name), rest, move)
            seen = self._auditor.audit(state.twin.cell(name), state.exact[name] or {}, call_s, process)
            if seen is None:
                yield from (self._fail(state, name, reply, during) for reply, during in failed)
                return
            self._record["cells"][state.twin.id].setdefault("audits", {})[name] = seen.told()
            if seen.wrong is not None:
                yield self._fail(state, name, Reply(0, WRONG, seen.wrong), "audit")
                return
            if seen.skipped is not None:
                state.unaudited = seen.skipped
                return
        state.verified = True

    def _asked(
        self, state: TwinState, name: Name, failed: list[tuple[Reply, str]], op: str, /, **arguments: Any
    ) -> Reply | None:
        """Ask one side for its cell; a failure is put into ``failed``."""
        reply = self._duo.ask(name, op, cell_id=state.twin.cell(name).id, **arguments)
        if reply.ok:
            return reply
        failed.append((reply, op))
        return None

    def _burst_beside(self, state: TwinState, ask: Callable[..., Reply | None], name: Name) -> Burst | None:
        """A burst beside an audit: like all others for its process."""
        reply = ask("burst", calls=self._calls[state.twin.id][name], cache=self._cache[state.twin.id])
        return None if reply is None else by_the_system(reply)

    def _verify(self, states: Sequence[TwinState]) -> Iterator[Failure]:
        """Once, after the clock, where there was no audit: what was timed gives the right answer, on both sides."""
        if not states:
            return
        replies: dict[tuple[Name, str], Reply] = {}

        def work(name: Name) -> None:
            for state in states:
                if self._duo.workers[name].alive:
                    cell = state.twin.cell(name)
                    replies[name, state.twin.id] = self._duo.ask(name, "verify", cell_id=cell.id)

        self._duo.together(work)
        for state in states:
            answers = [(name, replies.get((name, state.twin.id))) for name in BOTH]
            bad = [(name, reply) for name, reply in answers if reply is not None and not reply.ok]
            for name, reply in bad[:1]:
                yield self._fail(state, name, reply, "verify")
            state.verified = not bad and all(reply is not None for _, reply in answers)

    def _judge(self, state: TwinState) -> None:
        seconds = self._seconds[state.twin.id]
        medians = {name: statistics.median(seconds[name]) for name in BOTH}
        log_ratio = math.log(medians["B"] / medians["A"])
        state.log_ratios.append(log_ratio)
        for name in BOTH:
            state.seconds[name].append(medians[name])
        state.decided = state.judge.add(log_ratio) is not None
        self._record["cells"][state.twin.id] |= {
            "log_ratio": log_ratio,
            "medians": medians,
            "decided": state.decided,
        }


def common_calls(a: int, b: int) -> dict[Name, int]:
    """The calls in a burst of each side: the same number, or the cold first call of one would weigh more.

    Where the two numbers are too unlike (``ALIKE``) each side keeps its own.
    """
    a, b = max(a, 1), max(b, 1)
    if max(a, b) > ALIKE * min(a, b):
        return {"A": a, "B": b}
    middle = round(math.sqrt(a * b))
    return {"A": middle, "B": middle}
