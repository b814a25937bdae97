"""A kernel that refuses at the gate is unsupported; one that refuses under the clock what it took there is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.measure.bench import Bench
from attnbench.measure.general import classify
from attnbench.suite import Cell

REFUSING = """
import numpy as np
from attnbench.api import Capabilities, UnsupportedError, implementation

CALLS = []

@implementation("numpy/moody", Capabilities())
def attend(q, k, v, call):
    CALLS.append(q.shape)
    if REFUSES:
        raise UnsupportedError("not today")
    s = np.einsum("bhtd,bhsd->bhts", q, k) * call.scale
    p = np.exp(s - s.max(-1, keepdims=True))
    return np.einsum("bhts,bhsd->bhtd", p / p.sum(-1, keepdims=True), v).astype(q.dtype)
"""
CASE = Case(AttentionSpec(), Problem(B=1, Hq=1, Tq=64, S=64, D=8))
BACKEND, _ = resolve("numpy/naive")
REFUSED = "refused what it took at the gate: not today"
Dropin = Callable[[str], str]


class Moody:
    """A bench with one cell of a kernel that refuses by what ``when`` says; ``{calls}`` are the calls so far."""

    def __init__(self, dropin: Dropin, when: str) -> None:
        file = dropin(REFUSING.replace("REFUSES", when))
        self.bench = Bench(lambda: BACKEND)
        self.cell = Cell("smoke", {}, CASE, "numpy/moody", "cpu", 1, files=(file,))

    def does(self, op: str, **arguments: Any) -> tuple[str, str | None]:
        """Status and reason, as the worker tells them."""
        try:
            status, reason, _ = self.bench.operations()[op](**arguments)
        except Exception as error:  # noqa: BLE001  (as in the worker)
            return classify(error)
        return status, reason


def test_a_refusal_at_the_gate_is_unsupported(dropin: Dropin) -> None:
    moody = Moody(dropin, "True")
    assert moody.does("prepare", cell=moody.cell.to_dict()) == ("unsupported", "not today")


def test_a_refusal_of_what_is_prepared_again_is_wrong(dropin: Dropin) -> None:
    moody = Moody(dropin, "True")
    assert moody.does("prepare", cell=moody.cell.to_dict(), gate=False) == ("wrong", REFUSED)


@pytest.mark.parametrize("op", ["burst", "verify"])
def test_a_refusal_after_the_gate_is_wrong(dropin: Dropin, tmp_path: Any, op: str) -> None:
    switch = tmp_path / "refuse"
    moody = Moody(dropin, f"__import__('os').path.exists({str(switch)!r})")
    assert moody.does("prepare", cell=moody.cell.to_dict()) == ("ok", None)
    switch.touch()
    assert moody.does(op, cell_id=moody.cell.id) == ("wrong", REFUSED)


def test_a_refusal_in_the_calibration_is_wrong(dropin: Dropin) -> None:
    """The first call, and two of the gate: then the clock calls it."""
    moody = Moody(dropin, "len(CALLS) > 3")
    assert moody.does("prepare", cell=moody.cell.to_dict()) == ("wrong", REFUSED)


def test_a_refusal_where_it_is_weighed_is_wrong(dropin: Dropin) -> None:
    moody = Moody(dropin, "q.shape[2] == 64")
    assert moody.does("memory", cell=moody.cell.to_dict()) == ("wrong", REFUSED)


def test_to_refuse_the_small_problem_before_it_is_weighed_is_nothing(dropin: Dropin) -> None:
    moody = Moody(dropin, "q.shape[2] < 64")
    assert moody.does("memory", cell=moody.cell.to_dict()) == ("ok", None)
