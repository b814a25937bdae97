"""Additive masks of low finite values: correct implementations are not accused, and what reads a low key wrongly is.

And what lies outside of the values that a row can weigh always is, however little its logits tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.cases.by_feature import check_cases
from attnbench.agree.eager.attention import Eager
from attnbench.agree.judge import telling
from attnbench.agree.judge.array import judge
from attnbench.agree.judge.bounds import Units, every_key, output_bound, output_sides, stage_bounds
from attnbench.agree.judge.gradient_bounds import gradient_bounds
from attnbench.agree.judge.trial import Trial, trial
from attnbench.agree.judge.weight_bounds import SLACK, weight_errors, weight_ranges
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Operands, prepare
from attnbench.attention.oracle import HeadReference, heads
from attnbench.attention.precision import DTYPES, default_precision
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.backends.implementation import Implementation
from tests.agree.judging import worst
from tests.agree.low_bias import KINDS, PLAIN, judged_at, operands

BACKEND, NAIVE = resolve("numpy/naive")
KEYS = [kind for kind in KINDS if kind.startswith("keys")]
LOW_ROWS = ["rows at -1000000000.0", "rows at finfo.min", "padding at -1000000000.0", "padding at finfo.min"]
WIDE = ("float64", "float32", "bfloat16")  # float16 holds neither −1e9 nor float32's minimum


def control() -> Implementation:
    return Eager().implementation("control")


# No false alarm (the long experiment, with every framework, is ``python -m tests.agree.low_bias``)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["numpy/naive", "numpy/blocked"])
@pytest.mark.parametrize("kind", KINDS)
def test_correct_kernels_lie_within_the_bounds(kind: str, name: str, dtype: str) -> None:
    kernel = resolve(name)[1]
    judgements = judged_at(kernel, kind, dtype)
    assert worst(judgements) <= 1, [judgement.sentence() for judgement in judgements.values()]
    if kernel.capabilities.sinks:
        sinks = np.array([0.5, -np.inf]).astype(operands(kind, dtype)[0].q.dtype)
        assert worst(judged_at(kernel, kind, dtype, sinks=sinks)) <= 1


@pytest.mark.parametrize("name", ["torch/naive", "torch/sdpa", "torch/sdpa-math"])
@pytest.mark.parametrize("kind", ["mixed", *LOW_ROWS])
def test_correct_kernels_of_pytorch_lie_within_the_bounds(kind: str, name: str) -> None:
    pytest.importorskip("torch")
    for dtype in ("float32", "float16"):
        assert worst(judged_at(resolve(name)[1], kind, dtype)) <= 1


@pytest.mark.parametrize("name", ["jax/naive", "jax/nn-xla"])
def test_correct_kernels_of_jax_lie_within_the_bounds(name: str) -> None:
    pytest.importorskip("jax")
    for kind in ("mixed", "rows at finfo.min"):
        assert worst(judged_at(resolve(name)[1], kind, "float32")) <= 1


# What is wrong is accused


class BaseTwo(Eager):
    """Logits times log2 e, for exp2: a bias of finfo.min overflows to −inf."""

    def add_bias(self, capped: Array, call: Call) -> Array:
        factor = capped.dtype.type(1 / np.log(2.0))
        assert call.bias is not None
        return np.asarray((capped * factor + call.bias.astype(capped.dtype) * factor) / factor)


class WithoutLowBias(Eager):
    """A bias below −1e8 is not added."""

    def add_bias(self, capped: Array, call: Call) -> Array:
        assert call.bias is not None
        return np.asarray(capped + np.where(call.bias < -1e8, 0, call.bias).astype(capped.dtype))


class LowKeysAreNone(Eager):
    """A row whose keys are all about −1e9 or lower has none."""

    def allowed(self, call: Call) -> Array:
        assert call.bias is not None
        return np.asarray(super().allowed(call) & (call.bias > -9e8).any(-1, keepdims=True))


class LowRowsAreMeans(Eager):
    """A row whose keys are all low is the mean of its values."""

    def add_bias(self, capped: Array, call: Call) -> Array:
        assert call.bias is not None
        return np.where((call.bias < -1e3).all(-1, keepdims=True), 0, super().add_bias(capped, call))


ACCUSED = [
    *((BaseTwo, kind, dtype) for kind in ("rows at finfo.min", "padding at finfo.min") for dtype in WIDE),
    *((WithoutLowBias, kind, dtype) for kind in ("mixed", *KEYS[1:]) for dtype in WIDE),
    *((LowKeysAreNone, kind, dtype) for kind in LOW_ROWS for dtype in WIDE),
    *((LowRowsAreMeans, kind, dtype) for kind in ("mixed", "rows at -10000.0", "rows around -1e4") for dtype in DTYPES),
    (LowRowsAreMeans, "rows at -1000000000.0", "float64"),
]


@pytest.mark.parametrize(("fault", "kind", "dtype"), ACCUSED)
def test_what_reads_a_low_bias_wrongly_is_accused(fault: type[Eager], kind: str, dtype: str) -> None:
    kernel = fault().implementation("faulty")
    output = judged_at(kernel, kind, dtype, values=10.0)["output"]
    assert not output.ok
    assert output.fault in ("value", "nan")
    assert output.error_ratio > 5
    assert judged_at(control(), kind, dtype, values=10.0)["output"].ok


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("kind", KEYS[1:])
def test_gradients_that_forget_a_low_bias_are_accused(kind: str, dtype: str) -> None:
    right, wrong = control(), WithoutLowBias().implementation("faulty")
    judgements = judged_at(replace(right, vjp=wrong.vjp), kind, dtype)
    assert judgements["output"].ok
    for name in ("d_q", "d_k", "d_v", "d_bias"):
        assert judgements[name].error_ratio > 5, name


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_answer_outside_of_the_values_is_always_wrong(dtype: str, side: int) -> None:
    """Where a row's logits tell nothing, every mean of its values is right, and nothing else."""
    # Logits that are stored in 16 bits make a low bias tell nothing in any dtype.
    units = Units.of(replace(default_precision(dtype), logits="bfloat16"), dtype)
    low = operands("padding at finfo.min", dtype)[0]
    whole = {name: getattr(low, name)[-1:] for name in ("q", "k", "v", "bias")}  # the entry that has low keys alone
    q, k, v, call = prepare(PLAIN, replace(low, **whole))
    parts = [(*output_sides(head, call, h, units), head.output) for _, h, head in heads(q, k, v, call)]
    below, above, truth = (np.stack(part)[None] for part in zip(*parts, strict=True))
    end = (v.max if side > 0 else v.min)(2, keepdims=True).astype(np.float64)
    for beyond, ok in ((0.0, True), (0.1, False)):
        got = np.broadcast_to(end + side * beyond, truth.shape).astype(v.dtype)
        assert judge("output", got, truth, below, dtype, above).ok is ok


# The bounds themselves


def _head(given: Operands) -> tuple[HeadReference, Call]:
    q, k, v, call = prepare(PLAIN, given)
    return next(head for _, _, head in heads(q, k, v, call)), call


def _row(bias: list[float], dtype: str = "float32", **given: Any) -> tuple[HeadReference, Call]:
    n = len(bias)
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 1, rows, 4)).astype(dtype) for rows in (1, n, n))
    return _head(Operands(q, k, v, bias=np.array(bias, dtype).reshape(1, 1, 1, n), **given))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("level", [-1e4, -1e9, None])
def test_keys_without_weight_do_not_widen_a_bound(level: float | None, dtype: str) -> None:
    level = level or float(np.finfo(dtype).min)
    units = Units.of(default_precision(dtype), dtype)
    (with_low, call), (without, plain) = (
        _row([0.3, -0.2, level, level], dtype),
        _row([0.3, -0.2, -np.inf, -np.inf], dtype),
    )
    bounds: list[Callable[[Any, Any], Any]] = [
        lambda head, c: output_bound(head, c, 0, units),
        lambda head, c: stage_bounds(head, c, 0, units)["lse"],
    ]
    for bound in bounds:
        np.testing.assert_allclose(bound(with_low, call), bound(without, plain), rtol=0.2)
    weights = stage_bounds(with_low, call, 0, units)["weights"][0]
    assert (weights[2:] <= 4 * units.eta_p + units.eta).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("level", [-1e9, None])
@pytest.mark.parametrize("sinks", [None, -np.inf, 0.0, 1e4])
def test_every_bound_is_a_number(sinks: float | None, level: float | None, dtype: str) -> None:
    level = level or float(np.finfo(dtype).min)
    given = {} if sinks is None else {"sinks": np.array([sinks], dtype)}
    units = Units.of(default_precision(dtype), dtype)
    for bias in ([level] * 3, [level, 0.0, -1e4], [level, level, -np.inf]):
        head, call = _row(bias, dtype, **given)
        cotangent = np.ones((1, 1, 1, 4)).astype(dtype)
        q, k, v = (a[None, None].astype(dtype) for a in (head.q, head.k, head.v))
        gradients = gradient_bounds(q, k, v, call, cotangent, None, units, np.arange(1))
        bounds = {"output": output_bound(head, call, 0, units)} | stage_bounds(head, call, 0, units) | gradients
        for name, bound in bounds.items():
            assert np.isfinite(bound).all(), name
            assert (bound > 0).all(), name
        largest = np.abs(head.v).max()
        assert (SLACK * bounds["output"] <= 2.01 * largest).all()


def test_weights_stay_within_what_logits_within_their_errors_give() -> None:
    """Of every perturbation of the logits, and reached by the worst one."""
    rng = np.random.default_rng(0)
    head, call = _row([0.0, -3.0, -30.0, -1e9, 2.0])
    keys = every_key(head, call, 0, Units.of(default_precision("float32"), "float32"))
    keys = replace(keys, delta=np.array([[0.4, 2.0, 5.0, 300.0, 0.01, 0.0]]))
    least, most = weight_ranges(keys)
    signs = [*rng.uniform(-1, 1, (500, 6)), *(2.0 * np.eye(6) - 1), *(1 - 2.0 * np.eye(6))]
    moved = np.exp(keys.logs + SLACK * keys.delta * np.array(signs))
    moved /= moved.sum(1, keepdims=True)
    assert (moved <= most + 1e-12).all()
    assert (moved >= least - 1e-12).all()
    np.testing.assert_allclose(moved.max(0), most[0], rtol=1e-6)
    np.testing.assert_allclose(moved.min(0), least[0], rtol=1e-6)
    errors = weight_errors(keys, 0.0).keys[0]
    assert (SLACK * errors >= np.abs(moved - keys.weights).max(0)[:-1] - 1e-12).all()
    assert (SLACK * errors <= 1).all()


# Whether a case tells


def test_a_case_whose_bound_leaves_no_room_is_blunt() -> None:
    def found_in(distribution: str, dtype: str) -> Trial:
        sizes = {"B": 1, "Hq": 2, "Tq": 9, "S": 33, "D": 8, "Dv": 4}
        return trial(
            BACKEND, NAIVE, Case(PLAIN, Problem.from_dict({**sizes, "dtype": dtype, "distribution": distribution}))
        )

    assert found_in("normal", "bfloat16").blunt == ()
    assert found_in("large_mean", "float32").blunt == ()
    assert found_in("large_mean", "bfloat16").blunt == ("output",)
    assert judged_at(control(), "keys at finfo.min", "bfloat16")["output"].telling > 0.99
    assert 0.3 < judged_at(control(), "padding at -1000000000.0", "float32")["output"].telling < 0.6
    assert judged_at(control(), "padding at -1000000000.0", "float64")["output"].telling > 0.99


def test_the_spread_is_that_of_the_values_that_a_row_may_weigh() -> None:
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((1, 1, n, 4)) for n in (3, 7, 7))
    mask = rng.random((3, 7)) < 0.6
    mask[0], mask[1] = False, np.arange(7) == 2
    keep = rng.random((1, 1, 3, 7)) < 0.7
    q, k, v, call = prepare(AttentionSpec(dropout=0.3), Operands(q, k, v, mask=mask, keep=keep))
    head = next(head for _, _, head in heads(q, k, v, call))
    values = keep[0, 0, 2, :, None] / 0.7 * v[0, 0]
    spread = telling.spread(head, sink=False)
    np.testing.assert_allclose(spread[2], values[mask[2]].std(0))
    assert (spread[:2] == 0).all()
    with_sink = np.concatenate([values[mask[2]], np.zeros((1, 4))]).std(0)
    np.testing.assert_allclose(telling.spread(head, sink=True)[2], with_sink)


def test_numbers_count_by_their_squares() -> None:
    numbers = np.array([3.0, -4.0, 0.0, np.nan])
    assert telling.of_numbers(numbers, np.array([0.5, 1.5, 9.0, 9.0])) == pytest.approx(9 / 25)
    assert telling.of_numbers(np.zeros(3), np.ones(3)) == 1
    numbers, bound, spreads = np.zeros(3), np.array([0.1, 0.3, 9.0]), np.array([1.0, 1.0, 0.0])
    assert telling.of_output(numbers, bound, spreads) == pytest.approx(0.5)
    assert telling.of_output(np.array([0.0, 0.0, np.nan]), bound, spreads) == pytest.approx(2 / 3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_no_output_of_the_plan_is_blunt(dtype: str) -> None:
    for check_case in check_cases(dtype):
        result = trial(BACKEND, NAIVE, replace(check_case.case, phase="forward"))
        assert result.status == "ok", result.reason
        assert not result.blunt, check_case.case.label()
