"""Rules 2 and 3: what they see that no bound of an element can, and whom they do not accuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.check.rows import check_feature, plan_rows
from attnbench.agree.eager.attention import Eager
from attnbench.agree.eager.baseline import Baseline, baseline_cases, excess
from attnbench.agree.eager.errors import AnswerAndTruth, answers_and_truths
from attnbench.agree.judge.trial import trial
from attnbench.agree.rules.bias import bias, bias_case, directions
from attnbench.agree.rules.rows import applies, ruling
from attnbench.api import AttentionOutput, Call, Implementation, Limit, Precision
from attnbench.attention.arrays import Array
from attnbench.attention.precision import DTYPES, numpy_dtype
from attnbench.backends.attend import load_backend, resolve
from tests.agree.kernels import ABLE, casting, online, per_head, raising, scores_of

NUMPY = load_backend("numpy")
LOW = ("bfloat16", "float16")


def changed(
    name: str, change: Callable[[Array, Any], Array], precision: dict[str, Precision] | None = None
) -> Implementation:
    """Float32 attention whose weights pass through ``change(weights, dtype)`` before P·V."""

    def attend(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        scores = scores_of(q, per_head(k, call), call)
        terms = np.exp(scores - scores.max(-1, keepdims=True))
        weights = terms / terms.sum(-1, keepdims=True)
        return AttentionOutput((change(weights, q.dtype) @ per_head(v, call)).astype(q.dtype))

    return Implementation(f"numpy/{name}", replace(ABLE, lse=False, precision=precision or {}), attend)


def truncated(x: Array, dtype: Any) -> Array:
    """Toward zero instead of to nearest."""
    rounded = x.astype(dtype).astype(np.float32)
    down = np.nextafter(x.astype(dtype), np.array(0, dtype)).astype(np.float32)
    return np.where(rounded > x, down, rounded)


TOO_LARGE = changed("too-large", lambda x, _: x * np.float32(1.003))
TOO_SMALL = changed("too-small", lambda x, _: x * np.float32(1 / 1.003))
CUT = changed("cut", truncated, {dtype: Precision(p_cast=dtype) for dtype in LOW})


@pytest.mark.parametrize("dtype", LOW)
@pytest.mark.parametrize(
    "implementation", [TOO_LARGE, TOO_SMALL, CUT], ids=lambda implementation: implementation.variant
)
def test_a_direction_within_the_rounding_of_16_bits_is_seen_by_rule_3_alone(
    implementation: Implementation, dtype: str
) -> None:
    if dtype == "bfloat16" or implementation is CUT:
        assert trial(NUMPY, implementation, bias_case(dtype)).status == "ok"  # no element shows it
    ruled = ruling("rule_3", NUMPY, implementation, dtype)
    assert not ruled.ok
    assert ruled.error_ratio > 1
    assert ("too large" if implementation is TOO_LARGE else "too small") in str(ruled.reason)
    row = check_feature(NUMPY, implementation, "rule_3", dtype)
    assert (row.status, row.fault, row.error_ratio) == ("wrong", "rule_3", ruled.error_ratio)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_shift_is_seen(dtype: str) -> None:
    def shifted(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        exact = Eager().attend(q, k, v, call).output.astype(np.float64)
        return AttentionOutput((exact + 1e-3).astype(q.dtype))

    kernel = Implementation("numpy/shifted", replace(ABLE, dtypes=DTYPES), shifted)
    assert "shifted" in str(ruling("rule_3", NUMPY, kernel, dtype).reason)


def test_a_coarse_declaration_widens_rule_1_and_not_rule_2() -> None:
    """Sums kept in bfloat16, and declared so: within its bounds, and yet far worse than eager attention."""

    def attend(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        low = numpy_dtype("bfloat16")
        scores = scores_of(q, per_head(k, call), call)
        terms = np.exp(scores - scores.max(-1, keepdims=True))
        weights, values = terms / terms.sum(-1, keepdims=True), per_head(v, call)
        total = np.zeros((*weights.shape[:3], values.shape[-1]), np.float32)
        for j in range(call.sizes.S):
            total = (total + weights[..., j, None] * values[..., None, j, :]).astype(low).astype(np.float32)
        return AttentionOutput(total.astype(q.dtype))

    declared = {"bfloat16": Precision(accumulate="bfloat16", softmax="float32")}
    kernel = Implementation("numpy/coarse", replace(ABLE, lse=False, precision=declared), attend)
    assert all(
        trial(NUMPY, kernel, replace(case, phase="forward")).status == "ok" for case in baseline_cases("bfloat16")
    )
    ruled = ruling("rule_2", NUMPY, kernel, "bfloat16")
    assert not ruled.ok
    assert "times those of our own eager attention" in str(ruled.reason)
    assert check_feature(NUMPY, kernel, "rule_2", "bfloat16").status == "wrong"


@pytest.mark.parametrize("rule", ["rule_2", "rule_3"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["numpy/naive", "numpy/blocked", "torch/naive", "torch/sdpa-flash"])
def test_correct_implementations_are_not_accused(name: str, dtype: str, rule: str) -> None:
    pytest.importorskip(name.partition("/")[0])
    if applies(rule, dtype):
        ruled = ruling(rule, *resolve(name), dtype)
        assert ruled.ok, ruled.reason


@pytest.mark.parametrize("kernel", [online, casting], ids=lambda kernel: kernel.variant)
@pytest.mark.parametrize("dtype", LOW)
def test_other_kernels_are_not_accused(kernel: Implementation, dtype: str) -> None:
    for rule in ("rule_2", "rule_3"):
        ruled = ruling(rule, NUMPY, kernel, dtype, deep=True)
        assert ruled.ok, ruled.reason


def test_the_baseline_rounds_and_is_its_own_measure() -> None:
    case = baseline_cases("bfloat16")[0]
    stock = Baseline().implementation("stock")
    errors = {
        name: np.abs(answers_and_truths(NUMPY, implementation, case)["output"].error).mean()
        for name, implementation in (("stock", stock), ("wide", Eager().implementation("wide")))
    }
    assert errors["stock"] > 1.2 * errors["wide"]
    assert max(excess(NUMPY, stock, case).values()) < 0.5


def turning(name: str, later: float) -> tuple[Implementation, list[int]]:
    """Too large by 1 % at the first look, and times ``later`` at the others; and how many draws each look had."""
    looks: list[int] = []

    def attend(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        exact = Eager().attend(q, k, v, call).output.astype(np.float64)
        looks.append(q.shape[0])
        return AttentionOutput((exact * (1.01 if len(looks) == 1 else later)).astype(q.dtype))

    return Implementation(name, ABLE, attend), looks


def test_an_excess_by_chance_is_looked_at_again() -> None:
    """A first look that a fresh one does not confirm is no finding; one that it does is."""
    unlucky, looks = turning("numpy/unlucky", 1.0)
    assert max(abs(value) for value in bias(NUMPY, unlucky, "bfloat16").directions.values()) <= 1
    assert looks == [16, 64]


def test_an_excess_to_the_other_side_confirms_nothing() -> None:
    torn, looks = turning("numpy/torn", 0.99)
    assert ruling("rule_3", NUMPY, torn, "bfloat16").ok
    assert looks == [16, 64]


def test_rule_3_says_by_how_much_over_which_draws_and_in_which_case() -> None:
    def attend(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        exact = Eager().attend(q, k, v, call).output
        return AttentionOutput(exact * np.float32(1 + 8e-7))

    can = replace(ABLE, only=("causal",))
    ruled = ruling("rule_3", NUMPY, Implementation("numpy/large", can, attend), "float32")
    said = f"output: over 64 draws it is too large on average, by {ruled.error_ratio:.3g} times what is allowed"
    assert (ruled.reason, ruled.ok) == (said, False)
    assert ruled.case == "forward causal align=bottom_right B64 H2 T33 S65 D16 float32"


@pytest.mark.parametrize("rule", ["rule_2", "rule_3", "probes"])
def test_rules_are_asked_at_the_nearest_sizes_that_are_declared(rule: str) -> None:
    """The others would be none of the kernel's; what they see of it is seen there too."""
    blocks = (Limit("Tq", "in blocks", multiple_of=16), Limit("Tq*S", "small ones", at_most=2048))

    def attend(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        assert not any(limit.broken_by(call.sizes.as_dict()) for limit in blocks)
        return Eager().attend(q, k, v, call)

    def off(q: Array, k: Array, v: Array, call: Call) -> AttentionOutput:
        return attend(q * np.asarray(0.97, q.dtype), k, v, call)

    can = replace(ABLE, limits=blocks)
    right, wrong = (Implementation("numpy/blocks", can, function) for function in (attend, off))
    assert ruling(rule, NUMPY, right, "float32").ok
    assert not ruling(rule, NUMPY, wrong, "float32").ok or rule == "rule_3"  # a scale has no direction


def test_a_nan_breaks_rule_3() -> None:
    expected = np.ones((16, 4))
    got = expected.copy()
    got[3, 2] = np.nan
    assert all(np.isnan(value) for value in directions(AnswerAndTruth(got, expected), Precision()).values())


def test_float64_has_no_row_of_rule_2() -> None:
    pairs = plan_rows(Eager().implementation("x"), DTYPES, ["rule_2", "rule_3"], "cpu")
    assert ("rule_3", "float64") in pairs
    assert ("rule_2", "float64") not in pairs
    assert ("rule_2", "float32") in pairs


def test_an_exception_is_a_row() -> None:
    row = check_feature(NUMPY, Implementation("numpy/raises", ABLE, raising), "rule_3", "float32")
    assert (row.status, row.fault) == ("wrong", "exception")
