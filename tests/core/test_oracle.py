"""The oracle itself: against hand-computed numbers, against 50 digits, and its gradients against differences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import e, log, sqrt, tanh
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands, prepare
from attnbench.attention.inputs import draw, draw_cotangents
from attnbench.attention.oracle import reference
from attnbench.attention.oracle_vjp import reference_vjp
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import SCORES, AttentionSpec
from tests.core import mp_attention

TINY: dict[str, Any] = {"B": 1, "Hq": 2, "Hkv": 1, "Tq": 2, "S": 3, "D": 2, "Dv": 2, "dtype": "float64"}
STAGES = ("scores", "capped", "logits", "weights")


@pytest.fixture(autouse=True)
def _fifty_digits() -> Iterator[None]:
    with mp.workdps(mp_attention.DIGITS):
        yield


def one_head(rows: list[list[float]]) -> Array:
    return np.array(rows, np.float64)[None, None]


def run(spec: AttentionSpec, operands: Operands) -> Any:
    q, k, v, call = prepare(spec, operands, ("lse", *STAGES))
    return reference(q, k, v, call)


# By hand


def test_two_keys_by_hand() -> None:
    operands = Operands(one_head([[1.0, 0.0]]), one_head([[0.0, 5.0], [log(3.0), 7.0]]), one_head([[10.0], [2.0]]))
    result = run(AttentionSpec(scale="none"), operands)
    # exp(0) = 1 against exp(ln 3) = 3.
    np.testing.assert_allclose(result.weights[0, 0, 0], [0.25, 0.75], rtol=1e-15)
    np.testing.assert_allclose(result.output[0, 0, 0], [0.25 * 10 + 0.75 * 2], rtol=1e-15)
    np.testing.assert_allclose(result.lse[0, 0, 0], log(4.0), rtol=1e-15)


@pytest.mark.parametrize(
    ("scale", "factor"), [(None, 1 / sqrt(4)), ("1/d", 1 / 4), ("none", 1.0), (0.0, 0.0), (-2.5, -2.5)]
)
def test_scales_by_hand(scale: float | str | None, factor: float) -> None:
    q, k = one_head([[1.0, 2.0, 3.0, 4.0]]), one_head([[1.0, 1.0, 1.0, 1.0]])
    assert run(AttentionSpec(scale=scale), Operands(q, k, k)).scores[0, 0, 0, 0] == 10 * factor


def test_log_n_counts_the_allowed_keys_and_at_least_two() -> None:
    x = one_head([[1.0]] * 3)
    result = run(AttentionSpec(scale="log_n", causal=True), Operands(x, x, x))
    np.testing.assert_allclose(result.scores[0, 0, :, 0], [log(2), log(2), log(3)], rtol=1e-15)


def test_the_cap_comes_after_the_scale_and_before_bias_and_mask() -> None:
    q, k = one_head([[3.0]]), one_head([[2.0], [1.0]])
    bias = np.array([50.0, 0.0])
    result = run(AttentionSpec(scale=0.5, softcap=2.0), Operands(q, k, k, bias=bias, mask=np.array([True, False])))
    np.testing.assert_allclose(result.capped[0, 0, 0], [2 * tanh(1.5), 2 * tanh(0.75)], rtol=1e-15)
    np.testing.assert_allclose(result.logits[0, 0, 0, 0], 2 * tanh(1.5) + 50, rtol=1e-15)
    assert result.logits[0, 0, 0, 1] == -np.inf


def test_alibi_by_hand_with_an_offset() -> None:
    zeros = np.zeros((1, 1, 2, 1)), np.zeros((1, 1, 4, 1)), np.zeros((1, 1, 4, 1))
    result = run(AttentionSpec(), Operands(*zeros, slopes=np.array([0.5]), offset=1))
    assert result.logits[0, 0].tolist() == [[-0.5, 0.0, -0.5, -1.0], [-1.0, -0.5, 0.0, -0.5]]


def test_a_sink_takes_weight_and_adds_no_value() -> None:
    operands = Operands(one_head([[0.0]]), one_head([[1.0]]), one_head([[8.0]]), sinks=np.array([log(3.0)]))
    result = run(AttentionSpec(), operands)
    np.testing.assert_allclose([result.weights.item(), result.output.item()], [0.25, 2.0], rtol=1e-15)
    np.testing.assert_allclose(result.lse.item(), log(4.0), rtol=1e-15)


def test_dropout_divides_by_the_probability_to_keep_and_leaves_weights_alone() -> None:
    zeros, v = one_head([[0.0]] * 2), one_head([[1.0], [3.0]])
    keep = np.array([[[[True, False], [False, False]]]])
    result = run(AttentionSpec(dropout=0.75), Operands(zeros, zeros, v, keep=keep))
    assert result.output[0, 0, :, 0].tolist() == [0.5 * 4 * 1.0, 0.0]
    assert (result.weights == 0.5).all()


@pytest.mark.parametrize(
    ("spec", "offset", "expected"),
    [
        ({"causal": True, "align": "top_left"}, None, ["1000", "1100"]),
        ({"causal": True, "align": "bottom_right"}, None, ["1110", "1111"]),
        ({"causal": True}, -1, ["0000", "1000"]),
        ({"window": (1, 0)}, 1, ["1100", "0110"]),
        ({"window": (0, 1)}, 0, ["1100", "0110"]),
        ({"window": (0, None), "align": "bottom_right"}, None, ["0011", "0001"]),
        ({"window": (None, 0), "align": "top_left"}, None, ["1000", "1100"]),
        ({"window": (0, 0), "align": "top_left", "causal": True}, None, ["1000", "0100"]),
    ],
)
def test_allowed_sets_by_hand(spec: dict[str, Any], offset: int | None, expected: list[str]) -> None:
    operands = Operands(np.zeros((1, 1, 2, 1)), np.zeros((1, 1, 4, 1)), np.zeros((1, 1, 4, 1)), offset=offset)
    allowed = run(AttentionSpec(**spec), operands).allowed[0, 0]
    assert ["".join(str(int(x)) for x in row) for row in allowed] == expected


def test_bottom_right_counts_from_the_lengths_of_each_batch_entry() -> None:
    zeros = np.zeros((2, 1, 3, 1))
    lengths: dict[str, Any] = {"kv_lengths": np.array([3, 2]), "q_lengths": np.array([1, 3])}
    allowed = run(AttentionSpec(causal=True, align="bottom_right"), Operands(zeros, zeros, zeros, **lengths)).allowed
    shown = [["".join(str(int(x)) for x in row) for row in batch[0]] for batch in allowed]
    assert shown == [["111", "000", "000"], ["000", "100", "110"]]


def test_additive_by_hand() -> None:
    params = {"Wq": np.array([[[1.0]]]), "Wk": np.array([[[2.0]]]), "b": np.array([[0.5]]), "v": np.array([[3.0]])}
    operands = Operands(one_head([[0.25]]), one_head([[0.125]]), one_head([[1.0]]), params=params)
    assert run(AttentionSpec("additive"), operands).scores.item() == pytest.approx(3 * tanh(1.0), rel=1e-15)


def test_general_reads_q_w_k_in_this_order() -> None:
    w = np.array([[[0.0, 1.0], [0.0, 0.0]]])
    operands = Operands(one_head([[2.0, 0.0]]), one_head([[0.0, 3.0]]), one_head([[1.0]]), params={"W": w})
    assert run(AttentionSpec("general"), operands).scores.item() == 6.0


@pytest.mark.parametrize("factor", [1.0, 1e200, 1e-200])
def test_cosine_by_hand_at_any_size(factor: float) -> None:
    q, k = one_head([[3.0, 4.0]]) * factor, one_head([[4.0, 3.0]]) * factor
    expected = 5.0 * 24 / 25
    if factor < 1:
        expected = 0.0  # norms far below the floor of 1e-12
    operands = Operands(q, k, k, params={"temperature": np.array([5.0])})
    np.testing.assert_allclose(run(AttentionSpec("cosine"), operands).scores.item(), expected, rtol=1e-15, atol=1e-300)


def test_query_heads_read_the_key_head_of_their_group() -> None:
    q, k = np.zeros((1, 4, 1, 1)), np.zeros((1, 2, 1, 1))
    v = np.array([10.0, 20.0]).reshape(1, 2, 1, 1)
    assert run(AttentionSpec(), Operands(q, k, v)).output.ravel().tolist() == [10, 10, 20, 20]


def test_softmax_of_one_e_by_hand() -> None:
    operands = Operands(one_head([[1.0]]), one_head([[1.0], [0.0]]), one_head([[1.0], [0.0]]))
    np.testing.assert_allclose(run(AttentionSpec(), operands).output.item(), e / (1 + e), rtol=1e-15)


# Against 50 digits

MP_CASES: list[tuple[dict[str, Any], tuple[str, ...], dict[str, Any]]] = [
    ({}, (), {}),
    ({"scale": (0.5, -2.0), "causal": True, "align": "bottom_right"}, ("mask",), {}),
    ({"scale": "log_n", "window": (1, 1), "align": "top_left"}, ("bias",), {}),
    ({"softcap": 0.75, "scale": "1/d"}, ("bias_minus_inf", "sinks"), {}),
    ({"causal": True}, ("past", "slopes", "sinks"), {}),
    ({"causal": True}, ("offsets", "slopes"), {"B": 2}),
    ({"dropout": 0.5}, ("kv_lengths", "q_lengths", "segments"), {"B": 2, "seed": 3}),
    ({"window": (0, None), "align": "bottom_right"}, ("kv_lengths", "q_lengths"), {"B": 2, "seed": 6}),
    ({"scale": "none"}, ("mask_dead_rows", "sinks"), {"distribution": "peaky"}),
    *(({"score": score}, ("bias",), {}) for score in SCORES[1:]),
    *(({"score": score, "softcap": 0.5, "scale": -0.75, "dropout": 0.25}, ("mask", "sinks"), {}) for score in SCORES),
]


@pytest.mark.parametrize(("spec", "operands", "sizes"), MP_CASES)
def test_the_oracle_is_right_to_the_last_digits(
    spec: dict[str, Any], operands: tuple[str, ...], sizes: dict[str, Any]
) -> None:
    case = Case(AttentionSpec(**spec), Problem(**{**TINY, **sizes}, operands=operands), "backward", ("lse",))
    given = mp_attention.full_bias(draw(case.spec, case.problem))
    q, k, v, call = prepare(case.spec, given, ("lse", *STAGES))
    seen = reference(q, k, v, call)
    exact = mp_attention.attention(case.spec, given, mp_attention.lifted(given))
    for name in ("output", "lse", *STAGES):
        np.testing.assert_allclose(getattr(seen, name), mp_attention.lower(exact[name]), 1e-13, 1e-15, err_msg=name)


@pytest.mark.parametrize(("spec", "operands", "sizes"), MP_CASES)
def test_the_oracles_gradients_are_right_to_the_last_digits(
    spec: dict[str, Any], operands: tuple[str, ...], sizes: dict[str, Any]
) -> None:
    case = Case(AttentionSpec(**spec), Problem(**{**TINY, **sizes}, operands=operands), "backward", ("lse",))
    given = mp_attention.full_bias(draw(case.spec, case.problem))
    d_output, d_lse = draw_cotangents(case)
    q, k, v, call = prepare(case.spec, given, ("lse",))
    seen = reference_vjp(q, k, v, call, d_output, d_lse)
    exact = mp_attention.gradients(case.spec, given, d_output, d_lse)
    for name in ("k", "v"):
        if f"past_{name}" in exact:
            exact[name] = np.concatenate([exact.pop(f"past_{name}"), exact[name]], 2)
    assert seen.keys() == exact.keys()
    for name, grad in exact.items():
        np.testing.assert_allclose(seen[name], grad, 1e-12, 1e-13, err_msg=name)


# Gradients against central differences in float64: every score with every feature

SMALL: dict[str, Any] = {"B": 2, "Hq": 4, "Hkv": 2, "Tq": 3, "S": 5, "D": 3, "Dv": 2, "dtype": "float64"}
FEATURES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plain": ({}, ()),
    "softcap": ({"softcap": 0.8}, ()),
    "bias": ({}, ("bias",)),
    "broadcast bias": ({}, ("bias_keys",)),
    "mask": ({}, ("mask",)),
    "sinks": ({}, ("sinks",)),
    "dropout": ({"dropout": 0.4}, ()),
    "causal": ({"causal": True, "align": "bottom_right"}, ()),
    "log_n": ({"causal": True, "align": "bottom_right", "scale": "log_n"}, ()),
    "head scale": ({"scale": (0.3, -0.5, 1.0, 2.0)}, ()),
    "lengths": ({}, ("kv_lengths", "q_lengths")),
    "everything": (
        {"softcap": 0.8, "dropout": 0.3, "causal": True, "align": "bottom_right"},
        ("bias_minus_inf", "mask", "sinks", "kv_lengths", "slopes"),
    ),
}


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("feature", FEATURES)
def test_gradients_agree_with_differences(score: str, feature: str) -> None:
    spec, operands = FEATURES[feature]
    case = Case(AttentionSpec(score, **spec), Problem(**SMALL, operands=operands, seed=4), "backward", ("lse",))
    given = draw(case.spec, case.problem)
    if given.params:  # one set of parameters for all heads: the gradient is summed over them
        given = replace(given, params={n: p if n == "v" else p[:1] for n, p in given.params.items()})
    d_output, d_lse = draw_cotangents(case)
    assert d_lse is not None
    q, k, v, call = prepare(case.spec, given, ("lse",))
    grads = reference_vjp(q, k, v, call, d_output, d_lse)

    def objective(moved: Operands) -> float:
        result = reference(*prepare(case.spec, moved, ("lse",)))
        return float((result.output * d_output).sum() + (np.where(np.isinf(result.lse), 0, result.lse) * d_lse).sum())

    rng = np.random.default_rng(0)
    checked = []
    for name, array in given.arrays().items():
        if array.dtype.kind != "f" or name == "slopes":
            continue
        direction = rng.standard_normal(array.shape)
        step = 1e-5
        ends = [objective(_moved(given, name, array + sign * step * direction)) for sign in (1, -1)]
        grad = grads[name].reshape(array.shape)
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), (grad * direction).sum(), 1e-6, 1e-7, err_msg=name)
        checked.append(name)
    assert set(checked) == set(grads)


def _moved(given: Operands, name: str, array: Array) -> Operands:
    changed: dict[str, Any] = {name: array}
    if name.startswith("params."):
        changed = {"params": {**(given.params or {}), name.removeprefix("params."): array}}
    return replace(given, **changed)


def test_rows_can_be_evaluated_alone() -> None:
    case = Case(AttentionSpec(causal=True), Problem(**{**SMALL, "S": 3}, operands=("bias", "mask")), outputs=("lse",))
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem), ("lse",))
    whole, some = reference(q, k, v, call), reference(q, k, v, call, np.array([0, 2]))
    np.testing.assert_array_equal(whole.output[:, :, [0, 2]], some.output)
    np.testing.assert_array_equal(whole.lse[:, :, [0, 2]], some.lse)


def test_gradients_of_some_rows_are_those_of_a_cotangent_that_is_zero_elsewhere() -> None:
    case = Case(AttentionSpec(), Problem(**SMALL, operands=("bias_keys", "sinks")), "backward")
    q, k, v, call = prepare(case.spec, draw(case.spec, case.problem))
    d_output = draw_cotangents(case)[0]
    d_output[:, :, 1] = 0
    whole = reference_vjp(q, k, v, call, d_output)
    some = reference_vjp(q, k, v, call, d_output, rows=np.array([0, 2]))
    for name, grad in whole.items():
        np.testing.assert_allclose(some[name], grad, 1e-13, 1e-15, err_msg=name)
