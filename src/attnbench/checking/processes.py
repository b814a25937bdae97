"""How many processes a check works with at the same time: agreement is not timed, so that several may work at once."""

from __future__ import annotations

from attnbench.workers.processors import at_once


def at_once_on(device: str) -> int:
    """As many as this machine has processors for where the device is the CPU, and one on any other device."""
    return at_once(threads=1, most=None) if device == "cpu" else 1
