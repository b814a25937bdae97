"""NVML's gauges, from a library that answers as the real one does: there is no GPU here."""

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from attnbench.measure.clock import gpu


class RefusedError(Exception):
    """The library's error."""


def library(**changes: Any) -> ModuleType:
    module = ModuleType("pynvml")
    functions: dict[str, Any] = {
        "NVMLError": RefusedError,
        "NVML_CLOCK_SM": 1,
        "NVML_CLOCK_MEM": 2,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: ("index", index),
        "nvmlDeviceGetHandleByUUID": lambda uuid: ("uuid", uuid),
        "nvmlDeviceGetClockInfo": lambda _, kind: {1: 1980, 2: 2619}[kind],
        "nvmlDeviceGetPowerUsage": lambda _: 345_600,
        "nvmlDeviceGetTemperature": lambda _, kind: 41 + kind,
        "nvmlDeviceGetMemoryInfo": lambda _: SimpleNamespace(used=2**30),
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: 0x44,
    }
    for name, value in (functions | changes).items():
        setattr(module, name, value)
    return module


def refuse(*_: object) -> None:
    raise RefusedError


def test_gauges_are_in_si_units() -> None:
    assert gpu.read(library(), "handle") == {
        "gpu_clock_hz": 1.98e9,
        "gpu_memory_clock_hz": 2.619e9,
        "gpu_power_w": 345.6,
        "gpu_temperature_c": 41.0,
        "gpu_used_bytes": 2.0**30,
        "gpu_throttle_bits": 0x44,
    }


def test_what_the_library_refuses_is_left_out() -> None:
    gauges = gpu.read(library(nvmlDeviceGetPowerUsage=refuse), "handle")
    assert "gpu_power_w" not in gauges
    assert "gpu_clock_hz" in gauges


def test_heat_and_brakes_are_named_and_the_power_cap_is_none() -> None:
    assert gpu.throttled({"gpu_throttle_bits": float(0x44)}) == "GPU throttled: hardware thermal"
    assert gpu.throttled({"gpu_throttle_bits": float(gpu.POWER_CAP)}) is None
    assert gpu.throttled({}) is None


@pytest.mark.parametrize(
    ("visible", "handle"),
    [(None, ("index", 0)), ("3,4", ("index", 3)), ("GPU-12ab,GPU-34", ("uuid", "GPU-12ab")), ("", None)],
)
def test_the_first_visible_gpu_is_read(visible: str | None, handle: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu.visible_gpu(library()) == handle


def test_without_a_driver_there_are_no_gauges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", library(nvmlInit=refuse))
    assert gpu.open_gauges()() == {}
    monkeypatch.setitem(__import__("sys").modules, "pynvml", library())
    assert gpu.open_gauges()()["gpu_temperature_c"] == 41.0
