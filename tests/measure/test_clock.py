import gc
import threading
import time

import pytest

from attnbench.api.backends import Backend, Stopwatch
from attnbench.measure.clock import receipts
from attnbench.measure.clock.clock import MOST_COLD_CALLS, Clock, Length, clock_for
from attnbench.measure.clock.receipts import TICK_S, Limits


class Kernel:
    """Counts its calls, what was waited for, and whether garbage is collected meanwhile."""

    def __init__(self, slow: int = 0) -> None:
        self.calls, self.slow = 0, slow
        self.waited: list[int] = []
        self.collecting: list[bool] = []

    def run(self) -> int:
        self.calls += 1
        self.collecting.append(gc.isenabled())
        sum(range(self.slow))
        return self.calls

    def wait(self, result: int) -> None:
        self.waited.append(result)


def test_a_burst_on_the_cpu_waits_for_every_call() -> None:
    kernel = Kernel()
    burst = Clock(kernel.wait).burst(kernel.run, 7)
    assert (burst.calls, kernel.calls, kernel.waited) == (7, 7, [1, 2, 3, 4, 5, 6, 7])
    assert burst.wall_ns > 0
    assert burst.cpu_ns >= 0
    assert burst.cache == "none"


def test_garbage_collection_is_off_in_a_burst_and_restored() -> None:
    kernel = Kernel()
    Clock(kernel.wait).burst(kernel.run, 3)
    assert kernel.collecting == [False] * 3
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        Clock(kernel.wait).burst(lambda: 1 // 0, 1)
    assert gc.isenabled()


def test_calibration_gives_at_least_one_call_and_keeps_its_warm_ups() -> None:
    kernel = Kernel(slow=200_000)
    calls, warmups = Clock(kernel.wait).calibrate(kernel.run)
    assert calls >= 1
    assert warmups[0].calls == 1
    assert kernel.calls == sum(burst.calls for burst in warmups)


def test_a_long_call_is_calibrated_by_one_call() -> None:
    kernel = Kernel(slow=1000)
    calls, warmups = Clock(kernel.wait, Length(1e-9, 1e-9, 2e-9)).calibrate(kernel.run)
    assert (calls, len(warmups)) == (1, 1)


class Device(Stopwatch):
    """A device with a queue and a clock of its own: what happens on it is written down in order."""

    def __init__(self, seconds: float = 0.25) -> None:
        self.log: list[str] = []
        self._seconds, self._pairs = seconds, 0

    def run(self) -> str:
        self.log.append("run")
        return "result"

    def wait(self, result: str) -> None:
        self.log.append(f"wait for {result}")

    def flush(self) -> None:
        self.log.append("flush")

    def start(self) -> None:
        self.log.append("start")
        self._pairs += 1

    def stop(self) -> None:
        self.log.append("stop")

    def elapsed_s(self) -> list[float]:
        pairs, self._pairs = self._pairs, 0
        return [self._seconds] * pairs


def on(device: Device, *, events: bool = True) -> Clock:
    return Clock(device.wait, queued=True, stopwatch=device if events else None, flush=device.flush)


def test_a_hot_burst_on_a_device_is_queued_between_two_events() -> None:
    device = Device()
    burst = on(device).burst(device.run, 3, "hot")
    assert device.log == ["start", "run", "run", "run", "stop", "wait for result"]
    assert (burst.wall_ns, burst.cache) == (250_000_000, "hot")
    assert 0 < burst.receipt["host_s"] < 0.2  # the host's own clock stands beside it


def test_a_cold_burst_flushes_before_every_call_and_outside_of_its_events() -> None:
    device = Device()
    burst = on(device).burst(device.run, 2, "cold")
    assert device.log == ["flush", "start", "run", "stop"] * 2 + ["wait for result"]
    assert burst.wall_ns == 500_000_000


def test_without_events_a_cold_call_is_waited_for_and_the_flush_is_not_in_its_time() -> None:
    device = Device()

    def slow_flush() -> None:
        device.flush()
        time.sleep(0.05)

    clock = Clock(device.wait, queued=True, flush=slow_flush)
    burst = clock.burst(device.run, 2, "cold")
    assert device.log == ["flush", "run", "wait for result"] * 2
    assert burst.wall_ns < 50_000_000
    assert "host_s" not in burst.receipt


def test_a_device_rests_after_a_burst_and_its_gauges_are_in_the_receipt(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device()
    rests: list[float] = []
    monkeypatch.setattr("attnbench.measure.clock.clock.time.sleep", rests.append)
    clock = Clock(device.wait, queued=True, stopwatch=device, pause=1.0, gauges=lambda: {"gpu_power_w": 300.0})
    burst = clock.burst(device.run, 4, "hot")
    assert burst.receipt["gpu_power_w"] == 300.0
    assert rests == [pytest.approx(burst.receipt["host_s"])]


def test_cold_calls_are_few_because_flushing_takes_far_longer_than_they_do() -> None:
    device = Device(seconds=1e-7)
    calls, warmups = on(device).calibrate(device.run, "cold")
    assert calls == MOST_COLD_CALLS
    assert [burst.cache for burst in warmups] == ["cold"] * len(warmups)


class CudaLike(Backend):
    """A backend whose accelerator is this process."""

    name = "like"
    versions = devices = to_native = to_numpy = bind = set_threads = threads = None  # type: ignore[assignment]

    def wait(self, result: object) -> None:
        pass

    def stopwatch(self, device: str) -> Stopwatch | None:
        return Device() if device == "cuda" else None


def test_the_cpu_has_one_clock_and_an_accelerator_its_own() -> None:
    host, device = clock_for(CudaLike(), "cpu"), clock_for(CudaLike(), "cuda")
    assert (host.queued, host.stopwatch, host.pause, host.length.aim) == (False, None, 0.0, 0.035)
    assert device.queued
    assert isinstance(device.stopwatch, Device)
    assert (device.pause, device.length.aim) == (1.0, 0.005)


def test_counters_grow_and_a_receipt_is_their_growth() -> None:
    before, after = receipts.snapshot(), receipts.snapshot()
    assert all(after[name] >= before[name] for name in before)
    receipt = receipts.receipt({"steal_s": 1.0, "gone": 2.0}, {"steal_s": 1.5})
    assert receipt["steal_s"] == 0.5
    assert "gone" not in receipt


@pytest.mark.parametrize(
    ("receipt", "disturbed"),
    [
        ({}, False),
        ({"steal_s": TICK_S}, False),  # one tick is the counter's own coarseness
        ({"steal_s": 3 * TICK_S}, True),
        ({"delay_s": 0.0004}, False),
        ({"delay_s": 0.0021}, True),
        ({"pressure_s": 9.0, "involuntary_switches": 99.0}, False),
        ({"gpu_throttle_bits": 0x04}, False),  # the power cap is the rule under load
        ({"gpu_throttle_bits": 0x44}, True),
    ],
)
def test_a_disturbance_is_told_from_the_receipt_alone(receipt: dict[str, float], disturbed: bool) -> None:
    assert (receipts.disturbance(receipt, 0.040, Limits()) is not None) == disturbed


def test_the_delay_of_a_receipt_is_that_of_the_thread_it_hit_most() -> None:
    before = {"delay_s.1": 1.0, "delay_s.2": 4.0, "delay_s.3": 9.0}
    after = {"delay_s.1": 1.1, "delay_s.2": 4.5, "delay_s.4": 0.2}
    assert receipts.receipt(before, after)["delay_s"] == pytest.approx(0.5)
    assert not [name for name in receipts.receipt(before, after) if name.startswith("delay_s.")]


def test_every_thread_of_this_process_is_looked_at() -> None:
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        names = [name for name in receipts.snapshot() if name.startswith("delay_s.")]
        assert f"delay_s.{other.native_id}" in names
    finally:
        stop.set()
        other.join()
