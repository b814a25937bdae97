"""Gauges of an NVIDIA GPU by NVML: clocks, power, temperature, memory in use, and why its clock is held down.

Needs the package nvidia-ml-py (extra ``cuda``) and a driver; without them there are no gauges, and a receipt says
nothing of the GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

# What slows a GPU down that is not the kernel's own doing (nvml.h); the software power cap is the rule under load.
THROTTLES = {0x08: "hardware slowdown", 0x20: "software thermal", 0x40: "hardware thermal", 0x80: "power brake"}
POWER_CAP = 0x04


def nvml() -> ModuleType | None:
    """The library, initialised; ``None`` where it or the driver is not there."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    module: ModuleType = pynvml
    return module


def open_gauges() -> Callable[[], dict[str, float]]:
    """A function that reads the gauges of the first visible GPU; it returns nothing where there are none."""
    library = nvml()
    handle = None if library is None else visible_gpu(library)
    if library is None or handle is None:
        return dict
    return lambda: read(library, handle)


def visible_gpu(library: ModuleType) -> Any:
    """The handle of the GPU that a framework calls its first: by CUDA_VISIBLE_DEVICES, an index or a UUID."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    with suppress(library.NVMLError):
        if first.isdigit():
            return library.nvmlDeviceGetHandleByIndex(int(first))
        if first:
            return library.nvmlDeviceGetHandleByUUID(first)
    return None


def read(library: ModuleType, handle: Any) -> dict[str, float]:
    """Hz, W, degrees Celsius, bytes, and the bits of the reasons that hold the clock down; what it tells."""
    gauges: dict[str, float] = {}
    with suppress(library.NVMLError):
        gauges["gpu_clock_hz"] = library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_SM) * 1e6
    with suppress(library.NVMLError):
        gauges["gpu_memory_clock_hz"] = library.nvmlDeviceGetClockInfo(handle, library.NVML_CLOCK_MEM) * 1e6
    with suppress(library.NVMLError):
        gauges["gpu_power_w"] = library.nvmlDeviceGetPowerUsage(handle) / 1e3
    with suppress(library.NVMLError):
        gauges["gpu_temperature_c"] = float(library.nvmlDeviceGetTemperature(handle, library.NVML_TEMPERATURE_GPU))
    with suppress(library.NVMLError):
        gauges["gpu_used_bytes"] = float(library.nvmlDeviceGetMemoryInfo(handle).used)
    with suppress(library.NVMLError):
        gauges["gpu_throttle_bits"] = float(library.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    return gauges


def throttled(receipt: dict[str, float]) -> str | None:
    """Why the clock was held down, from a receipt; ``None`` where it was not, or by the power cap alone."""
    bits = int(receipt.get("gpu_throttle_bits", 0))
    reasons = [name for bit, name in THROTTLES.items() if bits & bit]
    return "GPU throttled: " + ", ".join(reasons) if reasons else None
