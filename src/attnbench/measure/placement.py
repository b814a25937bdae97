"""Which processors a burst runs on: both sides of a comparison on the same ones, drawn anew for every quad.

The processors of a shared machine are not alike. A virtual one whose sibling on the host is busy with somebody else's
work computes at two thirds of the speed of its neighbour, for seconds, and nothing in /proc says so. A process that
sleeps and wakes tends to stay where it was, so one side would have the slow processor for a whole pair.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

PROCESSES = Path("/proc")


def everywhere() -> tuple[int, ...]:
    """The processors that this process may use; none where the system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def draw(rng: random.Random, count: int) -> tuple[int, ...] | None:
    """So many of the processors that this process may use; ``None`` where there is no choice."""
    ours = everywhere()
    return tuple(sorted(rng.sample(ours, count))) if 0 < count < len(ours) else None


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
