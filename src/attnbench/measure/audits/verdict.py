"""What of a cell's time its audited calls explain, and what they do not.

A burst repeats one call on the same inputs; an audited call finds values that nobody has seen. Honest work takes as
long on them. What it may take longer is small and does not grow with the work: a call by itself wakes threads that a
burst keeps awake, and finds its own code out of the nearest cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

# Seconds by which an audited call of honest work may be longer; docs/measurement.md says what was seen.
ALONE_S = {"cpu": 50e-6, "cuda": 200e-6}
# Below this share of its audited time, less that, a call in a burst has not done the work.
EXPLAINED = 0.84
# A cell is accused by no fewer rounds.
FEWEST = 7
# One round is enough where it leaves no doubt.
CLEAR = 0.95


@dataclass(frozen=True)
class Round:
    """Seconds of one call: in bursts before and after an audit, and as audited on new values and on new parts."""

    burst_s: float
    new_s: float
    part_s: float

    @property
    def audited_s(self) -> float:
        """The longer of the two: a kernel may keep its answers whole or by parts."""
        return max(self.new_s, self.part_s)

    def share(self, device: str) -> float:
        """Which share of the audited time a burst shows."""
        return self.burst_s / max(self.audited_s - ALONE_S.get(device, 0.0), 1e-9)


def suspected(rounds: Sequence[Round], device: str) -> bool:
    """Whether most of them are not explained, or there is one alone that leaves a doubt."""
    return median(one.share(device) for one in rounds) < (CLEAR if len(rounds) == 1 else EXPLAINED)


def unexplained(rounds: Sequence[Round], device: str) -> str | None:
    """Why the times of a cell are not believed, or ``None``; with fewer than ``FEWEST`` rounds nobody is accused."""
    if len(rounds) < FEWEST or not suspected(rounds, device):
        return None
    one = sorted(rounds, key=lambda one: one.share(device))[len(rounds) // 2]
    audited = "values that it had not seen" if one.new_s >= one.part_s else "inputs of which one part was new"
    times = (
        f"a call took {told(one.burst_s)} on the same inputs again and again, and {told(one.audited_s)} on {audited}"
    )
    return f"{times}: it does not do its work at every call"


def told(seconds: float) -> str:
    """A time for people."""
    return f"{1e6 * seconds:.3g} µs" if seconds < 1e-3 else f"{1e3 * seconds:.3g} ms"  # noqa: PLR2004  (a unit)
