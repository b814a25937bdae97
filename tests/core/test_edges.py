"""The edge cases of docs/spec.md through the public API, on numpy/naive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import attnbench
from attnbench import AttentionSpec, UnsupportedError
from attnbench.api import AttentionOutput, Capabilities, Implementation, implementation
from attnbench.attention.arrays import Array
from attnbench.attention.inputs import default_params
from attnbench.attention.precision import DTYPES, numpy_dtype
from attnbench.attention.spec import SCORES

STAGES = ("scores", "capped", "logits", "weights")
CAUSAL = AttentionSpec(causal=True)


def normal(*shape: int, seed: int = 0, dtype: str = "float32") -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(numpy_dtype(dtype))


def qkv(b: int = 2, h: int = 2, tq: int = 4, s: int = 6, d: int = 3, dv: int = 5, dtype: str = "float32") -> Any:
    return normal(b, h, tq, d, dtype=dtype), normal(b, h, s, d, dtype=dtype), normal(b, h, s, dv, seed=1, dtype=dtype)


# No key allowed

DEAD: dict[str, tuple[AttentionSpec, dict[str, Any]]] = {
    "mask": (AttentionSpec(), {"mask": np.zeros((4, 6), bool)}),
    "mask of no axes": (AttentionSpec(), {"mask": np.array(False)}),
    "kv_lengths": (AttentionSpec(), {"kv_lengths": np.zeros(2, int)}),
    "q_lengths": (AttentionSpec(), {"q_lengths": np.zeros(2, int)}),
    "segments": (AttentionSpec(), {"q_segments": np.zeros((2, 4), int), "kv_segments": np.ones((2, 6), int)}),
    "alignment": (CAUSAL, {"offset": -4}),
    "far offset": (CAUSAL, {"offset": -(2**30)}),
    "window": (AttentionSpec(window=(0, None)), {"offset": 6}),
    "far window": (AttentionSpec(window=(2**30, 2**30)), {"offset": 2**30, "mask": np.array(False)}),
    "bias": (AttentionSpec(), {"bias": np.full((4, 6), -np.inf, np.float32)}),
    "together": (
        AttentionSpec(),
        {"mask": np.arange(6) < 3, "bias": np.where(np.arange(6) < 3, -np.inf, 0).astype(np.float32)},
    ),
}


@pytest.mark.parametrize("name", DEAD)
@pytest.mark.parametrize("poisoned", [False, True])
def test_without_an_allowed_key_everything_is_zero(name: str, poisoned: bool) -> None:
    spec, operands = DEAD[name]
    q, k, v = qkv()
    d_output, d_lse = normal(2, 2, 4, 5), normal(2, 2, 4)
    if poisoned:
        for array in (q, k, v, d_output, d_lse):
            array[:] = np.nan
    result = attnbench.attend(q, k, v, spec=spec, outputs=("lse", "weights", "logits"), **operands)
    assert (result.output == 0).all()
    assert (result.weights == 0).all()
    assert (result.lse == -np.inf).all()
    assert (result.logits == -np.inf).all()
    for grad_name, grad in attnbench.vjp(q, k, v, d_output, d_lse, spec=spec, **operands).items():
        assert (grad == 0).all(), grad_name


@pytest.mark.parametrize("name", DEAD)
def test_without_an_allowed_key_the_sink_is_all_there_is(name: str) -> None:
    spec, operands = DEAD[name]
    q, k, v = qkv()
    sinks = np.array([-2.0, 700.0], np.float32)
    result = attnbench.attend(q, k, v, spec=spec, outputs=("lse",), sinks=sinks, **operands)
    assert (result.output == 0).all()
    np.testing.assert_array_equal(result.lse, np.broadcast_to(sinks[None, :, None], (2, 2, 4)))
    nan = np.full((2, 2, 4, 5), np.nan, np.float32)
    grads = attnbench.vjp(q, k, v, nan, spec=spec, sinks=sinks, **operands)
    assert all((grad == 0).all() for grad in grads.values())
    # lse is the sink there, so a cotangent of lse is the sink's, and nobody else's.
    d_lse = normal(2, 2, 4)
    grads = attnbench.vjp(q, k, v, nan, d_lse, spec=spec, sinks=sinks, **operands)
    np.testing.assert_allclose(grads.pop("sinks"), d_lse.sum((0, 2)), rtol=1e-5)
    assert all((grad == 0).all() for grad in grads.values())


@pytest.mark.parametrize("dtype", DTYPES)
def test_more_queries_than_keys_leave_the_leading_rows_without_a_key(dtype: str) -> None:
    q, k, v = qkv(tq=6, s=4, dtype=dtype)
    spec = AttentionSpec(causal=True, align="bottom_right")
    result = attnbench.attend(q, k, v, spec=spec, outputs=("lse",))
    assert (result.output[:, :, :2] == 0).all()
    assert np.isneginf(result.lse[:, :, :2]).all()
    np.testing.assert_array_equal(result.output[:, :, 2], v[:, :, 0])
    assert np.isfinite(result.lse[:, :, 2:]).all()


def test_queries_beyond_q_lengths_are_zero_and_pass_nothing_back() -> None:
    q, k, v = qkv()
    lengths = np.array([1, 4])
    result = attnbench.attend(q, k, v, q_lengths=lengths, outputs=("lse",))
    assert (result.output[0, :, 1:] == 0).all()
    assert np.isneginf(result.lse[0, :, 1:]).all()
    d_output = normal(2, 2, 4, 5)
    grads = attnbench.vjp(q, k, v, d_output, q_lengths=lengths)
    assert (grads["q"][0, :, 1:] == 0).all()
    shorter = attnbench.vjp(q[:1, :, :1], k[:1], v[:1], d_output[:1, :, :1])
    np.testing.assert_allclose(grads["k"][:1], shorter["k"], rtol=1e-5, atol=1e-6)


# Empty


@implementation("numpy/never", Capabilities(lse=True, stages=True, sinks=True, causal=True, bias=True, gradients=True))
def never(*_: Any) -> Any:
    pytest.fail("a kernel was called on an empty problem")


EMPTY = [{"b": 0}, {"tq": 0}, {"s": 0}, {"dv": 0}, {"b": 0, "tq": 0, "s": 0, "dv": 0}]


@pytest.mark.parametrize("impl", ["numpy/naive", never])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", EMPTY)
def test_empty_problems_have_the_right_shapes_and_reach_no_kernel(
    sizes: dict[str, int], dtype: str, impl: str | Implementation
) -> None:
    full = {"b": 2, "h": 2, "tq": 3, "s": 4, "d": 5, "dv": 6} | sizes
    b, h, tq, s, dv = (full[name] for name in ("b", "h", "tq", "s", "dv"))
    q, k, v = qkv(**full, dtype=dtype)
    result = attnbench.attend(q, k, v, impl=impl, outputs=("lse", *STAGES))
    assert result.output.shape == (b, h, tq, dv)
    assert (result.output == 0).all()
    assert result.lse.shape == (b, h, tq)
    assert np.isneginf(result.lse).all()
    for name in STAGES:
        assert getattr(result, name).shape == (b, h, tq, s)
    assert all(array.dtype == dtype for _, array in result.items())
    bias = normal(tq, 1, dtype=dtype)
    cotangents = normal(b, h, tq, dv, dtype=dtype), normal(b, h, tq, dtype=dtype)
    grads = attnbench.vjp(q, k, v, *cotangents, impl=impl, bias=bias)
    for name, operand in (("q", q), ("k", k), ("v", v), ("bias", bias)):
        assert grads[name].shape == operand.shape
        assert grads[name].dtype == operand.dtype
        assert (grads[name] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_with_no_key_at_all_the_lse_is_the_sink_and_its_gradient_that_of_lse(dtype: str) -> None:
    q, k, v = qkv(s=0, dtype=dtype)
    sinks = np.array([0.5, -1.5], numpy_dtype(dtype))
    result = attnbench.attend(q, k, v, sinks=sinks, outputs=("lse",))
    assert result.lse[0, :, 0].tolist() == [0.5, -1.5]
    d_lse = np.ones((2, 2, 4), result.lse.dtype)
    grads = attnbench.vjp(q, k, v, normal(2, 2, 4, 5, dtype=dtype), d_lse, sinks=sinks)
    assert grads["sinks"].astype(float).tolist() == [8, 8]


def test_an_empty_problem_asks_for_its_features_all_the_same() -> None:
    q, k, v = qkv(s=0)
    with pytest.raises(UnsupportedError, match="numpy/never does not support mask"):
        attnbench.attend(q, k, v, impl=never, mask=np.ones((4, 0), bool))


def test_an_empty_cache_and_an_empty_step() -> None:
    q, k, v = qkv(tq=6)
    whole = attnbench.attend(q, k, v, spec=CAUSAL).output
    no_past = {"past_k": k[:, :, :0], "past_v": v[:, :, :0]}
    np.testing.assert_array_equal(attnbench.attend(q, k, v, spec=CAUSAL, **no_past).output, whole)
    all_past = {"past_k": k, "past_v": v}
    step = attnbench.attend(q, k[:, :, :0], v[:, :, :0], spec=CAUSAL, **all_past).output
    np.testing.assert_array_equal(step, attnbench.attend(q, k, v).output)
    grads = attnbench.vjp(q, k[:, :, :0], v[:, :, :0], normal(2, 2, 6, 5), spec=CAUSAL, **all_past)
    assert {name: grad.shape[2] for name, grad in grads.items()} == {"q": 6, "k": 0, "v": 0, "past_k": 6, "past_v": 6}


# NaN


@pytest.mark.parametrize("score", SCORES)
def test_a_nan_reaches_the_rows_that_may_see_it_and_no_other(score: str) -> None:
    spec = AttentionSpec(score, causal=True)
    q, k, v = qkv(tq=6)
    params = {} if score == "dot" else {"params": default_params(spec, heads=2, d=3)}
    clean = attnbench.attend(q, k, v, spec=spec, outputs=("lse",), **params)
    for name, dead in (("k", slice(4, None)), ("q", slice(4, 5))):
        arrays = {"q": q.copy(), "k": k.copy()}
        arrays[name][0, 0, 4, 1] = np.nan
        result = attnbench.attend(arrays["q"], arrays["k"], v, spec=spec, outputs=("lse",), **params)
        expected, lse = clean.output.copy(), clean.lse.copy()
        expected[0, 0, dead], lse[0, 0, dead] = np.nan, np.nan
        np.testing.assert_array_equal(result.output, expected)
        np.testing.assert_array_equal(result.lse, lse)


def test_a_nan_in_v_reaches_its_column_alone() -> None:
    q, k, v = qkv(tq=6)
    clean = attnbench.attend(q, k, v, spec=CAUSAL, outputs=("lse",))
    v[1, 1, 2, 3] = np.nan
    result = attnbench.attend(q, k, v, spec=CAUSAL, outputs=("lse",))
    expected = clean.output.copy()
    expected[1, 1, 2:, 3] = np.nan
    np.testing.assert_array_equal(result.output, expected)
    np.testing.assert_array_equal(result.lse, clean.lse)


@pytest.mark.parametrize("poison", [np.nan, 1e4])
@pytest.mark.parametrize("score", SCORES)
def test_what_lies_outside_every_allowed_set_has_no_effect(score: str, poison: float) -> None:
    spec = AttentionSpec(score, softcap=2.0)
    q, k, v = qkv()
    operands: dict[str, Any] = {"kv_lengths": np.array([3, 0]), "q_lengths": np.array([2, 4])}
    operands |= {} if score == "dot" else {"params": default_params(spec, heads=2, d=3)}
    d_output, d_lse = normal(2, 2, 4, 5), normal(2, 2, 4)
    clean = attnbench.attend(q, k, v, spec=spec, outputs=("lse", "weights"), **operands)
    clean_grads = attnbench.vjp(q, k, v, d_output, d_lse, spec=spec, **operands)
    k[0, :, 3:], v[0, :, 3:], k[1], v[1] = poison, poison, poison, poison
    q[0, :, 2:], d_output[0, :, 2:], d_lse[0, :, 2:], d_output[1] = poison, poison, poison, poison
    result = attnbench.attend(q, k, v, spec=spec, outputs=("lse", "weights"), **operands)
    for name, array in result.items():
        np.testing.assert_array_equal(array, getattr(clean, name), err_msg=name)
    grads = attnbench.vjp(q, k, v, d_output, d_lse, spec=spec, **operands)
    params, clean_params = grads.pop("params", {}), clean_grads.pop("params", {})
    for name, grad in (clean_grads | clean_params).items():
        np.testing.assert_array_equal((grads | params)[name], grad, err_msg=name)


# Large logits


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_logits_do_not_overflow(dtype: str) -> None:
    # q·k = 4 · 300² = 360,000: beyond float16, and exp of it beyond everything.
    q = np.full((1, 1, 1, 4), 300, numpy_dtype(dtype))
    k = np.stack([q[0, 0, 0], -q[0, 0, 0], q[0, 0, 0]])[None, None]
    v = np.array([1.0, 50.0, 3.0], numpy_dtype(dtype)).reshape(1, 1, 3, 1)
    result = attnbench.attend(q, k, v, spec=AttentionSpec(scale="none"), outputs=("lse",))
    assert result.output.item() == 2.0
    np.testing.assert_allclose(result.lse.item(), 360_000 + np.log(2), rtol=1e-6)


def test_cosine_takes_vectors_of_any_length() -> None:
    q, k, v = qkv(dtype="float64")
    params = default_params(AttentionSpec("cosine"), heads=2, d=3, dtype="float64")
    expected = attnbench.attend(q, k, v, spec=AttentionSpec("cosine"), params=params).output
    for factor in (1e-9, 1e200):
        got = attnbench.attend(q * factor, k * factor, v, spec=AttentionSpec("cosine"), params=params).output
        np.testing.assert_allclose(got, expected, rtol=1e-12)


# Memory layouts


def _unaligned(array: Array) -> Array:
    raw = np.zeros(array.nbytes + 1, np.uint8)
    view = raw[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned or array.dtype.itemsize == 1
    return view


def _spread(array: Array) -> Array:
    room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    room[..., ::2] = array
    return room[..., ::2]


def _read_only(array: Array) -> Array:
    array.setflags(write=False)
    return array


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "fortran": np.asfortranarray,
    "negative stride": lambda a: a[..., ::-1].copy()[..., ::-1],
    "every second": _spread,
    "unaligned": _unaligned,
    "read only": _read_only,
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_in_memory_change_no_bit_and_inputs_are_never_changed(layout: str, dtype: str) -> None:
    rng = np.random.default_rng(5)
    spec = AttentionSpec("general", causal=True, dropout=0.5, softcap=3.0)
    q, k, v = qkv(tq=6, dtype=dtype)
    operands: dict[str, Any] = {
        "mask": rng.random((2, 2, 6, 6)) < 0.8,
        "bias": normal(2, 2, 6, 6, dtype=dtype),
        "keep": rng.random((2, 2, 6, 6)) < 0.5,
        "sinks": normal(2, dtype=dtype),
    }
    w, d_output = normal(2, 3, 3, dtype=dtype), normal(2, 2, 6, 5, dtype=dtype)
    plain = {"q": q, "k": k, "v": v, **operands}
    expected = attnbench.attend(spec=spec, outputs=("lse",), params={"W": w}, **plain)
    expected_grads = attnbench.vjp(d_output=d_output, spec=spec, params={"W": w}, **plain)
    laid = {name: LAYOUTS[layout](array.copy()) for name, array in plain.items()}
    w_laid, d_laid = LAYOUTS[layout](w.copy()), LAYOUTS[layout](d_output.copy())
    result = attnbench.attend(spec=spec, outputs=("lse",), params={"W": w_laid}, **laid)
    grads = attnbench.vjp(d_output=d_laid, spec=spec, params={"W": w_laid}, **laid)
    assert result.output.tobytes() == expected.output.tobytes()
    assert result.lse.tobytes() == expected.lse.tobytes()
    assert grads.pop("params")["W"].tobytes() == expected_grads.pop("params")["W"].tobytes()
    for name, grad in expected_grads.items():
        assert grads[name].tobytes() == grad.tobytes(), name
    for name, array in plain.items():
        assert laid[name].tobytes() == array.tobytes(), f"{name} was changed"
    assert w_laid.tobytes() == w.tobytes()
    assert d_laid.tobytes() == d_output.tobytes()


def test_zero_strides_change_no_bit() -> None:
    q, k, v = qkv(b=1, h=1)
    wide = [np.broadcast_to(a, (2, 3, *a.shape[2:])) for a in (q, k, v)]
    mask = np.broadcast_to(np.arange(6) < 4, (2, 3, 4, 6))
    copies = [a.copy() for a in wide]
    expected = attnbench.attend(*copies, mask=mask.copy()).output
    assert attnbench.attend(*wide, mask=mask).output.tobytes() == expected.tobytes()
    d_output = np.broadcast_to(np.float32(1), (2, 3, 4, 5))
    grads = attnbench.vjp(*wide, d_output, mask=mask)
    for name, grad in attnbench.vjp(*copies, d_output.copy(), mask=mask.copy()).items():
        assert grads[name].tobytes() == grad.tobytes()


def test_results_do_not_share_memory_with_inputs_or_with_each_other() -> None:
    q, k, v = qkv(s=1)
    first = attnbench.attend(q, k, v, outputs=("lse",))
    before = first.output.copy()
    v[:] = 0
    attnbench.attend(q, k, v, outputs=("lse",))
    np.testing.assert_array_equal(first.output, before)


# Dtypes of the answer


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_output_has_the_dtype_of_the_input_and_stages_at_least_float32(dtype: str) -> None:
    q, k, v = qkv(dtype=dtype)
    result: AttentionOutput = attnbench.attend(q, k, v, outputs=("lse", *STAGES))
    assert result.output.dtype == numpy_dtype(dtype)
    level = "float64" if dtype == "float64" else "float32"
    assert {array.dtype.name for name, array in result.items() if name != "output"} == {level}
    operands = {"bias": normal(4, 6), "sinks": normal(2, dtype="float64")}
    grads = attnbench.vjp(q, k, v, normal(2, 2, 4, 5, dtype=dtype), **operands)
    assert [grads[name].dtype.name for name in ("q", "k", "v", "bias", "sinks")] == [dtype] * 3 + ["float32", "float64"]


def test_what_was_not_asked_for_is_none() -> None:
    result = attnbench.attend(*qkv(), outputs=("weights",))
    assert [name for name, _ in result.items()] == ["output", "weights"]
