"""Which processors a burst runs on: those to be compared on the same ones, drawn anew for every quad or round.

The processors of a shared machine are not alike. A virtual one whose sibling on the host is busy with somebody else's
work computes at two thirds of the speed of its neighbour, for seconds, and nothing in /proc says so. A process that
sleeps and wakes tends to stay where it was, so one side would have the slow processor for as long.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

from attnbench.backends import discover
from attnbench.suite import Cell

PROCESSES = Path("/proc")


def everywhere() -> tuple[int, ...]:
    """The processors that this process may use; none where the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def shuffled(rng: random.Random) -> tuple[int, ...]:
    """All of them in a random order, of which everybody takes the first."""
    ours = everywhere()
    return tuple(rng.sample(ours, len(ours)))


def first(order: Sequence[int], count: int) -> tuple[int, ...] | None:
    """So many of an order; ``None`` where that leaves no choice."""
    return tuple(sorted(order[:count])) if 0 < count < len(order) else None


def needed(cell: Cell) -> int:
    """How many processors a cell keeps busy: one for each thread that computes, and for each that hands out work."""
    return cell.threads + discover.backend(cell.backend).dispatchers


def place(pid: int, processors: tuple[int, ...]) -> bool:
    """Let every thread of a process run on these processors alone; whether they all do."""
    if pid <= 0 or not hasattr(os, "sched_setaffinity"):
        return False
    try:
        for thread in (PROCESSES / str(pid) / "task").iterdir():
            os.sched_setaffinity(int(thread.name), processors)
    except (OSError, ValueError):  # it has ended, or may not be moved
        return False
    return True
