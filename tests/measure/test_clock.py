import gc

import pytest

from attnbench.measure import clock, receipts
from attnbench.measure.receipts import TICK_S, Limits


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
    burst = clock.burst(kernel.run, kernel.wait, 7)
    assert (burst.calls, kernel.calls, kernel.waited) == (7, 7, [1, 2, 3, 4, 5, 6, 7])
    assert burst.wall_ns > 0
    assert burst.cpu_ns >= 0


def test_a_burst_on_an_accelerator_queues_and_waits_once() -> None:
    kernel = Kernel()
    clock.burst(kernel.run, kernel.wait, 7, "cuda")
    assert (kernel.calls, kernel.waited) == (7, [7])


def test_garbage_collection_is_off_in_a_burst_and_restored() -> None:
    kernel = Kernel()
    clock.burst(kernel.run, kernel.wait, 3)
    assert kernel.collecting == [False] * 3
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        clock.burst(lambda: 1 // 0, kernel.wait, 1)
    assert gc.isenabled()


def test_calibration_gives_at_least_one_call_and_keeps_its_warm_ups() -> None:
    kernel = Kernel(slow=200_000)
    calls, warmups = clock.calibrate(kernel.run, kernel.wait)
    assert calls >= 1
    assert warmups[0].calls == 1
    assert kernel.calls == sum(burst.calls for burst in warmups)


def test_a_long_call_is_calibrated_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SHORTEST_S", 1e-9)
    monkeypatch.setattr(clock, "LONGEST_S", 2e-9)
    kernel = Kernel(slow=1000)
    calls, warmups = clock.calibrate(kernel.run, kernel.wait)
    assert (calls, len(warmups)) == (1, 1)


def test_counters_grow_and_a_receipt_is_their_growth() -> None:
    before, after = receipts.snapshot(), receipts.snapshot()
    assert all(after[name] >= before[name] for name in before)
    found = receipts.receipt({"steal_s": 1.0, "gone": 2.0}, {"steal_s": 1.5})
    assert found["steal_s"] == 0.5
    assert "gone" not in found


@pytest.mark.parametrize(
    ("found", "disturbed"),
    [
        ({}, False),
        ({"steal_s": TICK_S}, False),  # one tick is the counter's own coarseness
        ({"steal_s": 3 * TICK_S}, True),
        ({"delay_s": 0.0004}, False),
        ({"delay_s": 0.0021}, True),
        ({"pressure_s": 9.0, "involuntary_switches": 99.0}, False),
    ],
)
def test_a_disturbance_is_told_from_the_receipt_alone(found: dict[str, float], disturbed: bool) -> None:
    assert (receipts.disturbance(found, 0.040, Limits()) is not None) == disturbed
