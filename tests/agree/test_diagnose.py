"""Diagnosis: planted faults are named by their kind, nothing is named wrongly, and what is shrunk still fails."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from attnbench.agree.cases.by_feature import FEATURES, PLAIN, check_cases
from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.agree.check.rows import CheckRow, check_feature
from attnbench.agree.diagnose.doctor import UNKNOWN, Diagnosis
from attnbench.agree.diagnose.examine import Examination, examine
from attnbench.agree.diagnose.shrink import shrink
from attnbench.agree.eager.attention import Eager, Softmax
from attnbench.agree.judge.trial import trial
from attnbench.agree.mutants import MUTANTS
from attnbench.attention.arrays import Array
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import load_backend
from attnbench.errors import SpecError, UsageError

DTYPE = "float32"
# A fault of the backward pass may be named by what it does to a gradient.
ALSO = {
    "DropoutRescaledByP": {"gradient"},
    # Where nothing overflows, a product in float16 is a rounding.
    "ProductInFloat16": {"precision"},
    # Clipped to the first key, a row that has none sees that one.
    "NegativeOffsetClipped": {"dead row"},
}
ENOUGH = 50
ENOUGH_KINDS = 20
SMALL = 4 * 65  # query-key pairs: a few rows over a tail of one behind two tiles


def first_wrong(name: str) -> CheckRow | None:
    """The first row in which a mutant disagrees, among the features that show it first."""
    mutant = MUTANTS[name]
    for feature in (*mutant.telling, *(f for f in FEATURES if f not in mutant.telling)):
        row = check_feature(load_backend("numpy"), mutant.implementation(), feature, DTYPE)
        if row.status == "wrong":
            return row
    return None


def examined(name: str) -> Examination | None:
    """The examination of a mutant's first disagreement."""
    mutant = MUTANTS[name]
    row = first_wrong(name) if mutant.applies(DTYPE) else None
    if row is None or row.failing is None:
        return None
    return examine(load_backend("numpy"), mutant.implementation(), case_from_text(row.failing), seconds=12.0)


def told(name: str, diagnosis: Diagnosis) -> str:
    return f"{name} is {MUTANTS[name].kind!r}, diagnosed {diagnosis.sentence()!r}"


def still_fails(name: str, examination: Examination) -> bool:
    backend, kernel = load_backend("numpy"), MUTANTS[name].implementation()
    return [trial(backend, kernel, case).status for case in examination.cases][-1] == "wrong"


def small(examination: Examination) -> bool:
    p = examination.cases[-1].problem
    return p.B * p.Hq * p.Tq * p.S <= SMALL


def named(names: Iterable[str]) -> set[str]:
    """Those of the mutants that get their kind; fails if one is given a wrong kind, or a shrunk case is no case."""
    every = {name: examination for name in names if (examination := examined(name)) is not None}
    wrong = [
        told(name, examination.diagnosis)
        for name, examination in every.items()
        if examination.diagnosis.kind not in {MUTANTS[name].kind, UNKNOWN, *ALSO.get(name, ())}
    ]
    assert not wrong, "\n".join(wrong)
    assert not [name for name, examination in every.items() if not still_fails(name, examination)]
    assert not [
        f"{name}: {case_text(examination.cases[-1])}" for name, examination in every.items() if not small(examination)
    ]
    return {name for name, examination in every.items() if examination.diagnosis.kind == MUTANTS[name].kind}


def test_a_mutant_of_every_kind_is_named_rightly_or_not_at_all() -> None:
    """Of the first of each kind none is given a wrong kind, most get theirs, each shrunk case is small and fails."""
    first = {mutant.kind: name for name, mutant in reversed(MUTANTS.items())}
    assert len(named(first.values())) >= ENOUGH_KINDS


@pytest.mark.slow
@pytest.mark.proof
def test_mutants_are_named_rightly_or_not_at_all() -> None:
    """The same of all mutants."""
    right = named(MUTANTS)
    assert len(right) >= ENOUGH
    assert len({MUTANTS[name].kind for name in right}) >= ENOUGH_KINDS


def test_a_right_kernel_gets_no_diagnosis() -> None:
    """Asked about a case that agrees, it does not make something up."""
    kernel = Eager().implementation("right")
    for feature in ("sizes", "causal", "mask"):
        case = next(check_case.case for check_case in check_cases(DTYPE) if check_case.feature == feature)
        examination = examine(load_backend("numpy"), kernel, case, seconds=2.0)
        assert examination.diagnosis.kind == UNKNOWN
        assert examination.cases == (case,)


class TwoFaults(Eager):
    """Two faults that no single reading explains."""

    def product(self, q: object, k: object) -> object:  # type: ignore[override]
        return super().product(q, k) ** 3  # type: ignore[arg-type]


def test_what_nothing_explains_is_unknown() -> None:
    case = next(
        check_case.case
        for check_case in check_cases(DTYPE)
        if check_case.feature == "sizes" and check_case.case.problem.Tq > 1
    )
    examination = examine(load_backend("numpy"), TwoFaults().implementation("cubed"), case, seconds=3.0)
    assert examination.diagnosis.kind == UNKNOWN
    assert "no known fault explains it" in examination.diagnosis.evidence


def test_a_nan_that_reaches_another_row_is_named() -> None:
    class NextRow(Eager):
        """A product of matrices that reads one element of the next row, times 0."""

        def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
            output = super().weighted_sum(weights, v, allowed)
            output[..., :-1, :] += 0 * weights[..., 1:, :1]
            return output

    problem = Problem.from_dict({**PLAIN, "operands": ["nan_query"]})
    examination = examine(load_backend("numpy"), NextRow().implementation("next-row"), Case(AttentionSpec(), problem))
    assert examination.diagnosis.kind == "nan"
    assert (
        "makes a row that does not read it NaN as well: batch entry 0, head 2, query 15"
        in examination.diagnosis.evidence
    )


def test_a_sink_whose_weight_cancels_is_named() -> None:
    class BySubtraction(Eager):
        def softmax(self, logits: Array, allowed: Array, sink: Array) -> Softmax:
            right = super().softmax(logits, allowed, sink)
            return right._replace(sink=1 - right.weights.sum(-1, keepdims=True))

    problem = Problem.from_dict({**PLAIN, "S": 2, "distribution": "huge", "operands": ["sinks"]})
    case = Case(AttentionSpec(), problem, "backward")
    examination = examine(load_backend("numpy"), BySubtraction().implementation("by-subtraction"), case)
    assert examination.diagnosis.kind == "precision"
    assert "as if it were 1 less the other weights" in examination.diagnosis.evidence


def test_shrinking_keeps_what_matters() -> None:
    case = Case(
        AttentionSpec(causal=True, softcap=2.0, align="top_left"),
        Problem(B=3, Hq=4, Hkv=2, Tq=40, S=70, D=16, operands=("mask", "bias"), distribution="peaky"),
        "backward",
        ("lse",),
    )

    def fails(smaller: Case) -> bool:
        p = smaller.problem
        return p.S > 32 and p.Hq > 1 and "mask" in p.operands

    smallest = shrink(case, fails, seconds=5.0, trials=10_000)
    p = smallest.problem
    assert (smallest.phase, smallest.outputs, smallest.spec) == ("forward", (), AttentionSpec())
    assert (p.B, p.Hq, p.Tq, p.S, p.D, p.Dv, p.operands) == (1, 2, 1, 33, 1, 1, ("mask",))


def test_shrinking_stops_at_its_budget() -> None:
    case = Case(AttentionSpec(), Problem(Tq=1000, S=1000))
    tried = []

    def fails(smaller: Case) -> bool:
        tried.append(smaller)
        return True

    shrink(case, fails, trials=3)
    assert len(tried) == 3


def test_a_change_that_is_no_question_is_taken_back() -> None:
    case = Case(AttentionSpec(causal=True), Problem(Tq=4))

    def fails(smaller: Case) -> bool:
        if smaller.problem.Tq != smaller.problem.S:
            msg = "align"
            raise SpecError(msg)
        return smaller.spec.causal

    assert shrink(case, fails).problem.Tq == 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_case_survives_its_text(dtype: str) -> None:
    for check_case in check_cases(dtype, deep=True):
        assert case_from_text(case_text(check_case.case)) == check_case.case
        assert "'" not in case_text(check_case.case)


def test_a_case_is_taken_as_json() -> None:
    import json

    case = Case(AttentionSpec(scale=(0.5, -0.25), window=(3, None)), Problem(Hq=2, S=5), "backward", ("lse", "weights"))
    assert case_from_text(json.dumps(case.to_dict())) == case
    assert case_from_text(case_text(case)) == case


@pytest.mark.parametrize("text", ["nonsense=3", "Tq", "{not json", "causal=7", "Hq=3 Hkv=2", "distribution=odd"])
def test_a_bad_case_is_an_error(text: str) -> None:
    with pytest.raises((UsageError, SpecError)):
        case_from_text(text)
