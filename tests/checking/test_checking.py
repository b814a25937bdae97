"""Checking in processes of its own: what a lost worker says, what the plan's results say, and how far it has looked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from attnbench.agree.cases.by_feature import CheckCase
from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.check.boundaries import BoundaryResult, judge_case, with_boundaries
from attnbench.agree.check.random_rows import RandomResult
from attnbench.agree.check.rows import CheckRow, check_cases_given
from attnbench.agree.judge.trial import BLUNT
from attnbench.api import Capabilities, Implementation, UnsupportedError
from attnbench.backends.attend import load_backend
from attnbench.checking import features as checking
from attnbench.checking.features import CheckOptions
from attnbench.interface.checks.covered import covered
from attnbench.workers.protocol import CRASHED, OK, TIMEOUT, Reply
from attnbench.workers.session import Session
from tests.agree.check.kernels import soft

OPTIONS = CheckOptions(["numpy/naive"])
CASES = ["Tq=2", "Tq=3", "Tq=4"]
NO_BACKWARD = "no backward yet"


class FakeSession:
    """Stands for a session: answers questions by ``answer``, and keeps them."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], Reply]) -> None:
        self.answer, self.questions = answer, list[str]()

    def ask(self, op: str, /, *, timeout_s: float | None = None, **arguments: Any) -> Reply:
        del timeout_s
        self.questions.append(op)
        return self.answer(op, arguments)


def agreed(cases: list[str]) -> Reply:
    return Reply(0, OK, value={"results": [BoundaryResult(case, OK, 0.5).to_dict() for case in cases]})


def judged(status: str) -> list[BoundaryResult]:
    """What comes of three cases of which each agrees by itself, where together they get no answer."""

    def answer(_: str, given: dict[str, Any]) -> Reply:
        return agreed(given["cases"]) if len(given["cases"]) == 1 else Reply(0, status, "it is gone")

    return checking._boundaries(cast("Session", FakeSession(answer)), "numpy/naive", OPTIONS, CASES)


def test_what_a_process_died_of_is_a_disagreement_though_no_case_by_itself_shows_it() -> None:
    *before, last = judged(CRASHED)
    assert [row.status for row in before] == ["ok", "ok"]
    assert (last.status, last.fault, last.sequence) == ("wrong", "crash", tuple(CASES))
    assert "it is gone, while it was asked case after case" in (last.reason or "")
    assert BoundaryResult.from_dict(last.to_dict()) == last
    (row, *_) = with_boundaries(
        [CheckRow("numpy/naive", "sizes", "float32", "cpu", "ok", 0)], [*before, last], gradients=True
    )
    assert (row.status, row.fault, row.sequence) == ("wrong", "crash", CASES)


def test_cases_that_took_too_long_together_are_asked_alone_and_accuse_nobody() -> None:
    assert [row.status for row in judged(TIMEOUT)] == ["ok"] * 3


def test_a_process_that_somebody_else_ended_is_asked_again() -> None:
    replies = [Reply(0, CRASHED, "killed", outside=True), agreed(CASES)]
    session = FakeSession(lambda *_: replies.pop(0))
    results = checking._boundaries(cast("Session", session), "numpy/naive", OPTIONS, CASES)
    assert [result.status for result in results] == ["ok"] * 3
    assert session.questions == ["check_boundaries"] * 2


def test_who_is_always_killed_is_not_asked_for_ever() -> None:
    session = FakeSession(lambda *_: Reply(0, CRASHED, "killed", outside=True))
    (result,) = checking._boundaries(cast("Session", session), "numpy/naive", OPTIONS, CASES[:1])
    assert result.status == "wrong"
    assert len(session.questions) < 10


def test_a_lost_random_case_is_a_case_that_can_be_typed() -> None:
    def answer(op: str, _: dict[str, Any]) -> Reply:
        return Reply(0, OK, value={"case": "Tq=7"}) if op == "random_case" else Reply(0, CRASHED, "it is gone")

    result = checking._random(cast("Session", FakeSession(answer)), "numpy/naive", {}, 0, 1, [])
    assert result.disagreements == [{"case": "Tq=7", "reason": "it is gone", "fault": "crash"}]


def test_random_cases_that_die_together_alone_are_one_disagreement() -> None:
    def answer(op: str, given: dict[str, Any]) -> Reply:
        if op == "random_case":
            return Reply(0, OK, value={"case": f"Tq={given['number']}"})
        alone = Reply(0, OK, value=RandomResult("numpy/naive", cases=1).to_dict())
        return alone if given["count"] == 1 else Reply(0, CRASHED, "it is gone")

    result = checking._random(cast("Session", FakeSession(answer)), "numpy/naive", {}, 3, 4, [])
    assert (result.cases, result.wrong, result.disagreements[0]["case"]) == (4, 1, "Tq=6")


def refusing(*_: Any) -> Any:
    raise UnsupportedError(NO_BACKWARD)


def mean(q: Any, _k: Any, v: Any, _call: Any) -> Any:
    """A kernel that knows no softmax."""
    means = v.astype(np.float32).mean(2, keepdims=True)
    return np.broadcast_to(means, (*q.shape[:3], v.shape[3])).astype(v.dtype)


def attention(q: Any, k: Any, v: Any, call: Any) -> Any:
    return soft(np.einsum("bhtd,bhsd->bhts", q, k) * call.scale, v)


def boundary_rows(vjp: Any) -> list[CheckRow]:
    kernel = Implementation("numpy/attention", Capabilities(dtypes=("float32",)), attention, vjp)
    cases = ["Tq=3 S=5 dtype=float32", "backward Tq=3 S=5 dtype=float32", "backward Tq=2 S=9 dtype=float32"]
    judged_cases = [judge_case(load_backend("numpy"), kernel, case) for case in cases]
    rows = [CheckRow(kernel.name, "sizes", "float32", "cpu", "ok", 1, error_ratio=0.1, asked=1)]
    return with_boundaries(rows, judged_cases, gradients=vjp is not None)


def test_gradients_that_are_declared_and_all_refused_are_a_false_declaration() -> None:
    (row,) = boundary_rows(refusing)
    assert (row.status, row.fault) == ("wrong", "declaration")
    assert f"declares gradients, and refuses each of the 2 cases that want them: {NO_BACKWARD}" in (row.reason or "")
    assert (row.left_out, row.refused) == ({f"refused by the kernel: {NO_BACKWARD}": 2}, 2)


def test_without_declared_gradients_there_is_nothing_to_refuse() -> None:
    (row,) = boundary_rows(None)
    assert (row.status, row.cases) == ("ok", 2)


def test_a_case_that_cannot_tell_is_not_counted_as_compared() -> None:
    """The mean of the values passes it."""
    kernel = Implementation("numpy/mean", Capabilities(dtypes=("bfloat16",)), mean)
    case = case_from_text("Tq=2 S=300 D=8 dtype=bfloat16 distribution=large_mean")
    row = check_cases_given(load_backend("numpy"), kernel, [CheckCase("case", case)])
    assert (row.status, row.cases, row.untried) == ("untried", 0, {BLUNT: 1})


def row(impl: str, feature: str, dtype: str, most: int, status: str = "ok", **more: Any) -> CheckRow:
    sizes = dict.fromkeys(("Tq", "S", "both"), (1, most))
    return CheckRow(impl, feature, dtype, "cpu", status, 3, error_ratio=0.1, covered=sizes, **more)


def test_what_was_covered_is_said_of_each_implementation() -> None:
    said = covered([row("numpy/a", "sizes", "float32", 9000), row("numpy/b", "sizes", "float64", 70)])
    assert said[0].startswith("numpy/a: Covered: Tq 1 to 9,000, S 1 to 9,000; values in float32, no gradients.")
    assert said[1].startswith("numpy/b: Covered: Tq 1 to 70")
    assert len(covered([row("numpy/a", "sizes", "float32", 9), row("numpy/b", "sizes", "float32", 9)])) == 1


def test_what_was_not_covered_is_said() -> None:
    """Sizes that were large one by one, a feature without a row in one of the dtypes, and cases without a result."""
    sizes = row("numpy/a", "sizes", "float32", 9000, untried={"there was no time": 2})
    sizes = CheckRow.from_dict({**sizes.to_dict(), "covered": {**(sizes.covered or {}), "both": (1, 600)}})
    mask, other = row("numpy/a", "mask", "float32", 70), row("numpy/a", "sizes", "float64", 70)
    (said,) = covered([sizes, mask, other])
    gaps = "Tq and S both above 600; larger sizes; mask in some dtypes (?); 2 cases, because there was no time."
    assert said.endswith(f"Not covered: {gaps}")


def test_a_plan_without_a_case_is_said() -> None:
    rows = with_boundaries([row("numpy/a", "sizes", "float32", 9)], [], gradients=True)
    assert covered(rows)[0].endswith("every boundary, since no case of the plan can be made of what is declared.")


@pytest.mark.parametrize("others", [{}, {"mask": "unsupported"}])
def test_what_is_not_supported_is_no_gap(others: dict[str, str]) -> None:
    rows = [row("numpy/a", "sizes", dtype, 9) for dtype in ("float32", "float64")]
    rows += [row("numpy/a", name, "float32", 9, status) for name, status in others.items()]
    assert "(?)" not in covered(rows)[0]
