"""How far a command is, on standard error: one line that is drawn over on a terminal, plain lines elsewhere.

It is drawn by the process that waits for the workers, never by one that is timed, and only when it is told something:
no thread of its own wakes up beside a measurement.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from attnbench.show import console
from attnbench.show.units import roughly

SECONDS_BETWEEN = 0.25  # it is drawn at most four times a second
SECONDS_BETWEEN_LINES = 5.0  # where it is no terminal, what is in work is told so often, besides what comes next
BAR = 16
ENOUGH = 0.05  # of the work, to say by its pace when it ends


class ProgressLine:
    """Progress of one command, as a context: what is in work, how much is done, and about how long it still takes.

    The time left is taken from the pace so far, and is never longer than a budget (``budget_s``) leaves. Where what is
    done says nothing of the pace (``paced`` is false), as where pairs are measured until all cells are decided, it is
    what the budget leaves. ``first`` is what is done before anything is told.
    """

    def __init__(
        self,
        budget_s: float | None = None,
        *,
        paced: bool = True,
        first: str = "",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._live = sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")
        self._budget_s, self._paced, self._now, self._first = budget_s, paced, now, first
        self._last = ""
        self._state: tuple[float, int, str, str] = (0, 0, "", "")
        self._began: tuple[float, float] | None = None
        self._drawn = self._said = float("-inf")
        self._bar: Any = None
        self._closed = False

    def __enter__(self) -> Self:
        if self._first and self._live:  # elsewhere a line of its own would stand before an error of one line
            self(0, 0, self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True  # whoever still tells something from a thread of his own is not heard
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: float, total: int, label: str, hint: str = "") -> None:
        """``done`` of ``total``, and what comes next; or a ``hint``, which brings its own time left.

        What is half done counts as a half. A ``total`` of 0 is not known yet. Where it is no terminal a hint is told
        seldom.
        """
        if console.is_quiet() or self._closed:
            return
        self._state = done, total, label, hint
        if self._began is None:
            self._began = self._now(), done
        if self._live:
            self._draw()
            return
        if (label and label != self._last) or (hint and self._now() - self._said >= SECONDS_BETWEEN_LINES):
            self._say()
        self._last = label

    def at_work(self, name: str) -> None:
        """What of it is in work: told often, drawn and said seldom, and not before there is something to do."""
        if console.is_quiet() or self._closed or self._began is None:
            return
        if self._live:
            self._draw(f" · {name}")
        elif self._now() - self._said >= SECONDS_BETWEEN_LINES:
            self._say(f" · {name}")

    def _say(self, at_work: str = "") -> None:
        """A line of its own, where nothing can be drawn over."""
        done, total, label, hint = self._state
        self._said = self._now()
        left = "" if hint and not label else self.left(done, total, self._said)
        where = f"[{int(done)}/{total}] " if total else ""
        console.say(f"{where}{label or hint}{at_work}{', ' if left else ''}{left}")

    def _draw(self, at_work: str = "") -> None:
        """What was told last, unless something was drawn a moment ago; the end of the work is always drawn."""
        done, total, label, hint = self._state
        now = self._now()
        if now - self._drawn < SECONDS_BETWEEN and (at_work or done < total or not total):
            return
        self._drawn = now
        if self._bar is None:
            self._bar = _bar()
            self._task = self._bar.add_task("", total=max(total, 1), left="", counts="")
        left = "" if hint else self.left(done, total, now)
        what = f"{label or hint}{at_work}"
        counts = f"{int(done)}/{total}" if total else ""
        self._bar.update(self._task, completed=done, total=max(total, 1), description=what, left=left, counts=counts)
        self._bar.start()
        self._bar.refresh()

    def left(self, done: float, total: int, now: float) -> str:
        """The time left in words: ``about 2 min left``, ``at most 5 min left``, or nothing while nothing is known."""
        if self._began is None or not self._state[2] or (done >= total and self._budget_s is None):
            return ""
        began, done_before = self._began
        within = None if self._budget_s is None else max(self._budget_s - (now - began), 0.0)
        made, wanted = done - done_before, total - done_before
        if self._paced and made > 0 and made >= ENOUGH * wanted and done < total:
            seconds = (now - began) * (total - done) / made
            return f"about {roughly(seconds if within is None else min(seconds, within))} left"
        return "" if within is None else f"at most {roughly(within)} left"


def _bar() -> Any:
    """What rich draws: a bar, the counts, the time left, and what is in work, cut where the line ends."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    class Terminal(Console):
        """Standard error with its cursor in sight: whatever ends the program, a signal too, need not bring it back."""

        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002  (the signature is rich's)
            return False

    return Progress(
        BarColumn(BAR),
        TextColumn("{task.fields[counts]}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
        console=Terminal(stderr=True, force_terminal=True),
        auto_refresh=False,
        transient=True,
        expand=True,
        redirect_stdout=False,  # results go where they went
    )
