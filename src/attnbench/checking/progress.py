"""How far a check is, and what it is going to take: told from several threads at once."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from attnbench.show.units import clock

if TYPE_CHECKING:
    from attnbench.agree.check.rows import CheckRow

Progress = Callable[["CheckRow"], None]
Watch = Callable[[int, int, str, str], None]
Note = Callable[[str], None]
ENOUGH = 0.1  # the part of the work that must be done before its end is estimated
LONG_S = 90  # a plan that takes longer than this is announced with the time that it takes


@dataclass
class Listeners:
    """Who is told what: ``progress`` every row, ``watch`` how many of how many units are done, ``note`` the price.

    It is over at ``until()`` at the latest.
    """

    progress: Progress | None = None
    watch: Watch | None = None
    note: Note | None = None
    until: Callable[[], float] = lambda: math.inf
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _done: int = 0
    _total: int = 0
    _start: float = field(default_factory=time.monotonic)

    def expect(self, impl: str, units: int, what: str = "") -> None:
        """An implementation is going to give so many more rows and cases, and first does ``what`` is said."""
        with self._lock:
            self._total += units
            self._watched(f"{impl}: {what}" if what else impl)

    def row(self, row: CheckRow, units: int = 0) -> CheckRow:
        """A row is done; it counts as so many units."""
        if self.progress is not None:
            self.progress(row)
        self.done(row.impl, units)
        return row

    def done(self, impl: str, units: int) -> None:
        """So many units are done."""
        with self._lock:
            self._done += units
            self._watched(impl)

    def price(self, impl: str, cases: int, tried: int, took_s: float, budget_s: float | None) -> None:
        """Says what the rest of an implementation's plan takes, by the cases that were tried, if that is long."""
        left = took_s * (cases - tried) / max(1, tried)
        if self.note is None or (left < LONG_S and budget_s is None):
            return
        text = f"{impl}: {cases:,} cases at boundaries, about {clock(left)} more"
        text += "" if budget_s is None else f"; the budget is {clock(budget_s)}"
        self.note(text)

    def _watched(self, impl: str) -> None:
        if self.watch is None or not self._total:
            return
        part = self._done / self._total
        took = time.monotonic() - self._start
        left_s = min(took / part - took if part else 0.0, self.until() - time.monotonic())
        left = f", about {clock(max(0.0, left_s))} left" if ENOUGH < part < 1 else ""
        self.watch(self._done, self._total, "", f"{impl}{left}" if part < 1 else "")
