"""The clock: bursts of calls, timed together, with the wait for the result inside the timed region.

On the CPU every call is waited for: a framework that computes asynchronously would else run calls of a burst beside
each other, and the time per call would not be the time of a call. On an accelerator the calls are queued and waited for
together, as its queue keeps them in order. Inputs are those of the call before, so caches are warm ("hot").
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from typing import Any

from attnbench.measure.protocol import Burst
from attnbench.measure.receipts import receipt, snapshot

# A burst is long against the timer and short against drift.
SHORTEST_S, AIM_S, LONGEST_S = 0.025, 0.035, 0.050
MAX_CALLS = 1_000_000
CALIBRATIONS = 6

Run = Callable[[], Any]
Wait = Callable[[Any], None]


def burst(run: Run, wait: Wait, calls: int, device: str = "cpu") -> Burst:
    """Time ``calls`` calls together, garbage collection off; every result lives until it was waited for."""
    timed = _each if device == "cpu" else _queued
    collecting = gc.isenabled()
    gc.disable()
    try:
        started_at, before = time.time(), snapshot()
        wall_ns, cpu_ns = timed(run, wait, calls)
        after = snapshot()
    finally:
        if collecting:
            gc.enable()
    return Burst(calls, wall_ns, cpu_ns, receipt(before, after), started_at)


def _each(run: Run, wait: Wait, calls: int) -> tuple[int, int]:
    repeat = range(calls)
    cpu = time.process_time_ns()
    start = time.perf_counter_ns()
    for _ in repeat:
        result = run()
        wait(result)
    end = time.perf_counter_ns()
    return end - start, time.process_time_ns() - cpu


def _queued(run: Run, wait: Wait, calls: int) -> tuple[int, int]:
    repeat = range(calls)
    cpu = time.process_time_ns()
    start = time.perf_counter_ns()
    for _ in repeat:
        result = run()
    wait(result)
    end = time.perf_counter_ns()
    return end - start, time.process_time_ns() - cpu


def calibrate(run: Run, wait: Wait, device: str = "cpu") -> tuple[int, list[Burst]]:
    """Calls per burst, so that a burst takes 25 to 50 ms or is one call; and the warm-up bursts that found it."""
    calls, warmups = 1, []
    for _ in range(CALIBRATIONS):
        warmups.append(burst(run, wait, calls, device))
        seconds = warmups[-1].wall_ns / 1e9
        if SHORTEST_S <= seconds <= LONGEST_S or (calls == 1 and seconds > LONGEST_S):
            break
        # A first call may be slow for once, so a short burst does not decide over a long one: at most 100 times more.
        calls = max(1, min(MAX_CALLS, calls * 100, math.ceil(AIM_S * calls / max(seconds, 1e-9))))
    return calls, warmups
