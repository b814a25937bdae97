"""What the clock costs, and what torch.utils.benchmark says of the same cells: ``python -m tests.benchmarks.clocks``.

The overhead: a kernel that spins until a millisecond has passed is timed in bursts; what is measured above the
millisecond is the clock's. The comparison: bursts of both clocks alternate in one process, ABBA, and the medians are
held against each other.

glibc gives freed memory back when it lies at the top of the heap, and whether it does depends on what else lies there:
with that on, our bursts of one cell read up to half as long again as the other clock's in some comparisons, and the
same in others. Both are run with it switched off, so that it is the clocks that are compared.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.benchmark import Timer

from attnbench.api.backends import Backend
from attnbench.api.suites import AttentionSpec, Case, Problem
from attnbench.backends import discover
from attnbench.backends.bind import bind_case
from attnbench.measure.clock.clock import Clock, clock_for

HEAP = {"MALLOC_TRIM_THRESHOLD_": "1000000000", "MALLOC_MMAP_THRESHOLD_": "1000000000"}
MILLISECOND_NS = 1_000_000
BURSTS = 60
CELLS = (
    ("torch/sdpa", Problem(B=1, Hq=4, Hkv=4, Tq=128, S=128, D=64)),
    ("torch/sdpa", Problem(B=1, Hq=8, Hkv=8, Tq=512, S=512, D=64)),
    ("torch/naive", Problem(B=1, Hq=4, Hkv=4, Tq=256, S=256, D=64)),
    ("torch/naive", Problem(B=1, Hq=1, Hkv=1, Tq=16, S=16, D=16)),
)


def overhead() -> float:
    """Median seconds per call beyond the time that the kernel itself saw pass."""
    seen: list[int] = []

    def spin() -> None:
        start = time.perf_counter_ns()
        while (now := time.perf_counter_ns()) - start < MILLISECOND_NS:
            pass
        seen.append(now - start)

    clock, beyond = Clock(lambda _: None), []
    for _ in range(BURSTS):
        seen.clear()
        burst = clock.burst(spin, 35)
        beyond.append((burst.wall_ns - sum(seen)) / burst.calls / 1e9)
    return statistics.median(beyond)


def compared(impl: str, problem: Problem) -> tuple[float, float]:
    """Median seconds per call by our clock and by torch's, in alternating bursts of as many calls."""
    backend = discover.backend("torch").load()
    backend.set_threads(1)
    run, clock = bound(backend, impl, problem), clock_for(backend, "cpu")
    calls, _ = clock.calibrate(run)
    timer = Timer("run()", globals={"run": run}, num_threads=1)

    def ours() -> float:
        return clock.burst(run, calls).wall_ns / calls / 1e9

    def theirs() -> float:
        return timer.timeit(calls).median

    mine: list[float] = []
    other: list[float] = []
    for turn in range(BURSTS // 2):
        order = ((mine, ours), (other, theirs))
        for kept, measure in (*order, *order[::-1]) if turn % 2 else (*order[::-1], *order):
            kept.append(measure())
    return statistics.median(mine), statistics.median(other)


def bound(backend: Backend, impl: str, problem: Problem) -> Callable[[], Any]:
    """What both clocks call."""
    case = Case(AttentionSpec(), problem)
    return bind_case(backend, discover.load_implementation(impl, ()), case).run


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    beyond = overhead()
    print(f"overhead of the clock: {beyond * 1e9:.0f} ns per call, {beyond / 1e-3:.4%} of a millisecond")
    for impl, problem in CELLS:
        ours, theirs = compared(impl, problem)
        label = Case(AttentionSpec(), problem).label()
        print(f"{impl:12s} {label:40s} ours/torch.utils.benchmark {ours / theirs:.4f} (per call {ours * 1e6:.0f} us)")


if __name__ == "__main__":
    if not HEAP.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "tests.benchmarks.clocks"], os.environ | HEAP)  # noqa: S606
    main()
