"""What a search says: where one implementation overtakes the other, who is faster everywhere, what stays open."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from attnbench.crossover.evidence import AxisPlace

Word = Literal["crossings", "none", "cannot-be-told"]
# Crossings of the same two belong together where one begins at no more than so many times the end of the one before.
TOGETHER = 2.0


@dataclass(frozen=True)
class Crossing:
    """One overtakes the other above ``low`` and by ``high`` at the latest, where the signs are sure; at about ``at``.

    ``at`` is interpolated: the first place from which ``faster_above`` is expected to lead.
    """

    at: int
    low: int
    high: int
    faster_below: str
    faster_above: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "at": self.at,
            "low": self.low,
            "high": self.high,
            "faster_below": self.faster_below,
            "faster_above": self.faster_above,
        }


@dataclass(frozen=True)
class Flips:
    """Two implementations change places more than once from ``low`` to ``high``: there is no single crossing."""

    low: int
    high: int
    names: tuple[str, str]
    crossings: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"low": self.low, "high": self.high, "names": list(self.names), "crossings": self.crossings}


def flips(crossings: Sequence[Crossing]) -> tuple[Flips, ...]:
    """The stretches in which crossings of the same two lie beside each other."""
    groups: list[list[Crossing]] = []
    for crossing in sorted(crossings, key=lambda each: (_names(each), each.low)):
        last = groups[-1][-1] if groups else None
        if last and _names(last) == _names(crossing) and crossing.low <= TOGETHER * last.high:
            groups[-1].append(crossing)
        else:
            groups.append([crossing])
    several = [group for group in groups if len(group) > 1]
    return tuple(Flips(group[0].low, group[-1].high, _names(group[0]), len(group)) for group in several)


def _names(crossing: Crossing) -> tuple[str, str]:
    first, second = sorted((crossing.faster_below, crossing.faster_above))
    return first, second


@dataclass(frozen=True)
class CrossoverAnswer:
    """What is sure of two implementations along an axis.

    ``faster`` leads everywhere where there is no crossing, by ``least`` at least (a factor, the nearest end of the
    intervals of all places). ``open_places`` are those whose sign stayed open outside the crossings.
    """

    word: Word
    crossings: tuple[Crossing, ...] = ()
    faster: str | None = None
    least: float | None = None
    open_places: tuple[int, ...] = ()


def judged(places: Sequence[AxisPlace], a: str, b: str) -> CrossoverAnswer:
    """The answer of these places, in the order of the axis; those that could not be measured say nothing."""
    live = sorted((place for place in places if place.live), key=lambda place: place.x)
    sure_places = [place for place in live if place.sign]
    crossings = tuple(
        _crossing(live, below, above, a, b) for below, above in pairwise(sure_places) if below.sign != above.sign
    )
    within = [(crossing.low, crossing.high) for crossing in crossings]
    left = tuple(p.x for p in live if not p.sign and not any(low < p.x < high for low, high in within))
    if crossings:  # a place of which nothing was seen yet, such as one beside a crossing, is no open question
        seen = tuple(p.x for p in live if p.x in left and p.values)
        return CrossoverAnswer("crossings", crossings, open_places=seen)
    leader = None if not sure_places else a if sure_places[0].sign > 0 else b
    if left or not sure_places:
        return CrossoverAnswer("cannot-be-told", faster=leader, open_places=left)
    return CrossoverAnswer("none", faster=leader, least=_least(sure_places))


def _least(sure_places: Sequence[AxisPlace]) -> float:
    """The factor by which the leader leads at least, at every place: the nearest end of their intervals, 1 at least."""
    nearest = []
    for place in sure_places:
        seen = place.estimate
        near = seen.low if place.sign > 0 else -seen.high
        # Three pairs have no interval; the least of them stands for it.
        nearest.append(near if math.isfinite(near) else min(place.sign * value for value in place.values))
    return math.exp(max(min(nearest), 0.0))


def _crossing(live: Sequence[AxisPlace], below: AxisPlace, above: AxisPlace, a: str, b: str) -> Crossing:
    names = (a, b) if below.sign > 0 else (b, a)
    within = [place for place in live if below.x <= place.x <= above.x and place.values]
    at = math.ceil(math.exp(zero_of(within, rising=below.sign < 0)) - 1e-9)
    return Crossing(min(max(at, below.x), above.x), below.x, above.x, *names)


def zero_of(places: Sequence[AxisPlace], *, rising: bool) -> float:
    """The logarithm of the place where the ratio is 1: linear between monotone means of the places' centres.

    The means are those of an isotonic regression (SciPy's), each place counting by its pairs.
    """
    from scipy.optimize import isotonic_regression

    logs = np.log([place.x for place in places])
    centres = np.array([place.centre for place in places])
    weights = np.array([len(place.values) for place in places], dtype=float)
    fitted = isotonic_regression(centres, weights=weights, increasing=rising).x
    turned = fitted if rising else -fitted
    low = int(np.searchsorted(turned, 0.0, side="left")) - 1  # the last place that is below
    high = int(np.searchsorted(turned, 0.0, side="right"))  # the first one that is above
    if low < 0 or high >= len(turned):
        return float(logs[0] if low < 0 else logs[-1])
    if high - low > 1:  # means of exactly 0 between them
        return float((logs[low + 1] + logs[high - 1]) / 2)
    share = -turned[low] / (turned[high] - turned[low])
    return float(logs[low] + share * (logs[high] - logs[low]))
