"""The kill table of docs/mutants.md: the same mutants judged by this project's rule and by those of others.

Every rule judges two sets of cases: those of ``attnbench check --deep`` with the inputs that its project draws, N(0,1)
or U[0,1), without poison and without stages, which no other project compares; and those cases as they are. A rule
kills a mutant when it rejects it in a case in which it accepts the control, the same code without the fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from attnbench.agree.cases.by_feature import PLAIN, CheckCase, check_cases
from attnbench.agree.eager.attention import Eager
from attnbench.agree.judge.trial import trial
from attnbench.agree.mutants import MUTANTS, Mutant
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, prepare
from attnbench.attention.inputs import draw, draw_cotangents
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.precision import DTYPES
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import load_backend
from attnbench.backends.implementation import Implementation
from tests.agree.tolerances import RULES, LowPrecision, Rule
from tests.repository import DOCS

PAGE = DOCS / "mutants.md"
OURS, OWN = "cases of `check --deep`", "its own inputs"
POISON = {"garbage", "nan", "nan_last_key", "nan_query", "nan_key", "nan_value", "nan_cotangent", "zeros"}
SHORT = {"float64": "f64", "float32": "f32", "bfloat16": "bf16", "float16": "f16"}
Arrays = dict[str, Array]


@dataclass(frozen=True)
class Key:
    """A case with the truth in float64 and what eager attention in the input's dtype returns."""

    case: Case
    qkv: tuple[Array, Array, Array]
    call: Call
    expected: Arrays
    low: Arrays
    control: Arrays


@cache
def cases(dtype: str, inputs: str) -> tuple[CheckCase, ...]:
    """The cases of one dtype: ``OURS``, or with all inputs of one distribution and nothing poisoned."""
    ours = tuple(check_cases(dtype, deep=True))
    if inputs == OURS:
        return ours
    plain = [check_case for check_case in ours if check_case.feature not in ("inputs", "nan_isolation", "stages")]
    plain = [check_case for check_case in plain if check_case.case.problem.distribution == "normal"]
    plain = [check_case for check_case in plain if not POISON & set(check_case.case.problem.operands)]
    return tuple(replace(check_case, case=check_case.case.with_problem(distribution=inputs)) for check_case in plain)


def returned(implementation: Implementation, key: Case, qkv: Sequence[Array], call: Call) -> Arrays:
    """Everything that an implementation returns for a case, gradients as ``d_<name>``."""
    q, k, v = (array.copy() for array in qkv)
    arrays = dict(implementation(q, k, v, call).items())
    if key.gradients and implementation.vjp is not None:
        d_output, d_lse = draw_cotangents(key)
        q, k, v = (array.copy() for array in qkv)
        arrays |= {f"d_{n}": a for n, a in implementation.vjp(q, k, v, call, d_output, d_lse).items()}
    # Other projects compare tensors, which know no masked elements.
    return {name: np.asarray(array) for name, array in arrays.items()}


@cache
def answer(case: Case) -> Key:
    """The oracle's answer to a case, and the low-precision one."""
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem), case.outputs)
    truth = reference(q, k, v, call)
    expected = {name: getattr(truth, name) for name in ("output", *call.outputs)}
    if case.gradients:
        d_output, d_lse = draw_cotangents(case)
        expected |= {f"d_{n}": a for n, a in reference_vjp(q, k, v, call, d_output, d_lse).items()}
    low = returned(LowPrecision().implementation("low"), case, (q, k, v), call)
    control = returned(Eager().implementation("control"), case, (q, k, v), call)
    return Key(case, (q, k, v), call, expected, low, control)


def accepts(rule: Rule, key: Key, got: Arrays) -> bool:
    """Whether the rule accepts every array that it looks at."""
    names = [name for name in key.expected if rule.gradients or not name.startswith("d_")]
    with np.errstate(all="ignore"):
        return all(rule.accepts(got[n], key.expected[n], key.low[n], key.case.problem.dtype) for n in names)


@cache
def _control_passes(rule: Rule, case: Case) -> bool:
    key = answer(case)
    return accepts(rule, key, key.control)


def kills(rules: Sequence[Rule], mutant: Mutant, dtype: str, inputs: str) -> set[str]:
    """The names of the rules that find the mutant in a set of cases; stops when all have."""
    implementation, finders = mutant.implementation(), set[str]()
    order = {feature: i for i, feature in enumerate(mutant.telling)}
    for check_case in sorted(cases(dtype, inputs), key=lambda check_case: order.get(check_case.feature, len(order))):
        key = answer(check_case.case)
        left = [rule for rule in rules if rule.name not in finders and _control_passes(rule, check_case.case)]
        if not left:
            continue
        got = returned(implementation, check_case.case, key.qkv, key.call)
        finders |= {rule.name for rule in left if not accepts(rule, key, got)}
        if len(finders) == len(rules):
            break
    return finders


def bound_kills(mutant: Mutant, dtype: str, inputs: str) -> bool:
    """Whether this project's rule finds it."""
    implementation, order = mutant.implementation(), {feature: i for i, feature in enumerate(mutant.telling)}
    ordered = sorted(cases(dtype, inputs), key=lambda check_case: order.get(check_case.feature, len(order)))
    return any(
        trial(load_backend("numpy"), implementation, check_case.case).status == "wrong" for check_case in ordered
    )


Cell = tuple[str, str, str]  # rule, inputs, dtype
BOUND = "**attnbench**"


def columns() -> Iterator[tuple[str, str]]:
    """The (rule, inputs) pairs, in the order of the table."""
    yield BOUND, OURS
    yield BOUND, "normal"
    yield BOUND, "uniform"
    for rule in RULES:
        yield rule.name, OWN
        yield rule.name, OURS


def measure(say: Callable[[str], object]) -> dict[Cell, set[str]]:
    """The mutants that each rule finds, by rule, inputs and dtype."""
    by_cell: dict[Cell, set[str]] = {(*column, dtype): set() for column in columns() for dtype in DTYPES}
    for dtype in DTYPES:
        for mutant in MUTANTS.values():
            if not mutant.applies(dtype):
                continue
            for inputs in (OURS, "normal", "uniform"):
                if bound_kills(mutant, dtype, inputs):
                    by_cell[BOUND, inputs, dtype].add(mutant.name)
                rules = [rule for rule in RULES if inputs in (OURS, rule.distribution)]
                for name in kills(rules, mutant, dtype, inputs):
                    by_cell[name, OURS if inputs == OURS else OWN, dtype].add(mutant.name)
        say(dtype)
    return by_cell


def found_in_one_case(rule: Rule | None, dtype: str, distribution: str) -> set[str]:
    """The mutants that a rule (``None``: this project's) finds in one plain case by its output alone."""
    problem = replace(Problem.from_dict(dict(PLAIN)), dtype=dtype, distribution=distribution)
    case = Case(AttentionSpec(), problem)
    key, names = answer(case), set[str]()
    for mutant in (candidate for candidate in MUTANTS.values() if candidate.applies(dtype)):
        if rule is None:
            wrong = trial(load_backend("numpy"), mutant.implementation(), case).status == "wrong"
        else:
            wrong = not accepts(rule, key, returned(mutant.implementation(), case, key.qkv, key.call))
        if wrong:
            names.add(mutant.name)
    return names


def rejected_controls(rule: Rule | None, dtype: str, inputs: str) -> str:
    """In how many cases the rule (``None``: this project's) rejects the correct control: ``3/60``."""
    if rule is None:
        backend, control = load_backend("numpy"), Eager().implementation("control")
        wrong = [
            check_case
            for check_case in cases(dtype, OURS)
            if trial(backend, control, check_case.case).status == "wrong"
        ]
        return f"{len(wrong)}/{len(cases(dtype, OURS))}"
    chosen = cases(dtype, OURS if inputs == OURS else rule.distribution)
    return f"{sum(not _control_passes(rule, check_case.case) for check_case in chosen)}/{len(chosen)}"
