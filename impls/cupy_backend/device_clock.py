"""Timing on a GPU with CuPy: CUDA events, and a buffer that empties the L2 cache.

There are no CUDA graphs of these calls: ``numpy/naive`` reads whether a value is missing, which waits for the GPU. Nor
is there a second clock, since CuPy has none of CUPTI's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy

from attnbench.api.backends import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable

# Written between cold calls: twice the largest L2 cache there is, where the driver does not tell its size.
UNKNOWN_L2_BYTES = 128 * 2**20


class CupyStopwatch(Stopwatch):
    """Pairs of CUDA events on the current stream."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Any]] = []

    def start(self) -> None:
        """Queue an event before the work."""
        self._pairs.append((cupy.cuda.Event(), cupy.cuda.Event()))
        self._pairs[-1][0].record()

    def stop(self) -> None:
        """Queue an event behind the work."""
        self._pairs[-1][1].record()

    def elapsed_s(self) -> list[float]:
        """Wait, and return the seconds between the events of every pair since the last time."""
        cupy.cuda.Device().synchronize()
        pairs, self._pairs = self._pairs, []
        return [cupy.cuda.get_elapsed_time(start, stop) / 1e3 for start, stop in pairs]


def flusher() -> Callable[[], None]:
    """A function that queues a write over more than the L2 cache."""
    size = properties().get("l2CacheSize", 0) * 2 or UNKNOWN_L2_BYTES
    buffer = cupy.empty(size, dtype="int8")

    def flush() -> None:
        buffer.fill(0)

    return flush


def properties() -> dict[str, Any]:
    """What the CUDA runtime tells of the current device."""
    by_name: dict[str, Any] = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.get_device_id())
    return by_name
