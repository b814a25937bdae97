"""Time: what a visit to a place costs, which of the wanted places the next pair has time for, and which are too dear.

A pair costs the start of two processes, which all places that it visits share; a place costs its bursts, and its first
visit the gate, the audit and, where a framework compiles, compiling for a new size. Each pair corrects the forecast.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from attnbench.crossover.evidence import AxisPlace
from attnbench.errors import UsageError
from attnbench.live.pairs import usable

# Until a start was seen, and a first visit, in which both sides are checked, timed and audited.
FIRST_START_S, FIRST_VISIT_S = 2.0, 1.5
# What to type in the place of a budget in which no pair is begun.
ENOUGH_S = 20
# A place is not begun that is this much farther along the axis than all that were measured: its cost is not known yet.
FARTHEST = 4.0
# Three visits to a place may take this part of the budget; one that takes more is left out.
DEAREST = 0.3
VISITS = 3
# Two processes are started for a visit: more pairs than these are not forecast.
MOST_AHEAD = 99
RECENT = 6
# Bursts take about so long on a CPU, or as long as a call.
BURST_S = 0.035
# So many calls of both sides belong to a first visit alone: the gate's, and those of the audit.
CALLS_ONCE = 16


def check_budget(budget_s: float, typed: str) -> None:
    """Raise ``UsageError`` where no pair would be begun."""
    if usable(budget_s) <= FIRST_START_S:
        takes = f"a first pair is given {FIRST_START_S:g} s to start and {FIRST_VISIT_S:g} s for a place"
        msg = f"--budget {typed} is too short for a pair of processes: {takes}; type --budget {ENOUGH_S}s or more"
        raise UsageError(msg)


@dataclass(frozen=True)
class Cost:
    """Seconds of a visit, ``again`` and the ``first`` time, of which ``fixed`` would be spent however short the calls.

    ``call_s`` is the longer call of the two sides.
    """

    again_s: float
    first_s: float
    fixed_s: float
    call_s: float

    def grown(self, factor: float) -> Cost:
        """That of a place whose calls take so many times as long: short ones fill a burst, and cost as much."""
        longer = max(factor * self.call_s, BURST_S) / max(self.call_s, BURST_S)
        again = self.fixed_s + max(longer * (self.again_s - self.fixed_s), 0.0)
        extra = max(self.first_s - self.again_s, 0.0) + CALLS_ONCE * max(factor - 1, 0.0) * self.call_s
        return Cost(again, again + extra, self.fixed_s, factor * self.call_s)


@dataclass
class Schedule:
    """What visits cost along one axis, whose work grows with this ``power`` of it."""

    budget_s: float
    power: float = 2.0
    starts: list[float] = field(default_factory=list)
    pairs: list[float] = field(default_factory=list)
    costs: dict[int, Cost] = field(default_factory=dict)

    def learn(self, start_s: float, pair_s: float, costs: dict[int, Cost]) -> None:
        """What a pair took, and each of its places in it."""
        self.starts.append(start_s)
        self.pairs.append(pair_s)
        for x, cost in costs.items():
            first = self.costs[x].first_s if x in self.costs else cost.first_s
            self.costs[x] = Cost(cost.again_s, first, cost.fixed_s, cost.call_s)

    @property
    def start_s(self) -> float:
        """Seconds of a start."""
        return statistics.fmean(self.starts[-RECENT:]) if self.starts else FIRST_START_S

    def pairs_in(self, seconds: float) -> int:
        """How many further pairs such a time has room for."""
        if not self.pairs or math.isinf(seconds):
            return MOST_AHEAD
        return min(MOST_AHEAD, max(0, int(seconds / statistics.median(self.pairs[-RECENT:]))))

    def cost(self, x: int) -> Cost | None:
        """What a visit to a place costs; from the nearest that was measured, where it was not itself."""
        if x in self.costs or not self.costs:
            return self.costs.get(x)
        nearest = min(self.costs, key=lambda known: abs(math.log(known / x)))
        return self.costs[nearest].grown((x / nearest) ** self.power)

    def seconds(self, place: AxisPlace) -> float:
        """Seconds of the next visit to a place; 0 where nothing is known."""
        cost = self.cost(place.x)
        return 0.0 if cost is None else cost.again_s if place.values else cost.first_s

    def too_dear(self, places: Sequence[AxisPlace]) -> AxisPlace | None:
        """The nearest place that was never measured and of which three visits take too much of the budget."""
        if not self.costs or math.isinf(self.budget_s):
            return None
        reachable = [place for place in places if not place.values and place.x <= FARTHEST * max(self.costs)]
        return next((p for p in sorted(reachable, key=lambda place: place.x) if self._dear(p)), None)

    def _dear(self, place: AxisPlace) -> bool:
        cost = self.cost(place.x)
        return cost is not None and cost.first_s + (VISITS - 1) * cost.again_s > DEAREST * self.budget_s

    def fitting(self, wanted: Sequence[AxisPlace], left_s: float) -> list[AxisPlace]:
        """The wanted places, in their order, that a pair has time for: in the first pair of the lower half of them.

        A pair that is cut off leaves nothing, so that the first has one place alone where there is little time.
        """
        if not self.costs:
            half, visits = math.ceil(len(wanted) / 2), max((left_s - self.start_s) / FIRST_VISIT_S, 1)
            lower = sorted(wanted, key=lambda place: place.x)[: int(min(half, visits))]
            return [place for place in wanted if place in lower] if left_s > self.start_s else []
        left = left_s - self.start_s
        chosen: list[AxisPlace] = []
        near = [place for place in wanted if place.values or place.x <= FARTHEST * max(self.costs)]
        # Where those between could not be measured the nearest is next, however far it is.
        for place in near or sorted(wanted, key=lambda place: place.x)[:1]:
            if (seconds := self.seconds(place)) <= left:
                chosen.append(place)
                left -= seconds
        return chosen
