"""A check with a budget: what still fits into it, who has which part of it, and that it ends in time."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from attnbench.agree.check.boundaries import BoundaryResult, with_boundaries
from attnbench.agree.check.rows import UNTRIED, CheckRow
from attnbench.checking import features
from attnbench.checking.ends import CLOSING_S, EXAMINING, INTERRUPTED, LISTING, Ends, Part
from attnbench.checking.examining import examined
from attnbench.checking.features import CASES, CheckOptions, check
from attnbench.checking.lost import lost_row
from attnbench.interface.checks.covered import covered
from attnbench.interface.checks.status import exit_code
from attnbench.workers.protocol import NOT_RUN, SPENT, Reply

# A kernel that sleeps in each call, and one that is wrong: either asks for more time than there is.
SLOW = """
import time
from attnbench.api import Capabilities, implementation

@implementation("numpy/slow", Capabilities())
def attend(q, k, v, call):
    time.sleep(60)
"""
WRONG = """
import numpy as np
from attnbench.api import Capabilities, implementation

@implementation("numpy/zeros", Capabilities())
def attend(q, k, v, call):
    return np.zeros(q.shape[:3] + v.shape[3:], q.dtype)
"""
LATE_S = 2.5  # what a busy machine may add


class Clock:
    """A time that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def part(clock: Clock, budget_s: float | None) -> Part:
    return Ends(budget_s, now=clock).parts(1, 1)()


def test_without_a_budget_everything_fits(clock: Clock) -> None:
    mine = part(clock, None)
    mine.disagreed()
    assert math.isinf(mine.left_s)
    assert (mine.fitting(CASES, 8), mine.sweeps(3)) == (8, 3)


def test_nothing_is_begun_that_would_not_end_in_time(clock: Clock) -> None:
    mine = part(clock, 10.0 + CLOSING_S)
    assert mine.fitting(CASES, 8) == 1, "of an unknown pace one is tried"
    mine.took(CASES, 1, 3.0)
    assert mine.fitting(CASES, 8) == 3
    clock.now += 8.0
    assert mine.fitting(CASES, 8) == 0
    assert not mine.over
    clock.now += 2.1
    assert mine.over


def test_listing_the_plan_leaves_time_for_its_cases(clock: Clock) -> None:
    mine = part(clock, 20.0)
    mine.took(LISTING, 1, 3.0)
    assert mine.sweeps(3) == 2
    clock.now += 14.0
    assert mine.sweeps(3) == 1
    clock.now += 4.0
    assert mine.sweeps(3) == 0


def test_implementations_share_what_is_left(clock: Clock) -> None:
    parts = Ends(30.0 + CLOSING_S, now=clock).parts(3, 1)
    lefts = []
    for _ in range(3):
        mine = parts()
        lefts.append(mine.left_s)
        clock.now += 5.0  # each leaves something to those after it
    assert lefts == pytest.approx([10.0, 12.5, 20.0])


def test_of_those_at_work_at_once_each_has_the_time_of_its_turn(clock: Clock) -> None:
    parts = Ends(30.0 + CLOSING_S, now=clock).parts(4, 2)
    assert parts().left_s == pytest.approx(15.0)


def test_a_part_is_kept_for_examining_once_there_is_a_disagreement(clock: Clock) -> None:
    ends = Ends(100.0, now=clock)
    before = ends.until()
    ends.parts(1, 1)().disagreed()
    assert ends.until() == pytest.approx(before - EXAMINING * 100.0)
    assert ends.last() == before


def test_an_answer_that_came_too_late_accuses_nobody() -> None:
    late = Reply(0, NOT_RUN, SPENT)
    row = lost_row("numpy/a", "sizes", "float32", "cpu", late)
    assert (row.status, row.reason, row.fault) == (UNTRIED, SPENT, None)

    class Late:
        def ask(self, *_: Any, **__: Any) -> Reply:
            return late

    results = features._boundaries(cast("Any", Late()), "numpy/a", CheckOptions(["numpy/a"]), ["Tq=2", "Tq=3"])
    assert [(result.status, result.reason) for result in results] == [(UNTRIED, SPENT)] * 2


@pytest.mark.parametrize("results", [[], [BoundaryResult("Tq=3 S=5 dtype=float32", UNTRIED, reason=SPENT)]])
def test_a_plan_that_was_not_listed_to_its_end_is_said(results: list[BoundaryResult]) -> None:
    sizes = dict.fromkeys(("Tq", "S", "both"), (1, 9))
    rows = [CheckRow("numpy/a", "sizes", "float32", "cpu", "ok", 3, error_ratio=0.1, covered=sizes)]
    (said,) = covered(with_boundaries(rows, results, gradients=False, unlisted="its end came"))
    assert said.endswith("cases of the plan that were not counted, because its end came.")
    assert "no case of the plan can be made" not in said
    assert ("1 case, because the budget was spent" in said) == bool(results)


def checked(tmp_path: Path, text: str, name: str, budget_s: float) -> tuple[list[CheckRow], float]:
    """The rows of a file, examined, and the seconds that it took."""
    file = tmp_path / "mine.py"
    file.write_text(text)
    options = CheckOptions([name], [str(file)], dtypes=["float32"], budget_s=budget_s)
    began = time.monotonic()
    ends = Ends(budget_s, began)
    rows = examined(check(options, ends=ends), options, ends.last)
    return rows, time.monotonic() - began


def test_a_kernel_that_does_not_come_back_is_not_waited_for(tmp_path: Path) -> None:
    rows, seconds = checked(tmp_path, SLOW, "numpy/slow", 2.0)
    assert seconds < 2.0 + LATE_S
    assert {row.status for row in rows} <= {UNTRIED, "unsupported"}
    assert {row.reason for row in rows if row.status == UNTRIED} == {SPENT}


def test_an_interrupt_ends_it_in_seconds_and_keeps_what_was_tried(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SLOW)
    options = CheckOptions(
        ["numpy/naive", "numpy/slow"], [str(file)], dtypes=["float32"], features=["sizes"], budget_s=600.0
    )
    ends, at = Ends(options.budget_s), list[float]()

    def interrupt() -> None:
        at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def tell(row: CheckRow) -> None:
        if (
            row.impl == "numpy/naive" and row.feature == "sizes"
        ):  # numpy/slow is in its first call by then, or about to be
            timer.start()

    timer = threading.Timer(0.3, interrupt)
    rows = check(options, tell, ends=ends)
    assert time.monotonic() - at[0] < 2 * LATE_S
    assert ends.interrupted
    naive, slow = ([row for row in rows if row.impl == name] for name in options.impls)
    assert any(row.cases for row in naive)
    assert {row.status for row in slow} == {UNTRIED}
    assert {row.reason for row in slow} == {INTERRUPTED}
    assert exit_code(wrong=False, compared=True, interrupted=True) == 3


def test_examining_disagreements_is_within_the_budget(tmp_path: Path) -> None:
    rows, seconds = checked(tmp_path, WRONG, "numpy/zeros", 4.0)
    assert seconds < 4.0 + LATE_S
    assert any(row.status == "wrong" for row in rows)
