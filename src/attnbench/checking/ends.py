"""When a check ends that has a budget, and what still fits into what is left of it.

Nothing is begun that would not end in time, and no answer is waited for beyond the end. Several implementations share
the budget: each has its part of what is left when its turn comes. Of a check that has seen a disagreement a part is
kept for examining it. An interrupt ends it at once, and what was tried until then counts.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from attnbench.workers.protocol import SPENT

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

# Seconds that are kept for closing the workers and showing the table, and at most this share of the budget.
CLOSING_S, MOST_CLOSING = 0.7, 0.15
# The share that is kept for examining disagreements, once there is one.
EXAMINING = 0.2
# Paces are those of the last answers.
RECENT = 8
# Seconds of listing the cases of one sweep of the plan, until some was seen; of what is left at most this share.
LISTING_S, MOST_LISTING = 4.0, 0.4
LISTING = "listing"
INTERRUPTED = "it was interrupted"


class Ends:
    """The end of a check, of ``time.monotonic``; without a budget it never comes. ``began`` is now, unless given."""

    def __init__(
        self, budget_s: float | None = None, began: float | None = None, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now, self._budget_s = now, math.inf if budget_s is None else budget_s
        start = now() if began is None else began
        self._last = math.inf if budget_s is None else start + budget_s - min(CLOSING_S, MOST_CLOSING * budget_s)
        self._kept_s = 0.0
        self._cuts: list[Callable[[], None]] = []
        self.interrupted = False
        self._lock = threading.Lock()

    def last(self) -> float:
        """The moment until which disagreements are examined."""
        return self._last

    def until(self) -> float:
        """The moment until which cases are tried."""
        return self._last - self._kept_s

    def disagreed(self) -> None:
        """There is something to be examined."""
        if not math.isinf(self._budget_s):
            self._kept_s = EXAMINING * self._budget_s

    def interrupt(self) -> None:
        """End it now: whoever waits for an answer is cut off."""
        self.interrupted, self._last = True, -math.inf
        for cut in list(self._cuts):
            cut()

    def at_interrupt(self, cut: Callable[[], None]) -> None:
        """Call it when the check is interrupted."""
        self._cuts.append(cut)

    def parts(self, count: int, at_once: int) -> Callable[[], Part]:
        """Who calls it gets his part of what is left; ``count`` are going to, ``at_once`` of them at a time."""
        waiting = count

        def part() -> Part:
            nonlocal waiting
            with self._lock:
                turns, waiting = max(1, math.ceil(waiting / at_once)), waiting - 1
            return Part(self, (self.until() - self._now()) / turns, self._now)

        return part


class Part:
    """The part of one implementation, of so many seconds from now on and never beyond the end of all."""

    def __init__(self, ends: Ends, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._ends, self._end, self._now = ends, now() + seconds, now
        self._paces: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))

    def until(self) -> float:
        """The moment at which it ends."""
        return min(self._end, self._ends.until())

    def at_interrupt(self, cut: Callable[[], None]) -> None:
        """Call it when the check is interrupted."""
        self._ends.at_interrupt(cut)

    @property
    def left_s(self) -> float:
        """Seconds until it ends; infinite without a budget."""
        return self.until() - self._now()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.left_s <= 0

    def disagreed(self) -> None:
        """There is something to be examined."""
        self._ends.disagreed()

    def took(self, what: str, units: int, seconds: float) -> None:
        """So many units of something took so long."""
        self._paces[what].append(seconds / max(1, units))

    def fitting(self, what: str, most: int) -> int:
        """How many units, at most ``most``, fit into what is left; one where nothing is known of their pace."""
        left_s, paces = self.left_s, list(self._paces[what])
        if math.isinf(left_s) or left_s <= 0:
            return most if left_s > 0 else 0
        return min(most, int(left_s / max(sum(paces) / len(paces), 1e-6))) if paces else min(most, 1)

    def sweeps(self, most: int) -> int:
        """How many sweeps of the plan are listed next: all of them, or what leaves time for their cases; 0 for none."""
        left_s, paces = self.left_s, list(self._paces[LISTING])
        if math.isinf(left_s):
            return most
        each_s = max(sum(paces) / len(paces), 1e-6) if paces else LISTING_S
        return 0 if left_s < each_s else min(most, max(1, int(MOST_LISTING * left_s / each_s)))


def said_as_interrupted(rows: Sequence[CheckRow]) -> list[CheckRow]:
    """The rows of a check that was interrupted, which is why what was not tried was not."""
    return [
        replace(
            row,
            reason=row.reason and row.reason.replace(SPENT, INTERRUPTED),
            untried=row.untried and {why.replace(SPENT, INTERRUPTED): count for why, count in row.untried.items()},
        )
        for row in rows
    ]
