"""How many processes work beside each other where nothing is timed: the one place that says it."""

from __future__ import annotations

from attnbench.results.fingerprint import usable_cpus

# However many processors there are: every process has a framework of its own in memory.
MOST_AT_ONCE = 4


def at_once(threads: int, most: int | None = MOST_AT_ONCE) -> int:
    """How many processes that compute with ``threads`` threads each work at once.

    The rule: as many as this process has processors for, so that each thread has one of its own; at least one, and at
    most ``most`` (``None``: a check, which is long, takes the whole machine). Where the system does not tell its
    processors there is one. What is timed never shares the machine: it does not ask here.
    """
    count = max(1, (usable_cpus() or 1) // threads)
    return count if most is None else min(most, count)
