"""The clock: bursts of calls, timed together, with the wait for the result inside the timed region.

On the CPU every call is waited for: a framework that computes asynchronously would else run calls of a burst beside
each other, and the time per call would not be the time of a call. Inputs are those of the call before.

On an accelerator the calls are queued. ``hot`` bursts run back to back and are waited for together, as the queue keeps
them in order; before each call of a ``cold`` burst the last cache is overwritten; in ``graph`` bursts the call was
recorded once and is replayed, so that launching its kernels costs next to nothing. The device's own clock tells the
time where there is one, and the host's stands in the receipt; else the host's tells. After every burst the device
pauses for as long as the burst took, since boost clocks droop under steady work.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from attnbench.measure.clock.receipts import receipt, snapshot
from attnbench.workers.protocol import Burst

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend, Stopwatch
    from attnbench.results.schema import Cache

MAX_CALLS = 1_000_000
CALIBRATIONS = 6
# The rest after a burst on an accelerator, as a multiple of its time.
PAUSE = 1.0
# Flushing takes far longer than a short call does.
MOST_COLD_CALLS = 64

Run = Callable[[], Any]
Wait = Callable[[Any], None]


@dataclass(frozen=True)
class Length:
    """The seconds that a burst is to take: long against the timer, short against drift."""

    shortest: float
    aim: float
    longest: float


ON_CPU = Length(0.025, 0.035, 0.050)
# Where time is short; the clock outside can still tell whether they are true (``outside.LONG_ENOUGH_S``).
BRIEFLY_ON_CPU = Length(0.021, 0.025, 0.036)
ON_DEVICE = Length(0.003, 0.005, 0.010)


@dataclass(frozen=True)
class Clock:
    """How bursts are timed on one device; the defaults are the CPU's.

    ``wait`` returns when a result is computed. ``queued``: calls are not waited for one by one. ``stopwatch`` is the
    device's own clock, ``flush`` makes the next call a cold one, ``pause`` is the rest after a burst as a multiple of
    its time. ``gauges`` are readings for the receipt, such as clock and temperature.
    """

    wait: Wait
    length: Length = ON_CPU
    queued: bool = False
    stopwatch: Stopwatch | None = None
    flush: Callable[[], None] | None = None
    pause: float = 0.0
    gauges: Callable[[], dict[str, float]] = dict

    def burst(self, run: Run, calls: int, cache: Cache = "none", kept: list[Any] | None = None) -> Burst:
        """Time ``calls`` calls together, garbage collection off; the result of the last one is put into ``kept``."""
        collecting = gc.isenabled()
        gc.disable()
        try:
            started_at, before = time.time(), snapshot()
            cpu = time.process_time_ns()
            host_ns, device_ns, result = self._timed(run, calls, cold=cache == "cold")
            cpu_ns = time.process_time_ns() - cpu
            noted = receipt(before, snapshot()) | self.gauges()
        finally:
            if collecting:
                gc.enable()
        if kept is not None:
            kept.append(result)
        wall_ns = host_ns if device_ns is None else device_ns
        if device_ns is not None:
            noted["host_s"] = host_ns / 1e9
        if self.pause:
            time.sleep(self.pause * host_ns / 1e9)
        return Burst(calls, wall_ns, cpu_ns, noted, started_at, cache)

    def calibrate(
        self, run: Run, cache: Cache = "none", length: Length | None = None, known: int = 0
    ) -> tuple[int, list[Burst]]:
        """Calls per burst, so that it has the right ``length`` (usually the clock's own) or is one call.

        And the warm-up bursts that found it. So many calls as are ``known`` from another process are tried first.
        """
        length, calls, warmups = length or self.length, max(1, known), []
        for _ in range(CALIBRATIONS):
            warmups.append(self.burst(run, calls, cache))
            seconds = warmups[-1].wall_ns / 1e9
            if length.shortest <= seconds <= length.longest or (calls == 1 and seconds > length.longest):
                break
            # A first call may be slow for once, and must not decide alone: at most 100 times more.
            most = MOST_COLD_CALLS if cache == "cold" else MAX_CALLS
            wanted = max(1, min(most, calls * 100, math.ceil(length.aim * calls / max(seconds, 1e-9))))
            if wanted == calls:
                break
            calls = wanted
        return calls, warmups

    def _timed(self, run: Run, calls: int, *, cold: bool) -> tuple[int, int | None, Any]:
        """Nanoseconds by the host's clock, and by the device's; and what the last call returned."""
        if cold and self.flush is not None:
            return self._cold(run, calls, self.flush)
        if not self.queued:
            return self._each(run, calls)
        start = time.perf_counter_ns()
        if self.stopwatch is not None:
            self.stopwatch.start()
        for _ in range(calls):
            result = run()
        if self.stopwatch is not None:
            self.stopwatch.stop()
        self.wait(result)
        host = time.perf_counter_ns() - start
        return host, self._read(), result

    def _each(self, run: Run, calls: int) -> tuple[int, None, Any]:
        wait, but_the_last = self.wait, range(calls - 1)
        start = time.perf_counter_ns()
        for _ in but_the_last:
            wait(run())  # no name holds the result, so that its memory is there again for the next call
        result = run()
        wait(result)
        return time.perf_counter_ns() - start, None, result

    def _cold(self, run: Run, calls: int, flush: Callable[[], None]) -> tuple[int, int | None, Any]:
        if self.stopwatch is None:
            return self._cold_by_host(run, calls, flush)
        start = time.perf_counter_ns()
        for _ in range(calls):
            flush()
            self.stopwatch.start()
            result = run()
            self.stopwatch.stop()
        self.wait(result)
        return time.perf_counter_ns() - start, self._read(), result

    def _cold_by_host(self, run: Run, calls: int, flush: Callable[[], None]) -> tuple[int, None, Any]:
        """Each call by itself, from an idle device: its launch is in it."""
        total, result = 0, None
        for _ in range(calls):
            result = None
            flush()
            start = time.perf_counter_ns()
            result = run()
            self.wait(result)
            total += time.perf_counter_ns() - start
        return total, None, result

    def _read(self) -> int | None:
        return None if self.stopwatch is None else round(sum(self.stopwatch.elapsed_s()) * 1e9)


def clock_for(backend: Backend, device: str, gauges: Callable[[], dict[str, float]] = dict) -> Clock:
    """The clock of a backend's device."""
    plain = Clock(backend.wait)
    if device == "cpu":
        return plain
    watch, flush = backend.stopwatch(device), backend.flusher(device)
    return replace(plain, length=ON_DEVICE, queued=True, stopwatch=watch, flush=flush, pause=PAUSE, gauges=gauges)
