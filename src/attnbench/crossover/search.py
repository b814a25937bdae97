"""The search along an axis: a coarse scan for signs, then places beside each crossing, until its ends are sure.

Which places are looked at is free to depend on all that was seen: each place is judged by its own pairs alone, by rules
that hold whenever it was chosen (``evidence``), and there are at most ``MOST_PLACES`` of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from attnbench.crossover.answer import CrossoverAnswer, judged, zero_of
from attnbench.crossover.evidence import (
    MOST_PLACES,
    AxisPlace,
    SignRules,
    hopeless,
    pairs_needed,
    rules_for,
    spread_of,
)

MOST_SCANNED = 8
# So many where places a factor of two apart would be no more than three: who asks so wants to look closely.
CLOSELY, FEW = 6, 3
# A crossing is known well enough when the ends of its interval differ by no more than this factor.
NARROW = 1.05
# Pairs after which a place that is not sure yet may still say on which side of a crossing it lies: standard errors.
FIRM_PAIRS, FIRM_ERRORS = 3, 2.0
# How far from 1 a ratio has to be, in spreads of a pair, to be sure after so many pairs.
REACH = ((10, 2.0), (16, 1.4), (20, 1.1), (29, 0.9), (64, 0.7))
# Besides the nearest place that can become sure, one so many times as far from the crossing, that will be sure soon.
WIDE = 2.2
# A further place is opened where it cuts its side of an interval to this share, on the scale of logarithms.
WORTH = 0.8
MOST_DIPS = 2
# Once a crossing is known to this factor it is looked whether the leads hold just beyond it, so far from either end:
# kernels like some sizes and not others. So many places are kept for that.
KNOWN = 1.5
BESIDE = (1.1, 1.25)
PROBES = 2
# A place this near to another, in logarithms, says the same.
SAME = math.log(1.05)


@dataclass(frozen=True)
class Grid:
    """The whole numbers of an axis that can be asked: from ``low`` to ``high`` in steps."""

    low: int
    high: int
    step: int = 1

    def near(self, value: float) -> int:
        """The number nearest to a value."""
        steps = round((min(max(value, self.low), self.high) - self.low) / self.step)
        return self.low + self.step * min(steps, (self.high - self.low) // self.step)

    def scan(self) -> list[int]:
        """Where the scan looks: numbers whose logarithms are evenly spaced, at most a factor of two apart if it can."""
        last = self.near(self.high)
        count = min(MOST_SCANNED, math.ceil(math.log2(max(last / self.low, 1))) + 1)
        count = CLOSELY if count <= FEW else count
        if (last - self.low) // self.step < MOST_SCANNED:
            return list(range(self.low, last + 1, self.step))
        return sorted({self.near(x) for x in np.geomspace(self.low, last, count)})


@dataclass
class Search:
    """Two implementations along an axis: which places are wanted next, and what is known."""

    a: str
    b: str
    grid: Grid
    most: int = MOST_PLACES
    rules: SignRules = field(default_factory=lambda: rules_for(1))
    places: dict[int, AxisPlace] = field(default_factory=dict)
    dips: int = 0
    probed: int = 0

    def __post_init__(self) -> None:
        for x in self.grid.scan()[: self.most]:
            self._add(x)

    def _add(self, x: int) -> None:
        self.places[x] = AxisPlace(x, self.rules)

    @property
    def live(self) -> list[AxisPlace]:
        """The places that can be measured, in the order of the axis."""
        return sorted((place for place in self.places.values() if place.live), key=lambda place: place.x)

    def stop(self, x: int, reason: str, *, beyond: bool = False) -> list[int]:
        """Measure a place no more, nor those ``beyond`` it that were not measured; which these are."""
        gone = [p.x for p in self.live if p.x == x or (beyond and p.x > x and not p.values)]
        for number in gone:
            self.places[number].stopped = reason
        if beyond:
            self.grid = Grid(self.grid.low, max(self.grid.low, x - 1), self.grid.step)
        return gone

    def wanted(self, pairs_left: int) -> list[AxisPlace]:
        """Places that a further pair should visit, those at crossings first; opens new ones where it is time to.

        New ones are opened only where a sign is sure: where both are equal everywhere no more are looked at than those
        of the scan. What is not expected to become sure in the pairs that are left is not visited any more.
        """
        spread = spread_of(self.live)
        brackets = self._brackets(spread)
        for low, high in brackets:
            if low.sign or high.sign:
                self._open_within(low, high, spread, pairs_left)
                self._open_beside(low, high)
        self._open_dips(spread)
        at_crossings = {
            place.x for low, high in self._brackets(spread) for place in self.live if low.x <= place.x <= high.x
        }
        narrow = {place.x for low, high in brackets if self._narrow(low, high) for place in self._between(low, high)}
        open_places = [
            place
            for place in self.live
            if place.open and place.x not in narrow and not hopeless(place, spread, pairs_left)
        ]
        return sorted(open_places, key=lambda place: (place.x not in at_crossings, place.x))

    def answer(self) -> CrossoverAnswer:
        """What is sure by now."""
        return judged(list(self.places.values()), self.a, self.b)

    def pairs_to_go(self) -> int | None:
        """About how many more pairs the open places need that can become sure at all; ``None`` where none can."""
        spread, undecided = spread_of(self.live), [place for place in self.live if place.open and place.values]
        numbers = [number for place in undecided if (number := pairs_needed(place, spread)) is not None]
        return max(numbers) if numbers else None

    def _brackets(self, spread: float) -> list[tuple[AxisPlace, AxisPlace]]:
        """Neighbours among the places that are sure, or firm, of which one speaks for A and the other for B."""
        firm = [place for place in self.live if _firm(place, spread)]
        return [(low, high) for low, high in pairwise(firm) if low.lean != high.lean]

    def _between(self, low: AxisPlace, high: AxisPlace) -> list[AxisPlace]:
        return [place for place in self.live if low.x < place.x < high.x]

    def _narrow(self, low: AxisPlace, high: AxisPlace) -> bool:
        """Whether a bracket is sure and small enough, or holds no further number."""
        small = high.x <= NARROW * low.x or high.x - low.x <= self.grid.step
        return small and low.sign != 0 and high.sign != 0

    def _open_within(self, low: AxisPlace, high: AxisPlace, spread: float, pairs_left: int) -> None:
        """New places on either side of where the crossing seems to be, as near as can become sure in so many pairs."""
        if self._narrow(low, high):
            return
        inside = [low, *(place for place in self._between(low, high) if place.values), high]
        rising = low.lean < 0
        centre = zero_of(inside, rising=rising)
        slope = max(abs(high.centre - low.centre) / math.log(high.x / low.x), 1e-9)
        distance = max(_reach(pairs_left) * spread / slope, math.log(NARROW) / 2.2)
        for end, side in ((low, -1), (high, 1)):
            waiting = [place for place in self._between(low, high) if place.open and side * _beyond(place, centre) > 0]
            if any(not place.values or (pairs_needed(place, spread) or math.inf) <= pairs_left for place in waiting):
                continue
            for factor in (WIDE, 1.0):
                self._open(centre + side * factor * distance, centre, end)

    def _open(self, target: float, centre: float, end: AxisPlace) -> None:
        """A place at a logarithm, unless it would bring little beside what is there already."""
        whole, left = math.log(end.x) - centre, target - centre
        kept = max(PROBES - self.probed, 0)
        if not whole or not 0 <= left / whole <= WORTH or len(self.places) >= self.most - kept:
            return
        x = self.grid.near(math.exp(target))
        near = [place for place in self.places.values() if abs(_beyond(place, math.log(x))) < 0.25 * abs(left)]
        if x not in self.places and x != end.x and not near:
            self._add(x)

    def _open_beside(self, low: AxisPlace, high: AxisPlace) -> None:
        """A few places just beyond either end of what is known of a crossing: is it the same there?"""
        known = high.x <= KNOWN * low.x or high.x - low.x <= self.grid.step
        if not known:
            return
        for factor in BESIDE:
            self._probe(high.x, max(self.grid.near(high.x * factor), high.x + self.grid.step))
            self._probe(low.x, min(self.grid.near(low.x / factor), low.x - self.grid.step))

    def _probe(self, end: int, x: int) -> None:
        """A place beyond an end, unless there is one like it."""
        if not self.grid.low <= x <= self.grid.high or len(self.places) >= self.most:
            return
        beyond = [known for known in self.places if (known - end) * (x - end) > 0]
        if all(abs(math.log(known / x)) > SAME for known in beyond):
            self._add(x)
            self.probed += 1

    def _open_dips(self, spread: float) -> None:
        """Where one leads but least in the middle, a place at the foot of the parabola through three neighbours.

        There the other may lead for a while, between two places of the scan.
        """
        firm = [place for place in self.live if _firm(place, spread)]
        for left, middle, right in zip(firm, firm[1:], firm[2:], strict=False):
            if self.dips >= MOST_DIPS or len(self.places) >= self.most or len({left.lean, middle.lean, right.lean}) > 1:
                continue
            foot = _foot(left, middle, right)
            if foot is None or foot[1] > spread or not (left.sign or middle.sign or right.sign):
                continue
            x = self.grid.near(math.exp(foot[0]))
            if all(abs(_beyond(place, math.log(x))) > 0.1 for place in self.places.values()):  # noqa: PLR2004
                self._add(x)
                self.dips += 1


def _firm(place: AxisPlace, spread: float) -> bool:
    if place.sign:
        return True
    n = len(place.values)
    return n >= FIRM_PAIRS and abs(place.centre) >= FIRM_ERRORS * spread / math.sqrt(n)


def _reach(pairs_left: int) -> float:
    return next((reach for pairs, reach in reversed(REACH) if pairs_left >= pairs), REACH[0][1])


def _beyond(place: AxisPlace, log: float) -> float:
    return math.log(place.x) - log


def _foot(left: AxisPlace, middle: AxisPlace, right: AxisPlace) -> tuple[float, float] | None:
    """Where the lead is least by the parabola through three places, and how large it is there (a log-ratio)."""
    logs = np.log([left.x, middle.x, right.x])
    leads = np.abs([left.centre, middle.centre, right.centre])
    if leads[1] > min(leads[0], leads[2]):
        return None
    bend, tilt, level = np.polyfit(logs - logs[1], leads, 2)
    if bend <= 0:
        return None
    foot = -tilt / (2 * bend)
    if not logs[0] - logs[1] < foot < logs[2] - logs[1]:
        return None
    return float(foot + logs[1]), float(level + tilt * foot + bend * foot**2)
