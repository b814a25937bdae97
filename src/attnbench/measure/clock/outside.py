"""The clock outside: what a process says of its bursts, held against the clock of whoever asked for them.

A kernel can change every clock in its own process. It cannot change that of the run, which sees when a burst was asked
for and when the answer came. Between the two stand the burst itself and the transport: two messages and the receipt. A
process may leave out the transport, and no more.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from attnbench.measure.clock.clock import PAUSE
from attnbench.workers.placement import needed

if TYPE_CHECKING:
    from attnbench.suite import Cell
    from attnbench.workers.protocol import Burst, Reply

# What messages and receipts may take of a burst; docs/measurement.md says what was seen.
TRANSPORT_S = 0.005
# The same in seconds of a processor, for a burst that needs one alone.
ALONE_S = 0.0015
# Below this share of the time outside, less the transport, a burst is not what the process says.
LEAST = 0.8
# A shorter burst says little, for the transport may be as long.
LONG_ENOUGH_S = 0.020
AIM_S = 0.040
MOST_CALLS = 10_000_000
# So many bursts before anybody is accused.
FEWEST = 7
# Processor time that a burst may have used beside what its process says: messages, receipts, children that have ended.
BESIDE_CPU_S, BESIDE_SHARE = 0.005, 0.25


def cpu_s(reply: Reply, burst: Burst) -> float:
    """Seconds of processor time of a burst: what its process says, unless the system saw more, other processes too."""
    said = burst.cpu_ns / 1e9
    if reply.cpu_s is None or reply.cpu_s - BESIDE_CPU_S <= said * (1 + BESIDE_SHARE):
        return said
    return reply.cpu_s - BESIDE_CPU_S


class Outside:
    """The bursts of one cell by both clocks. ``calls`` is how many a further burst is to have, 0 for the usual."""

    def __init__(self) -> None:
        self.calls = 0
        self._seen: list[tuple[float, float, float]] = []

    def add(self, reply: Reply, burst: Burst, cell: Cell) -> None:
        """Take one burst, and write into its receipt what it took outside.

        On the CPU the time that counts is compared, whatever else the process says; outside it is no longer than a
        processor was used, for a busy machine may keep a process waiting before it answers. A cold burst on an
        accelerator says nothing: the cache is overwritten between its calls.
        """
        burst.receipt["outside_s"] = reply.took_s
        on_cpu, transport_s = cell.device == "cpu", TRANSPORT_S
        inside_s = burst.wall_ns / 1e9 if on_cpu else burst.host_s
        outside_s = reply.took_s - (0.0 if on_cpu else PAUSE * inside_s)
        if on_cpu and reply.cpu_s is not None:
            outside_s = min(outside_s, max(reply.cpu_s, inside_s))
            # Of one that needs one processor alone, messages take next to nothing of it.
            transport_s = ALONE_S if needed(cell) == 1 else TRANSPORT_S
        if outside_s < LONG_ENOUGH_S:
            if on_cpu and outside_s > 0:
                self.calls = min(MOST_CALLS, int(burst.calls * AIM_S / outside_s) + 1)
        elif on_cpu or burst.cache != "cold":
            self._seen.append((inside_s / (outside_s - transport_s), inside_s, outside_s))

    @property
    def unsure(self) -> bool:
        """Whether further bursts are needed: most were not what the process says, or none was long enough to tell."""
        if not self._seen:
            return self.calls > 0
        return self._suspected and len(self._seen) < FEWEST

    @property
    def _suspected(self) -> bool:
        return median(share for share, *_ in self._seen) < LEAST

    def broken(self) -> str | None:
        """Why the times of its process are not believed, or ``None``: no more than two bursts are what it says."""
        if len(self._seen) < FEWEST or sorted(share for share, *_ in self._seen)[-3] >= LEAST:
            return None
        _, inside_s, outside_s = sorted(self._seen)[len(self._seen) // 2]
        says = f"its process says that a burst took {1e3 * inside_s:.3g} ms, and by the clock outside it took"
        return f"{says} {1e3 * outside_s:.3g} ms: the clock in its process does not tell the time"
