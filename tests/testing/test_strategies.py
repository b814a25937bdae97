"""Drawn cases are those of the features that are named, with power, and shrink to small ones."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import HealthCheck, find, given, settings

from attnbench.agree.cases.case_text import case_text
from attnbench.agree.cases.features import features_of
from attnbench.attention.problem import Case
from attnbench.errors import UsageError
from attnbench.testing import DisagreementError, problem, strategies
from attnbench.testing.posed import PosedProblem
from tests.testing import kernels

SEVERAL = settings(
    max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
)

EDGES = (16, 32, 64, 128)


def test_cases_are_of_what_is_named_and_at_boundaries() -> None:
    seen = Counter[str]()

    @SEVERAL
    @given(strategies.cases("causal,gqa,window,mask", "float32,bfloat16", align="bottom_right"))
    def look(case: Case) -> None:
        p = case.problem
        seen.update(features_of(case))
        seen.update([p.dtype] + ["fewer keys"] * (p.Tq > p.S) + ["edge"] * any(abs(p.Tq - edge) <= 1 for edge in EDGES))
        assert case.spec.softcap is None
        assert not case.gradients
        assert not {"bias", "sinks", "layout"} & set(features_of(case))

    look()
    for name in ("causal", "gqa", "window", "mask", "fewer keys", "edge", "bfloat16", "float32", "inputs"):
        assert seen[name] >= 3, seen


def test_a_failing_case_shrinks_to_the_smallest() -> None:
    def fails(posed: PosedProblem) -> bool:
        try:
            posed.assert_close(kernels.too_wide(posed.q, posed.k, posed.v, **posed.words))
        except DisagreementError:
            return True
        return False

    smallest = find(strategies.problems("causal", "float64"), fails, settings=SEVERAL)
    assert smallest.case.spec.causal
    p = smallest.case.problem
    assert (p.B, p.Hq, p.Tq, p.D, p.distribution, p.operands) == (1, 1, 2, 1, "normal", ())


def test_operands_of_a_case_differ_in_their_values() -> None:
    seen = set()

    @settings(SEVERAL, max_examples=10)
    @given(strategies.operands("causal Tq=5 D=4"))
    def look(posed: PosedProblem) -> None:
        assert posed.q.shape == (1, 1, 5, 4)
        posed.assert_close(kernels.right(posed.q, posed.k, posed.v, **posed.words))
        seen.add(case_text(posed.case))

    look()
    assert len(seen) > 3


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'causal'"):
        strategies.cases("casual")
    with pytest.raises(UsageError, match="did you mean 'bfloat16'"):
        strategies.cases(dtypes="bf16")
    with pytest.raises(UsageError, match="not one of"):
        strategies.cases("causal", align="left")
    with pytest.raises(UsageError, match="such as 'causal Tq=65"):
        problem(3)


def test_without_hypothesis_it_says_what_to_type() -> None:
    code = "import sys; sys.modules['hypothesis'] = None\nimport attnbench.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "needs hypothesis, which is not installed. Type: pip install 'attnbench[testing]'" in done.stderr
