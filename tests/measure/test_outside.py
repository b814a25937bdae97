"""The clock outside: a process that does not tell the time has no times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from attnbench.measure.clock.outside import FEWEST, TRANSPORT_S, Outside
from attnbench.measure.run.options import RunOptions
from attnbench.measure.run.run import run
from attnbench.suite import Cell
from attnbench.workers.protocol import Burst, Reply
from tests.dropins import GOOD, tiny

from .conftest import QUICK

Make = Callable[..., RunOptions]


CPU, CUDA = (Cell("outside", {}, tiny(), "numpy/naive", device) for device in ("cpu", "cuda"))


def add(outside: Outside, took_s: float, said_s: float, calls: int = 10, **receipt: float) -> None:
    burst = Burst(calls, round(said_s * 1e9), 0, receipt, 0.0, "hot" if receipt else "none")
    outside.add(Reply(1, "ok", took_s=took_s), burst, CUDA if receipt else CPU)


def test_a_process_may_leave_out_the_transport_and_no_more() -> None:
    honest, false = Outside(), Outside()
    for _ in range(FEWEST):
        add(honest, 0.035 + TRANSPORT_S, 0.029)
        add(false, 0.035 + TRANSPORT_S, 0.027)
    assert honest.broken() is None
    assert not honest.unsure
    says = "its process says that a burst took 27 ms, and by the clock outside it took 40 ms: the clock in its process"
    assert (false.broken() or "").startswith(says)


def test_most_bursts_must_be_false_and_enough_of_them_before_anybody_is_accused() -> None:
    outside = Outside()
    for _ in range(FEWEST - 1):
        add(outside, 0.2, 0.03)
    assert outside.broken() is None
    assert outside.unsure, "further bursts are to be asked for"
    for _ in range(FEWEST):
        add(outside, 0.035, 0.034)
    assert outside.broken() is None


def test_bursts_too_short_to_tell_are_asked_for_once_more_and_longer() -> None:
    outside = Outside()
    add(outside, 0.004, 0.0001, calls=3)
    assert outside.unsure
    assert outside.calls == 31
    add(outside, 0.04, 0.039)
    assert not outside.unsure


def test_who_waits_for_a_processor_is_not_accused_and_who_says_less_than_it_used_is() -> None:
    waits, false = Outside(), Outside()
    for _ in range(FEWEST):
        waits.add(Reply(1, "ok", took_s=0.3, cpu_s=0.031), Burst(10, 30_000_000, 0, {}, 0.0), CPU)
        false.add(Reply(1, "ok", took_s=0.036, cpu_s=0.036), Burst(10, 26_000_000, 0, {}, 0.0), CPU)
    assert waits.broken() is None
    assert "the clock in its process" in (false.broken() or "")


def test_on_an_accelerator_the_rest_after_a_burst_does_not_count() -> None:
    outside = Outside()
    for _ in range(FEWEST):
        add(outside, 0.042, 0.004, host_s=0.019)
    assert outside.broken() is None


def test_on_the_cpu_only_the_time_that_counts_is_believed() -> None:
    """Neither another cache state nor another clock in the receipt excuses it."""
    outside = Outside()
    for _ in range(FEWEST):
        outside.add(Reply(1, "ok", took_s=0.3), Burst(10, 30_000_000, 0, {"host_s": 0.3}, 0.0, "cold"), CPU)
    assert outside.broken() is not None


SLOW_CLOCK = """
    import time

    told, started = time.perf_counter_ns, time.perf_counter_ns()
    time.perf_counter_ns = lambda: started + (told() - started) // {slower}
"""


@pytest.mark.parametrize(("slower", "status"), [(9, "wrong"), (1, "ok")])
def test_a_kernel_that_slows_the_clock_of_its_process(options: Make, tmp_path: Path, slower: int, status: str) -> None:
    file = tmp_path / "slow_clock.py"
    file.write_text(dedent(GOOD) + dedent(SLOW_CLOCK).format(slower=slower), encoding="utf-8")
    done = run(options(files=[str(file)], patterns=["numpy/naive", "numpy/good"], effort=QUICK))
    by_variant = {row.variant: row for row in done.rows}
    assert by_variant["naive"].status == "ok"
    assert by_variant["good"].status == status, by_variant["good"].reason
    if status == "wrong":
        assert "the clock in its process does not tell the time" in (by_variant["good"].reason or "")
        assert by_variant["good"].time_median_s is None
        assert done.exit_code == 1
