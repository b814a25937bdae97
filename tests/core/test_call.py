# ruff: noqa: E501  (a table with one mistake in each line)
"""Everything that ``prepare`` refuses, with the phrase that a user reads; and what it makes of good operands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import attnbench
from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands, prepare
from attnbench.attention.inputs import default_params
from attnbench.attention.spec import SCORES, AttentionSpec
from attnbench.errors import SpecError

B, HQ, HKV, TQ, S, D, DV = 2, 4, 2, 3, 5, 6, 7


def zeros(*shape: int, dtype: Any = np.float32) -> Array:
    return np.zeros(shape, dtype)


def plain(**changes: Any) -> Operands:
    return replace(Operands(zeros(B, HQ, TQ, D), zeros(B, HKV, S, D), zeros(B, HKV, S, DV)), **changes)


def ints(*values: int) -> Array:
    return np.array(values, np.int32)


CAUSAL = AttentionSpec(causal=True)
FULL = "(B, Hq, Tq, S) = (2, 4, 3, 5)"
PAST: dict[str, Any] = {"past_k": zeros(B, HKV, 2, D), "past_v": zeros(B, HKV, 2, DV)}
SEGMENTS: dict[str, Any] = {"q_segments": np.zeros((B, TQ), np.int32), "kv_segments": np.zeros((B, S), np.int32)}

BAD: list[tuple[AttentionSpec, dict[str, Any], str]] = [
    # q, k, v
    (AttentionSpec(), {"q": [[0.0]]}, "q is a NumPy array, got list"),
    (AttentionSpec(), {"v": None}, "v is a NumPy array, got NoneType"),
    (AttentionSpec(), {"k": np.ma.masked_array(zeros(B, HKV, S, D))}, "k is a NumPy array, got MaskedArray"),
    (AttentionSpec(), {"q": zeros(HQ, TQ, D)}, "q has 4 axes, got shape (4, 3, 6)"),
    (AttentionSpec(), {"k": zeros(B, HKV, S, D, 1)}, "k has 4 axes"),
    (AttentionSpec(), {"q": zeros(B, HQ, TQ, D, dtype=int)}, "q has dtype int64; it is float64, float32, bfloat16"),
    (AttentionSpec(), {"v": zeros(B, HKV, S, DV, dtype=complex)}, "v has dtype complex128"),
    (AttentionSpec(), {"v": zeros(B, HKV, S, DV, dtype=np.longdouble)}, "; it is float64, float32, bfloat16 or float16"),
    (AttentionSpec(), {"k": zeros(B, HKV, S, D, dtype=object)}, "k has dtype object"),
    (AttentionSpec(), {"q": zeros(B, HQ, TQ, D, dtype=">f4")}, "q has foreign byte order (>f4); convert it with .astype"),
    (AttentionSpec(), {"k": zeros(B, HKV, S, D, dtype=np.float16)}, "one dtype; got float32, float16, float32"),
    (AttentionSpec(), {"k": zeros(1, HKV, S, D)}, "batch sizes differ: q has 2, k has 1, v has 2"),
    (AttentionSpec(), {"v": zeros(3, HKV, S, DV)}, "batch sizes differ: q has 2, k has 2, v has 3"),
    (AttentionSpec(), {"v": zeros(B, HQ, S, DV)}, "key and value heads differ: k has 2, v has 4"),
    (AttentionSpec(), {"k": zeros(B, HKV, S, D + 1)}, "head sizes D of queries and keys differ: q has 6, k has 7"),
    (AttentionSpec(), {"v": zeros(B, HKV, S - 1, DV)}, "numbers of keys and values differ: k has 5, v has 4"),
    (AttentionSpec(), {"q": zeros(B, HQ, TQ, 0), "k": zeros(B, HKV, S, 0)}, "the head size D is 0"),
    (AttentionSpec(), {"q": zeros(B, 3, TQ, D)}, "Hq = 3 query heads cannot share Hkv = 2 key/value heads"),
    (AttentionSpec(), {"q": zeros(B, 1, TQ, D)}, "Hq = 1 query heads cannot share Hkv = 2"),
    (AttentionSpec(), {"q": zeros(B, 0, TQ, D)}, "Hq = 0 query heads cannot share"),
    (AttentionSpec(), {"k": zeros(B, 0, S, D), "v": zeros(B, 0, S, DV)}, "cannot share Hkv = 0"),
    # mask, bias
    (AttentionSpec(), {"mask": zeros(TQ, S)}, "mask is bool (True attends), got dtype float32; float values to add are bias="),
    (AttentionSpec(), {"mask": zeros(TQ, S, dtype=np.uint8)}, "mask is bool (True attends), got dtype uint8"),
    (AttentionSpec(), {"mask": zeros(TQ, S + 1, dtype=bool)}, f"mask (3, 6) does not broadcast to {FULL}"),
    (AttentionSpec(), {"mask": zeros(S, TQ, dtype=bool)}, "mask (5, 3) does not broadcast"),
    (AttentionSpec(), {"mask": zeros(B, S, dtype=bool)}, "mask (2, 5) does not broadcast"),
    (AttentionSpec(), {"mask": zeros(HKV, TQ, S, dtype=bool)}, "mask (2, 3, 5) does not broadcast"),
    (AttentionSpec(), {"mask": zeros(1, B, HQ, TQ, S, dtype=bool)}, "mask has 0 or 1 or 2 or 3 or 4 axes"),
    (AttentionSpec(), {"mask": [True]}, "mask is a NumPy array, got list"),
    (AttentionSpec(), {"bias": zeros(TQ, S, dtype=bool)}, "bias has dtype bool; it is float64"),
    (AttentionSpec(), {"bias": zeros(TQ, S, dtype=int)}, "bias has dtype int64"),
    (AttentionSpec(), {"bias": zeros(TQ, 0)}, "bias (3, 0) does not broadcast"),
    (AttentionSpec(), {"bias": zeros(TQ, S, dtype=">f8")}, "bias has foreign byte order (>f8)"),
    # lengths
    (AttentionSpec(), {"kv_lengths": ints(1, 6)}, "kv_lengths stand between 0 and 5; got [1, 6]"),
    (AttentionSpec(), {"kv_lengths": ints(-1, 5)}, "kv_lengths stand between 0 and 5; got [-1, 5]"),
    (AttentionSpec(), {"q_lengths": ints(0, 4)}, "q_lengths stand between 0 and 3; got [0, 4]"),
    (AttentionSpec(), {"q_lengths": ints(1)}, "q_lengths is an integer array of shape (B,) = (2,)"),
    (AttentionSpec(), {"q_lengths": np.array([1.0, 2.0])}, "q_lengths is an integer array"),
    (AttentionSpec(), {"kv_lengths": 3}, "kv_lengths is an integer array of shape (B,) = (2,); got 3"),
    (AttentionSpec(), {"kv_lengths": np.array([True, True])}, "kv_lengths is an integer array"),
    (AttentionSpec(), {"kv_lengths": np.array([2**32 + 1, 1])}, "kv_lengths stand between 0 and 5"),
    # segments
    (AttentionSpec(), {"q_segments": SEGMENTS["q_segments"]}, "kv_segments is an integer array of shape (2, 5), given together"),
    (AttentionSpec(), {"kv_segments": SEGMENTS["kv_segments"]}, "q_segments is an integer array of shape (2, 3)"),
    (AttentionSpec(), SEGMENTS | {"q_segments": zeros(B, S, dtype=int)}, "q_segments is an integer array of shape (2, 3)"),
    (AttentionSpec(), SEGMENTS | {"kv_segments": zeros(B, S)}, "kv_segments is an integer array"),
    (AttentionSpec(), SEGMENTS | {"kv_segments": np.full((B, S), 2**32)}, "kv_segments holds ids that do not fit 32 bits"),
    # per head
    (AttentionSpec(), {"sinks": zeros(HKV)}, "sinks has one value for each of Hq = 4 query heads; got shape (2,)"),
    (AttentionSpec(), {"sinks": zeros(1, HQ)}, "sinks has 1 axes, got shape (1, 4)"),
    (AttentionSpec(), {"offset": 0, "slopes": zeros(1)}, "slopes has one value for each of Hq = 4"),
    (AttentionSpec(), {"offset": 0, "slopes": zeros(HQ, dtype=int)}, "slopes has dtype int64"),
    (AttentionSpec(scale=(1.0, 2.0)), {}, "scale has 2 values for Hq = 4 query heads"),
    (AttentionSpec(scale=(1.0,)), {}, "scale has 1 values for Hq = 4 query heads"),
    # dropout
    (AttentionSpec(dropout=0.5), {}, "dropout = 0.5 and keep is missing: dropout > 0 comes with keep="),
    (AttentionSpec(), {"keep": zeros(B, HQ, TQ, S, dtype=bool)}, "dropout = 0 and keep was given"),
    (AttentionSpec(dropout=0.5), {"keep": zeros(TQ, S, dtype=bool)}, "keep has 4 axes"),
    (AttentionSpec(dropout=0.5), {"keep": zeros(B, 1, TQ, S, dtype=bool)}, f"keep is bool (True keeps) of shape {FULL}"),
    (AttentionSpec(dropout=0.5), {"keep": zeros(B, HQ, TQ, S)}, "keep is bool (True keeps)"),
    # positions
    (CAUSAL, {}, "Tq = 3 queries among S = 5 keys: positions matter here"),
    (CAUSAL, {}, 'align="top_left" or align="bottom_right" in the spec, or offset='),
    (AttentionSpec(window=(1, 0)), {}, "positions matter here"),
    (AttentionSpec(), {"slopes": zeros(HQ)}, "positions matter here"),
    (AttentionSpec(causal=True, align="top_left"), {"offset": 2}, "offset and align both say where the queries stand"),
    (AttentionSpec(align="top_left"), {"offset": 0}, "give one"),
    (CAUSAL, {"offset": 1.0}, "offset is an integer or an integer array of shape (B,) = (2,); got 1.0"),
    (CAUSAL, {"offset": True}, "offset is an integer or"),
    (CAUSAL, {"offset": ints(1)}, "offset is an integer or"),
    (CAUSAL, {"offset": np.array([0.0, 1.0])}, "offset is an integer or"),
    (CAUSAL, {"offset": 2**31}, "offset stands between -2**30 and 2**30"),
    (CAUSAL, {"offset": np.array([0, -(2**40)])}, "offset stands between -2**30 and 2**30"),
    # cache
    (CAUSAL, {"past_k": PAST["past_k"]}, "past_k and past_v belong together; only one was given"),
    (CAUSAL, PAST | {"offset": 2}, "with a cache the offset is the length of the past; give neither offset nor align"),
    (AttentionSpec(align="bottom_right"), PAST, "with a cache the offset is the length of the past"),
    (CAUSAL, PAST | {"past_k": zeros(B, HKV, 3, D)}, "lengths of the cache differ: past_k has 3, past_v has 2"),
    (CAUSAL, PAST | {"past_k": zeros(B, HQ, 2, D)}, "past_k float32(2, 4, 2, 6) does not fit before float32(2, 2, 5, 6)"),
    (CAUSAL, PAST | {"past_v": zeros(B, HKV, 2, D)}, "past_v float32(2, 2, 2, 6) does not fit before"),
    (CAUSAL, PAST | {"past_v": zeros(B, HKV, 2, DV, dtype=np.float64)}, "past_v float64(2, 2, 2, 7) does not fit"),
    (CAUSAL, PAST | {"kv_lengths": ints(8, 1)}, "kv_lengths stand between 0 and 7"),
    (CAUSAL, PAST | {"mask": zeros(TQ, S, dtype=bool)}, "mask (3, 5) does not broadcast to (B, Hq, Tq, S) = (2, 4, 3, 7)"),
    # params
    (AttentionSpec(), {"params": {"W": zeros(1, D, D)}}, "score 'dot' takes no params; got W. See attnbench.default_params"),
    (AttentionSpec("general"), {}, "score 'general' needs params W; got none"),
    (AttentionSpec("additive"), {"params": {"Wq": zeros(1, D, 8)}}, "needs params Wq, Wk, b, v; got Wq"),
    (AttentionSpec("cosine"), {"params": {"temperature": zeros(1), "bias": zeros(1)}}, "got bias, temperature"),
    (AttentionSpec("general"), {"params": {"W": zeros(1, D, DV)}}, "params.W of score 'general' has shape (4 or 1, 6, 6); got (1, 6, 7)"),
    (AttentionSpec("general"), {"params": {"W": zeros(HKV, D, D)}}, "has shape (4 or 1, 6, 6); got (2, 6, 6)"),
    (AttentionSpec("general"), {"params": {"W": zeros(D, D)}}, "has shape (4 or 1, 6, 6); got (6, 6)"),
    (AttentionSpec("general"), {"params": {"W": zeros(1, D, D, dtype=int)}}, "params.W has dtype int64"),
    (AttentionSpec("cosine"), {"params": {"temperature": 1.0}}, "params.temperature is a NumPy array, got float"),
    (AttentionSpec("cosine"), {"params": {"temperature": np.array(1.0)}}, "params.temperature has 1 or 2 or 3 axes"),
    (AttentionSpec("concat"), {"params": {"W": zeros(1, D, 8), "v": zeros(1, 8)}}, "has shape (4 or 1, 12, 8); got (1, 6, 8)"),
    (AttentionSpec("concat"), {"params": {"W": zeros(1, 2 * D, 8), "v": zeros(1, 9)}}, "params.W of score 'concat'"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "changes", "phrase"), BAD)
def test_what_is_not_a_problem_is_refused_with_a_sentence(
    spec: AttentionSpec, changes: dict[str, Any], phrase: str
) -> None:
    with pytest.raises(SpecError) as caught:
        prepare(spec, plain(**changes))
    assert phrase in str(caught.value)


@pytest.mark.parametrize("impl", ["numpy/naive", "numpy/loops"])
def test_the_text_is_the_same_through_every_implementation(impl: str) -> None:
    q, k, v = zeros(B, HQ, TQ, D), zeros(B, HKV, S, D), zeros(B, HKV, S - 1, DV)
    with pytest.raises(SpecError, match="numbers of keys and values differ: k has 5, v has 4"):
        attnbench.attend(q, k, v, impl=impl)


def test_unknown_outputs_and_operands() -> None:
    with pytest.raises(SpecError, match=r"output 'lsee' is not one of output, lse, .*did you mean 'lse'"):
        prepare(AttentionSpec(), plain(), ("lsee",))
    with pytest.raises(TypeError, match=r"attend takes no 'masks'; did you mean 'mask'\?"):
        attnbench.attend(*(zeros(1, 1, 1, 1) for _ in range(3)), masks=None)


@pytest.mark.parametrize(
    ("d_output", "d_lse", "phrase"),
    [
        (zeros(B, HQ, TQ, D), None, "d_output is float32 of shape (B, Hq, Tq, Dv) = (2, 4, 3, 7); got float32(2, 4, 3, 6)"),
        (zeros(B, HQ, TQ, DV, dtype=np.float64), None, "got float64(2, 4, 3, 7)"),
        (zeros(B, HQ, TQ, DV, dtype=">f4"), None, "got >f4(2, 4, 3, 7)"),
        (0.0, None, "got 0.0"),
        (zeros(B, HQ, TQ, DV), zeros(B, HQ, TQ, 1), "d_lse is float32 of shape (B, Hq, Tq) = (2, 4, 3)"),
        (zeros(B, HQ, TQ, DV), zeros(B, HQ, TQ, dtype=np.float16), "got float16(2, 4, 3)"),
    ],
)  # fmt: skip
def test_cotangents_must_fit(d_output: Any, d_lse: Any, phrase: str) -> None:
    operands = plain()
    with pytest.raises(SpecError) as caught:
        attnbench.vjp(operands.q, operands.k, operands.v, d_output, d_lse)
    assert phrase in str(caught.value)


def test_d_lse_of_16_bit_inputs_is_float32() -> None:
    halves = [a.astype(ml_dtypes.bfloat16) for a in (plain().q, plain().k, plain().v)]
    d_output = zeros(B, HQ, TQ, DV, dtype=ml_dtypes.bfloat16)
    assert attnbench.vjp(*halves, d_output, zeros(B, HQ, TQ))["k"].dtype == ml_dtypes.bfloat16
    with pytest.raises(SpecError, match="d_lse is float32"):
        attnbench.vjp(*halves, d_output, zeros(B, HQ, TQ, dtype=ml_dtypes.bfloat16))


# What comes out of good operands


@pytest.mark.parametrize(
    ("spec", "changes", "offset"),
    [
        (AttentionSpec(), {}, 0),
        (AttentionSpec(causal=True, align="top_left"), {}, 0),
        (AttentionSpec(causal=True, align="bottom_right"), {}, 2),
        (AttentionSpec(window=(1, 1), align="bottom_right"), {}, 2),
        (AttentionSpec(align="bottom_right"), {"slopes": zeros(HQ)}, 2),
        (AttentionSpec(align="bottom_right"), {}, 0),  # where positions do not matter there is none
        (CAUSAL, {"offset": -7}, -7),
        (CAUSAL, {"offset": np.int64(4)}, 4),
        (CAUSAL, {"offset": np.array([1, 2], np.uint8)}, [1, 2]),
        (CAUSAL, PAST, 2),
        (
            AttentionSpec(causal=True, align="bottom_right"),
            {"kv_lengths": ints(5, 1), "q_lengths": ints(1, 3)},
            [4, -2],
        ),
        (AttentionSpec(causal=True, align="bottom_right"), {"kv_lengths": ints(5, 1)}, [2, -2]),
    ],
)
def test_where_the_queries_stand(spec: AttentionSpec, changes: dict[str, Any], offset: Any) -> None:
    call = prepare(spec, plain(**changes))[3]
    assert np.asarray(call.offset).tolist() == offset


def test_masks_are_aligned_at_the_right_and_get_four_axes() -> None:
    shapes = {(): (1, 1, 1, 1), (S,): (1, 1, 1, S), (TQ, 1): (1, 1, TQ, 1), (HQ, 1, S): (1, HQ, 1, S)}
    for shape, expected in shapes.items():
        call = prepare(AttentionSpec(), plain(mask=np.ones(shape, bool), bias=zeros(*shape)))[3]
        assert call.mask.shape == call.bias.shape == expected


def test_the_cache_stands_before_the_new_keys() -> None:
    ones = {"past_k": np.ones((B, HKV, 2, D), np.float32), "past_v": np.ones((B, HKV, 2, DV), np.float32)}
    _, k, v, call = prepare(CAUSAL, plain(**ones))
    assert k[0, 0, :, 0].tolist() == v[0, 0, :, 0].tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert (call.sizes.S, call.sizes.past) == (7, 2)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("heads", [1, HQ])
def test_default_params_are_what_each_score_needs(score: str, heads: int) -> None:
    spec = AttentionSpec(score)
    params = default_params(spec, heads=heads, d=D, hidden=8)
    call = prepare(spec, plain(params=params))[3]
    assert {name: p.shape for name, p in call.params.items()} == {name: p.shape for name, p in params.items()}


def test_needs_name_what_a_call_asks_for() -> None:
    assert prepare(AttentionSpec(), plain(q=zeros(B, HKV, TQ, D)))[3].needs().features == frozenset()
    spec = AttentionSpec(causal=True, window=(2, 0), softcap=1.0, dropout=0.5, scale=(1.0,) * HQ)
    changes = {"mask": np.ones(S, bool), "bias": zeros(S), "kv_lengths": ints(1, 2), "offset": ints(0, 1)}
    changes |= SEGMENTS | {"sinks": zeros(HQ), "slopes": zeros(HQ), "keep": np.ones((B, HQ, TQ, S), bool)}
    features = prepare(spec, plain(**changes), ("lse", "weights"))[3].needs(gradients=True).features
    expected = "causal gqa mask bias window lengths segments softcap sinks dropout slopes head_scale batch_offset lse"
    assert features == {*expected.split(), "stages", "gradients"}
    assert prepare(AttentionSpec(scale="log_n"), plain())[3].needs().features == {"gqa", "log_n"}


def test_arrays_of_a_call_can_be_taken_out_and_put_back() -> None:
    spec = AttentionSpec("general", scale=(1.0,) * HQ)
    changes: dict[str, Any] = {"bias": zeros(S), "sinks": zeros(HQ), "params": {"W": zeros(1, D, D)}}
    call = prepare(spec, plain(**changes))[3]
    arrays = call.arrays()
    assert set(arrays) == {"scale", "bias", "sinks", "params"}
    again = call.with_arrays({"bias": "b", "params": {"W": "w"}})
    assert (again.bias, again.params, again.sinks is call.sinks) == ("b", {"W": "w"}, True)
    assert call.map_arrays(lambda a: a + 1).params["W"].min() == 1


def test_a_scale_is_held_by_the_dtype_of_the_computation() -> None:
    tiny, huge = AttentionSpec(scale=1e-46), AttentionSpec(scale=1e39)
    assert prepare(tiny, plain())[3].scale == 0.0
    per_head = prepare(AttentionSpec(scale=(1e-46, -1e-300, 1e-44, 0.1)), plain())[3].scale
    np.testing.assert_array_equal(per_head, [0.0, 0.0, 1e-44, 0.1])
    with pytest.raises(
        SpecError, match=r"float32 is computed in float32, which holds a scale up to 3.4e\+38; got 1e\+39"
    ):
        prepare(huge, plain())
    wide = plain()
    doubles = replace(wide, q=wide.q.astype(np.float64), k=wide.k.astype(np.float64), v=wide.v.astype(np.float64))
    assert (prepare(tiny, doubles)[3].scale, prepare(huge, doubles)[3].scale) == (1e-46, 1e39)


def test_arrays_by_name_can_be_taken_out_and_put_back() -> None:
    spec = AttentionSpec("general", scale=(1.0,) * HQ)
    call = prepare(spec, plain(params={"W": zeros(1, D, D) + 1}))[3]
    arrays = call.arrays_by_name()
    assert set(arrays) == {"scale", "params.W"}
    other = call.with_arrays_by_name({name: 2 * array for name, array in arrays.items()} | {"q": np.ones(1)})
    assert set(other.arrays_by_name()) == set(arrays)
    np.testing.assert_array_equal(other.params["W"], 2 * call.params["W"])
