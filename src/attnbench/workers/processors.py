"""How many processes can work beside each other where nothing is timed."""

from __future__ import annotations

from attnbench.results.fingerprint import usable_cpus

MOST_AT_ONCE = 4


def at_once(threads: int) -> int:
    """How many processes of so many threads this machine has processors for, where nothing is timed."""
    return max(1, min(MOST_AT_ONCE, (usable_cpus() or 1) // threads))
