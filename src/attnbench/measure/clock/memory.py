"""Memory of one call, told by the process itself: its high-water mark during the call, less the level just before it.

On a CPU ``workers.weighing`` reads it from outside; this is for accelerators, and where nobody outside can tell.

The kernel keeps the mark (``VmHWM``) and forgets it when 5 is written to ``/proc/self/clear_refs``. It counts resident
pages, so that an allocation nobody touches is free, as it is for the machine. On an accelerator the framework's own
allocator tells, and what the driver counts as used (NVML) stands beside it. What a compiler says of its own program
(XLA's memory analysis) is kept as a detail.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnbench.workers import tree
from attnbench.workers.protocol import Memory

if TYPE_CHECKING:
    from attnbench.backends.backend import Backend
    from attnbench.backends.bind import Binding

    Gauges = Callable[[], dict[str, float]]

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, LARGEST_THRESHOLD = -1, -2, -4, 2**31 - 1
# An arena of a thread is made of heaps of 64 MiB; one that is empty is given back, whatever the threshold says, unless
# this much more than it holds is to be kept.
TOP_PAD = 2 * 64 * 2**20
ALLOCATOR = "allocator"
USED = "gpu_used_bytes"
NOT_THERE = "not measured: this system has no /proc/self/clear_refs that resets the high-water mark"


def release() -> None:
    """Give freed memory back to the system, as far as Python and the C library can."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)


def keep_freed() -> None:
    """Let the C library keep what is freed: whether it gives pages back depends on what else was allocated, and when.

    A call for which the same pages are asked of the system each time was seen to take twice as long.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_TRIM_THRESHOLD, LARGEST_THRESHOLD)
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TOP_PAD, TOP_PAD)


def settle(backend: Backend) -> None:
    """Give back what nobody needs, before memory is measured."""
    gc.collect()  # what is garbage cannot leave a framework's cache
    backend.trim()
    release()


def peak_of_call(binding: Binding, gauges: Gauges = dict) -> Memory:
    """Call once and say how far memory rose above the level before the call."""
    backend, device, run = binding.backend, binding.device, binding.run
    settle(backend)
    memory = _on_host(run, backend) if device == "cpu" else _on_device(run, backend, device, gauges)
    return replace(memory, detail={**memory.detail, **binding.bound.detail})


def _on_host(run: Callable[[], Any], backend: Backend) -> Memory:
    pid = os.getpid()
    if not tree.reset_mark(pid) or (before := tree.level(pid, "VmRSS")) is None:
        return Memory(None, NOT_THERE)
    result = run()
    backend.wait(result)
    peak, after = tree.level(pid, "VmHWM"), tree.level(pid, "VmRSS")
    del result
    if peak is None:
        return Memory(None, NOT_THERE)
    return Memory(max(0, peak - before), "VmHWM", {"before_bytes": before, "after_bytes": after})


def _on_device(run: Callable[[], Any], backend: Backend, device: str, gauges: Gauges) -> Memory:
    backend.reset_peak(device)
    before = gauges().get(USED)
    result = run()
    backend.wait(result)
    peak, after = backend.peak_bytes(device), gauges().get(USED)
    del result
    used = {} if before is None or after is None else {"nvml_before_bytes": before, "nvml_after_bytes": after}
    source = ALLOCATOR if peak is not None else f"not measured: {backend.name} does not tell on {device}"
    return Memory(peak, source, used)
