"""A kernel that restricts itself is checked in every row that it has, and never asked what it does not declare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.cases.by_feature import check_cases
from attnbench.agree.check.rows import check_implementation
from attnbench.api import Call, Capabilities, Implementation, Limit
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.backends.fitted import asked, fitted
from attnbench.backends.implementation import ONLY
from tests.proofs import part

BACKEND, NAIVE = resolve("numpy/naive")
FULL = NAIVE.capabilities

BREACHES: dict[str, tuple[dict[str, Any], Callable[[Any, Call], bool]]] = {
    "causal": ({"only": ("causal",)}, lambda _, c: not c.spec.causal),
    "square": ({"only": ("square",)}, lambda _, c: c.sizes.Tq != c.sizes.S),
    "key_lengths": ({"only": ("key_lengths",)}, lambda _, c: c.q_lengths is not None),
    "equal_head_sizes": ({"only": ("equal_head_sizes",)}, lambda _, c: c.sizes.Dv != c.sizes.D),
    "default_scale": (
        {"only": ("default_scale",), "head_scale": False, "log_n": False},
        lambda _, c: c.scale != replace(c.spec, scale=None).scale_factor(c.sizes.D),
    ),
    "contiguous": ({"only": ("contiguous",)}, lambda q, _: not q.flags.c_contiguous),
    "bottom right": (
        {"alignments": ("bottom_right",), "batch_offset": False},
        lambda _, c: (
            (c.spec.causal or c.spec.window is not None or c.slopes is not None)
            and bool(np.any(c.offset != c.sizes.S - c.sizes.Tq))
        ),
    ),
    "causal and square": ({"only": ("causal", "square")}, lambda _, c: not c.spec.causal or c.sizes.Tq != c.sizes.S),
}
# Rows that are about what is restricted, and so have nothing left.
GONE = {
    "default_scale": {"scale", "head_scale", "log_n"},
    "square": {"cache", "batch_invariant"},
    "causal and square": {"cache"},
}
GONE |= {"bottom right": {"batch_offset"}}


def restricted(name: str) -> Implementation:
    """numpy/naive that declares the restriction and fails the test where it is not kept."""
    changes, breach = BREACHES[name]

    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        assert not breach(q, call), f"{name} was declared, and it was asked {call.spec} {call.sizes}"
        return NAIVE.attend(q, k, v, call)

    return replace(NAIVE, name="numpy/restricted", capabilities=replace(FULL, **changes), attend=attend)


def test_every_restriction_is_tried() -> None:
    assert set(ONLY) <= set(BREACHES)


@pytest.mark.parametrize("name", part(sorted(BREACHES), ("causal and square", "key_lengths", "default_scale")))
def test_a_restricted_kernel_agrees_in_every_row_that_it_has(name: str) -> None:
    rows = check_implementation(BACKEND, restricted(name), ("float32",))
    assert not [(row.feature, row.reason) for row in rows if row.status == "wrong"]
    empty = {row.feature for row in rows if not row.cases}
    assert empty == GONE.get(name, set())


@pytest.mark.parametrize("name", part(("causal", "square", "equal_head_sizes"), ("square",)))
def test_a_fault_behind_a_restriction_is_seen(name: str) -> None:
    kernel = restricted(name)

    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        output = kernel.attend(q, k, v, call)
        return replace(output, output=output.output * np.asarray(1.001, q.dtype))

    rows = check_implementation(BACKEND, replace(kernel, attend=attend), ("float32",), ("sizes", "mask", "gqa"))
    assert [row.status for row in rows] == ["wrong"] * 3


def test_what_is_declared_whole_is_left_as_it_is() -> None:
    for check_case in check_cases("float32", deep=True):
        assert fitted(check_case.case, NAIVE.capabilities, check_case.feature) == check_case.case


def test_a_cotangent_that_nobody_reads_is_finite_unless_isolation_is_declared() -> None:
    can = replace(FULL, nan_isolation=False)
    poisoned = [
        check_case
        for check_case in check_cases("float32", deep=True)
        if "nan_cotangent" in check_case.case.problem.operands
    ]
    assert {check_case.feature for check_case in poisoned} == {"mask", "lengths", "nan_isolation"}
    for check_case in poisoned:
        kept = "nan_cotangent" in fitted(check_case.case, can, check_case.feature).problem.operands
        assert kept == (check_case.feature == "nan_isolation")


LIMITS: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({}, {}),
    ({"limits": (Limit("Tq", "", multiple_of=16),)}, {"Tq": 32}),
    ({"limits": (Limit("Tq", "", multiple_of=16, at_least=40),)}, {"Tq": 48}),
    ({"limits": (Limit("Tq*S", "", at_most=100),)}, {"Tq": 1}),
    ({"limits": (Limit("Hq*D", "", multiple_of=128),)}, {"Hq": 8, "Hkv": 8}),
    ({"limits": (Limit("D", "", at_most=8), Limit("S", "", multiple_of=32))}, {"D": 8, "S": 64}),
    ({"limits": (Limit("D", "", at_most=8),), "only": ("equal_head_sizes",)}, {"D": 8, "Dv": 8}),
    ({"limits": (Limit("Tq", "", multiple_of=64),), "only": ("square",)}, {"Tq": 64, "S": 64}),
    ({"limits": (Limit("Tq", "", at_least=5000),)}, {}),
    ({"limits": (Limit("Tq", "", at_most=3), Limit("Tq*S", "", multiple_of=7, at_least=60000))}, {}),
]


@pytest.mark.parametrize(("can", "changed"), LIMITS)
def test_a_question_is_asked_at_the_nearest_sizes_within_the_limits(
    can: dict[str, Any], changed: dict[str, int]
) -> None:
    case = Case(AttentionSpec(), Problem(B=2, Hq=3, Tq=33, S=65, D=16, Dv=8))
    able = Capabilities(**can)
    assert asked(case, able) == fitted(case, able).with_problem(**changed)


def multiplying() -> Implementation:
    """P as it should be, and gradients by plain products: 0 times what nobody reads, which is NaN if that is."""
    assert NAIVE.vjp is not None
    true_vjp = NAIVE.vjp

    def vjp(q: Any, k: Any, v: Any, call: Call, d_output: Any, d_lse: Any) -> Any:
        grads = dict(true_vjp(q, k, v, call, np.nan_to_num(d_output), d_lse))
        grads["v"] = grads["v"] + 0 * d_output.sum()
        return grads

    return replace(NAIVE, name="numpy/product", vjp=vjp, capabilities=replace(FULL, nan_isolation=False))


def test_a_plain_product_passes_unless_it_declares_isolation() -> None:
    names = ("mask", "lengths", "nan_isolation")
    rows = {row.feature: row for row in check_implementation(BACKEND, multiplying(), ("float32",), names)}
    assert {name: row.status for name, row in rows.items()} == {
        "mask": "ok",
        "lengths": "ok",
        "nan_isolation": "unsupported",
    }
    declares = replace(multiplying(), capabilities=FULL)
    rows = {row.feature: row for row in check_implementation(BACKEND, declares, ("float32",), names)}
    assert (rows["mask"].status, rows["lengths"].status) == ("wrong", "wrong")
