"""What a worker does: one table, put together of what every worker does, what is timed and what is checked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from attnbench.backends.card import BackendInfo
from attnbench.checking.declare_operation import declare_operation
from attnbench.checking.lost import lost_row
from attnbench.checking.operations import check_operations, conformance_operations, plan_operations
from attnbench.errors import UncountedError
from attnbench.live.pair import UNSPOKEN
from attnbench.measure.anchor.serving import Anchoring
from attnbench.measure.audits.judging import Judging
from attnbench.measure.bench import Bench
from attnbench.measure.general import General
from attnbench.measure.worker import attempt, operations
from attnbench.precheck.operations import precheck_operations
from attnbench.workers.process import Setting, WorkerProcess
from attnbench.workers.protocol import Reply, Request

GENERAL = {"hello", "describe", "observe"}
JUDGED = {"draw", "judge_answers", "was_right", "draw_case", "judge_case"}
TIMED = {
    "prepare",
    "burst",
    "steady",
    "answer",
    "audit",
    "rest",
    "verify",
    "memory",
    "weigh_ready",
    "weigh_call",
    "drop",
    "ceilings",
}
PLANNED = {"check_plan", "check_sweep", "check_boundaries", "capabilities"}
CHECKED = {"check", "check_random", "check_case", "random_case", "examine", "answer_case"}
DECLARED = {"declare"}
ANCHORED = {"anchor_prepare", "anchor_burst"}
PRECHECKED = {
    *("precheck_machine", "precheck_cases", "precheck_case", "precheck_offsets", "precheck_grids"),
    *("precheck_lowered", "precheck_interpretable", "precheck_interpreted", "precheck_seen"),
}
PROBED = {"semantics_plan", "semantics", "onnx_plan", "check_onnx"}


def test_every_part_has_its_own_operations_and_the_worker_has_them_all() -> None:
    general = General()
    parts = [
        general.operations(),
        Bench(lambda: general.backend).operations(),
        plan_operations(lambda: general.backend),
        check_operations(lambda: general.backend),
        declare_operation(lambda: general.backend),
        conformance_operations(lambda: general.backend),
        Judging().operations(),
        Anchoring().operations(),
        precheck_operations(lambda: general.backend),
    ]
    every = [GENERAL, TIMED, PLANNED, CHECKED, DECLARED, PROBED, JUDGED, ANCHORED, PRECHECKED]
    assert [set(part) for part in parts] == every
    assert set(operations()) == set().union(*every)
    assert len(operations()) == sum(map(len, parts))


def test_all_parts_have_the_backend_that_was_greeted() -> None:
    requests: dict[str, dict[str, Any]] = {
        "ceilings": {"seconds": 0.0, "device": "cpu", "dtypes": []},
        "semantics_plan": {"device": "cpu"},
    }
    with WorkerProcess("numpy", Setting()) as worker:
        for op, arguments in requests.items():
            assert "its first operation is hello" in str(worker.call(op, 60, **arguments).reason)
        assert worker.call("hello", 60, backend="numpy", threads=1).ok
        for op, arguments in requests.items():
            assert worker.call(op, 60, **arguments).ok


class Counting:
    """An adapter that counts its threads as it is told to."""

    def __init__(self, counted: dict[str, int] | Exception) -> None:
        self.counted = counted

    def set_threads(self, threads: int) -> None:
        del threads

    def devices(self) -> tuple[str, ...]:
        return ("cpu",)

    def threads(self) -> dict[str, int]:
        if isinstance(self.counted, Exception):
            raise self.counted
        return self.counted


@pytest.mark.parametrize(
    ("counted", "reason"),
    [
        (UncountedError("the threads of it cannot be counted"), "the threads of it cannot be counted"),
        ({"pool": 3}, "numpy was to use 1 threads, but pool uses 3"),
    ],
)
def test_threads_that_are_not_counted_or_not_as_asked_are_no_fault_of_a_kernel(
    counted: dict[str, int] | Exception, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackendInfo, "load", lambda _: Counting(counted))
    done = attempt(General().hello, Request(1, "hello", {"backend": "numpy", "threads": 1}))
    assert done == ("unsupported", reason, {})
    row = lost_row("numpy/naive", "all", "all", "cpu", Reply(1, done[0], done[1]))
    assert (row.status, row.fault, row.reason) == ("unsupported", None, reason)


def loaded(module: str) -> set[str]:
    """The modules of ours that importing one loads."""
    ask = f"import sys, {module}; print(*(name for name in sys.modules if name.startswith('attnbench.')))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_clock_knows_nothing_of_checking_and_nothing_of_the_parents_side() -> None:
    checking = ("attnbench.agree", "attnbench.ablate", "attnbench.checking")
    parents = {f"attnbench.workers.{name}" for name in ("process", "session", "pool", "limits", "devices")}
    parents |= {f"attnbench.checking.{name}" for name in ("examining", "features", "semantics")}
    parents |= {f"attnbench.measure.run.{name}" for name in ("plan", "block", "run")}
    modules = loaded("attnbench.measure.bench")
    assert "attnbench.measure.clock.clock" in modules
    assert not {name for name in modules if name.startswith(checking)}
    assert not modules & parents
    assert not loaded("attnbench.measure.worker") & parents


@pytest.mark.parametrize("arguments", [{"wrong": 1}, {"backend": "numpy", "threads": 1, "more": 1}, {}])
def test_a_hello_that_is_not_understood_is_told_from_one_that_fails(arguments: dict[str, object]) -> None:
    with WorkerProcess("numpy", Setting()) as worker:
        reply = worker.call("hello", 60, **arguments)
    assert reply.status == "crashed"
    assert any(words in str(reply.reason) for words in UNSPOKEN), reply.reason


def test_a_crash_in_hello_is_not_taken_for_another_language(dropin: Callable[[str], str]) -> None:
    with WorkerProcess("numpy", Setting()) as worker:
        reply = worker.call("describe", 60, files=[dropin("raise TypeError('hello() failed')")])
    assert not any(words in str(reply.reason) for words in UNSPOKEN)
