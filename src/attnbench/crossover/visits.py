"""Two implementations, both alive: pair after pair of fresh processes, each of which visits places that are open."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from attnbench.crossover.evidence import AxisPlace
from attnbench.crossover.question import CrossoverQuestion
from attnbench.crossover.schedule import BURST_S, Cost, Schedule
from attnbench.crossover.search import Search
from attnbench.live.duo import BOTH
from attnbench.live.pair import PairedEffort
from attnbench.live.pairs import Pairs
from attnbench.live.twin_state import TwinState
from attnbench.show.units import roughly
from attnbench.workers.protocol import CRASHED, NOT_RUN, OK, OOM, TIMEOUT, UNSUPPORTED, WRONG

# Quads of a place in a pair, and where a call takes longer than so many seconds one is enough.
QUADS, LONG_S = 2, 0.2
EFFORT = PairedEffort(quads=QUADS, retries=1, memory_repeats=0)
# What is true of larger places too; of a crash that is known when a second place crashes.
TOO_MUCH = (OOM, TIMEOUT)
STOPPED = {OOM: "out of memory", TIMEOUT: "it took too long", UNSUPPORTED: "not supported"}


@dataclass(frozen=True)
class Stop:
    """A place at which an implementation could not be measured (``side`` is its name), or for which there was no time.

    ``beyond``: larger ones were not tried for it.
    """

    x: int
    side: str | None
    status: str
    reason: str
    beyond: bool = False


@dataclass
class Match:
    """Two of the implementations: their search, their pairs and what these cost."""

    a: str
    b: str
    question: CrossoverQuestion
    pairs: Pairs
    search: Search
    schedule: Schedule
    stops: list[Stop] = field(default_factory=list)
    states: dict[int, TwinState] = field(default_factory=dict)

    def visit(self, left_s: float, waiting: int = 1) -> bool:
        """One pair of processes more; false where nothing is wanted, or there is no time for what is.

        So many matches ``waiting`` share the time that is left.
        """
        self._leave_out_what_is_dear()
        wanted = self.search.wanted(self.schedule.pairs_in(left_s / waiting))
        group = self._together(self.schedule.fitting(wanted, left_s))
        if not group:
            self._say_untried()
            return False
        states = [self._state(place) for place in group]
        slow = any((cost := self.schedule.cost(place.x)) is not None and cost.call_s > LONG_S for place in group)
        before = {place.x: len(place.values) for place in group}
        record = self.pairs.pair(states, replace(EFFORT, quads=1) if slow else EFFORT, steady=True)
        self._learn(record, states, before)
        self._stop(group)
        return True

    def _state(self, place: AxisPlace) -> TwinState:
        if place.x not in self.states:
            self.states[place.x] = self.pairs.add(self.question.twin(self.a, self.b, place.x), place)
        return self.states[place.x]

    def _together(self, places: Sequence[AxisPlace]) -> list[AxisPlace]:
        """Those of the places that can share two processes: of equal threads, and none that may have hurt others."""
        groups: dict[object, list[AxisPlace]] = {}
        for place in places:
            alone = place.x in self.states and self.states[place.x].apart
            key = place.x if alone or self.question.axis.name == "threads" else None
            groups.setdefault(key, []).append(place)
        return min(groups.values(), key=lambda group: min(len(place.values) for place in group), default=[])

    def _leave_out_what_is_dear(self) -> None:
        # One beside which a process failed is tried all the same: whether it fails by itself is to be known.
        while (place := self.schedule.too_dear([p for p in self.search.live if p.x not in self._suspects])) is not None:
            cost = self.schedule.cost(place.x)
            took = "" if cost is None else f"a first visit takes about {roughly(cost.first_s)}, and "
            reason = f"{took}the budget has no time for the three that it takes at least"
            beyond = self._bounds(place.x) and not any(x > place.x for x in self._suspects)
            self.stopped(Stop(place.x, None, NOT_RUN, reason, beyond=beyond))

    def _bounds(self, x: int) -> bool:
        """Whether what is too much at a place ends the axis there: nothing larger was measured."""
        return self.question.axis.beyond and not any(other.values for other in self.search.live if other.x > x)

    @property
    def _suspects(self) -> set[int]:
        """Places at which one of the two failed while others were in its process, until they were tried alone."""
        apart = {x for x, state in self.states.items() if state.apart and state.open}
        return {x for x in apart if not self.search.places[x].values}

    def _say_untried(self) -> None:
        for x in sorted(self._suspects):
            reason = "one of the two failed in processes shared with other places, and no time was left to try it alone"
            self.stopped(Stop(x, None, CRASHED, reason))

    def _stop(self, group: Sequence[AxisPlace]) -> None:
        for place in group:
            state = self.states[place.x]
            if state.status == OK:
                continue
            name = None if state.side is None else self.a if state.side == "A" else self.b
            again = any(stop.side == name and stop.status == CRASHED for stop in self.stops)
            much = state.status in TOO_MUCH or (state.status == CRASHED and again)
            self.stopped(Stop(place.x, name, state.status, str(state.reason), much and self._bounds(place.x)))

    def stopped(self, stop: Stop) -> None:
        """Take it that a place is not measured any more."""
        if self.search.stop(stop.x, stop.reason, beyond=stop.beyond):
            self.stops.append(stop)

    def _learn(self, record: dict[str, Any], states: Sequence[TwinState], before: dict[int, int]) -> None:
        """What the pair cost, each place by its bursts; none of it where the processes did not start."""
        if record.get("greeted_s") is None:
            return
        measured = {x: self._seen(record, state) for x, state in self.states.items() if state in states}
        spent = {x: seen for x, seen in measured.items() if seen is not None}
        bursts_s = sum(seconds for seconds, _ in spent.values())
        failed = any(not state.open or state.apart for state in states)
        # Who failed took time that is of no place.
        rest_s = 0.0 if failed else max(record["seconds"] - record["greeted_s"] - bursts_s, 0.0)
        costs = {}
        for x, (seconds, call_s) in spent.items():
            share = seconds / bursts_s if bursts_s else 0.0
            # Of what is not bursts, preparing and calibrating grow with the call as the bursts do.
            took = seconds + rest_s * (share + 1 / len(spent)) / 2
            again = 1.6 * seconds + 0.15
            fixed = min(again, 1.6 * 2 * 2 * QUADS * BURST_S + 0.15) if call_s < BURST_S else 0.15
            known = self.schedule.costs.get(x)
            first = took if not before.get(x) else known.first_s if known else took
            costs[x] = Cost(took if before.get(x) else min(again, took), max(first, again), fixed, call_s)
        self.schedule.learn(record["greeted_s"], record["seconds"], costs)

    def _seen(self, record: dict[str, Any], state: TwinState) -> tuple[float, float] | None:
        """Seconds of the bursts of a place in a pair, and of the longer call of the two sides."""
        bursts = record["cells"].get(state.twin.id, {}).get("bursts", [])
        calls = {name: [b["wall_ns"] / 1e9 / max(b["calls"], 1) for b in bursts if b["side"] == name] for name in BOTH}
        if not all(calls.values()):
            return None
        return sum(b["wall_ns"] for b in bursts) / 1e9, max(statistics.median(seconds) for seconds in calls.values())


def became(status: str) -> str:
    """A status in words, such as ``out of memory``."""
    return STOPPED.get(status, "wrong" if status == WRONG else status)
