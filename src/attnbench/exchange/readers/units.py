"""Units as tools write them: which are times of a call, which are calls in a time, and which are something else."""

from __future__ import annotations

import re
from dataclasses import dataclass

SECONDS = {
    "ps": 1e-12,
    "picoseconds": 1e-12,
    "ns": 1e-9,
    "nsec": 1e-9,
    "nanoseconds": 1e-9,
    "us": 1e-6,
    "usec": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "microseconds": 1e-6,
    "ms": 1e-3,
    "msec": 1e-3,
    "milliseconds": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "secs": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "min": 60.0,
    "minutes": 60.0,
}
SHORT = len("ms")
CALLS = ("iter", "iters", "iteration", "iterations", "op", "ops", "call", "calls", "run", "runs")


@dataclass(frozen=True)
class Unit:
    """A unit: its seconds, and whether a number of it is the calls in that time rather than the time of one call."""

    seconds: float
    is_rate: bool = False

    def time(self, value: float) -> float:
        """The seconds of one call."""
        return self.seconds / value if self.is_rate else self.seconds * value


def unit_of(text: str) -> Unit | None:
    """The unit of time that a text names, such as ``ns/iter``, ``ms`` or ``ops/sec``; ``None`` where it is no time."""
    above, _, below = re.sub(r"\s+", "", text.replace(" per ", "/")).partition("/")
    # Large letters count in the short ones: Ms would be megaseconds; MS is how some write milliseconds.
    numerator = SECONDS.get(above) or (SECONDS.get(above.lower()) if above.isupper() or len(above) > SHORT else None)
    if numerator is not None and (not below or below.lower() in CALLS):
        return Unit(numerator)
    denominator = SECONDS.get(below) or SECONDS.get(below.lower())
    if denominator is not None and above.lower() in CALLS:
        return Unit(denominator, is_rate=True)
    return None
