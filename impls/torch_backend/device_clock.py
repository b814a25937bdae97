"""Timing on a GPU with PyTorch: CUDA events, a buffer that empties the L2 cache, CUDA graphs, the profiler's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from attnbench.api.backends import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable

# Written between cold calls: twice the largest L2 cache there is, where the driver does not tell its size.
UNKNOWN_L2_BYTES = 128 * 2**20
WARM_UPS = 3


class EventStopwatch(Stopwatch):
    """Pairs of CUDA events on the current stream."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Any]] = []

    def start(self) -> None:
        """Queue an event before the work."""
        pair = tuple(torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._pairs.append((pair[0], pair[1]))
        pair[0].record()

    def stop(self) -> None:
        """Queue an event behind the work."""
        self._pairs[-1][1].record()

    def elapsed_s(self) -> list[float]:
        """Wait, and return the seconds between the events of every pair since the last time."""
        torch.cuda.synchronize()
        pairs, self._pairs = self._pairs, []
        return [start.elapsed_time(stop) / 1e3 for start, stop in pairs]


def flusher() -> Callable[[], None]:
    """A function that queues a write over more than the L2 cache."""
    size = getattr(torch.cuda.get_device_properties(), "L2_cache_size", 0) * 2 or UNKNOWN_L2_BYTES
    buffer = torch.empty(size, dtype=torch.int8, device="cuda")

    def flush() -> None:
        buffer.zero_()

    return flush


def as_graph(run: Callable[[], Any]) -> Callable[[], Any] | None:
    """``run`` captured as a CUDA graph, to be replayed; ``None`` where it cannot be captured."""
    current, beside = torch.cuda.current_stream(), torch.cuda.Stream()
    beside.wait_stream(current)
    with torch.cuda.stream(beside):
        for _ in range(WARM_UPS):
            run()
    current.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            result = run()
    except RuntimeError:  # it waits, or allocates, in a way that a graph cannot
        torch.cuda.synchronize()
        return None

    def replay() -> Any:
        graph.replay()
        return result

    return replay


def kernel_time_s(run: Callable[[], Any]) -> float | None:
    """Seconds that one call's kernels run on the GPU, by CUPTI through the profiler; ``None`` if it saw none."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=activities) as profile:
        run()
        torch.cuda.synchronize()
    total_us = sum(event.self_device_time_total for event in profile.key_averages())
    return total_us / 1e6 if total_us > 0 else None
