"""What must hold of attention whatever the numbers, on numpy/naive through the public API, with random problems."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attnbench
from attnbench import AttentionSpec, Problem
from attnbench.attention.arrays import Array
from attnbench.attention.call import Operands
from attnbench.attention.inputs import draw
from attnbench.attention.spec import SCORES

few = settings(max_examples=12, deadline=None, derandomize=True, database=None)
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


@st.composite
def problems(draw_one: st.DrawFn, *, square: bool = False, operands: bool = True, group: bool = True) -> Problem:
    kv_heads = draw_one(st.integers(1, 3))
    queries = draw_one(st.integers(1, 9))
    kinds = st.lists(
        st.sampled_from(["mask", "bias", "sinks", "kv_lengths", "segments"]), unique=True, max_size=3 * operands
    )
    return Problem(
        B=draw_one(st.integers(1, 3)),
        Hq=kv_heads * (draw_one(st.integers(1, 3)) if group else 1),
        Hkv=kv_heads,
        Tq=queries,
        S=queries if square else draw_one(st.integers(1, 12)),
        D=draw_one(st.integers(1, 6)),
        Dv=draw_one(st.integers(1, 5)),
        dtype="float64",
        seed=draw_one(st.integers(0, 2**20)),
        distribution=draw_one(st.sampled_from(["normal", "peaky", "uniform", "huge", "near_ties"])),
        operands=tuple(draw_one(kinds)),
    )


@st.composite
def specs(draw_one: st.DrawFn) -> AttentionSpec:
    cap = draw_one(st.sampled_from([None, 1.5]))
    return AttentionSpec(draw_one(st.sampled_from(SCORES)), scale=draw_one(st.sampled_from([None, 0.3])), softcap=cap)


def attend(spec: AttentionSpec, operands: Operands, outputs: tuple[str, ...] = ("lse", "weights")) -> Any:
    return attnbench.attend(spec=spec, outputs=outputs, **given_of(operands))


def given_of(operands: Operands) -> dict[str, Any]:
    named = {name: getattr(operands, name) for name in Operands.__dataclass_fields__}
    return {name: value for name, value in named.items() if value is not None}


@few
@given(problems(), specs(), st.floats(-50, 50))
def test_a_constant_added_to_a_row_changes_only_the_lse(problem: Problem, spec: AttentionSpec, constant: float) -> None:
    operands = replace(draw(spec, problem), sinks=None)
    bias = np.zeros((1, 1, 1, 1)) if operands.bias is None else operands.bias
    row = np.random.default_rng(problem.seed).uniform(-abs(constant), abs(constant), (1, 1, problem.Tq, 1))
    before, after = (attend(spec, replace(operands, bias=b)) for b in (bias, bias + row))
    np.testing.assert_allclose(after.output, before.output, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(after.lse, before.lse + row[..., 0], rtol=1e-10, atol=1e-9)


@few
@given(problems(), specs())
def test_keys_and_values_can_be_permuted_together(problem: Problem, spec: AttentionSpec) -> None:
    operands = replace(draw(spec, problem), kv_lengths=None)
    order = np.random.default_rng(problem.seed).permutation(problem.S)
    changes: dict[str, Any] = {"k": operands.k[:, :, order], "v": operands.v[:, :, order]}
    changes |= {n: a[..., order] for n in ("mask", "bias") if (a := getattr(operands, n)) is not None}
    if operands.kv_segments is not None:
        changes["kv_segments"] = operands.kv_segments[:, order]
    before, after = attend(spec, operands), attend(spec, replace(operands, **changes))
    np.testing.assert_allclose(after.output, before.output, **CLOSE)
    np.testing.assert_allclose(after.weights, before.weights[..., order], **CLOSE)


@few
@given(problems(), specs())
def test_rows_of_p_sum_to_one_less_the_sink_or_to_zero(problem: Problem, spec: AttentionSpec) -> None:
    operands = draw(spec, problem)
    result = attend(spec, operands, ("lse", "weights", "logits"))
    dead = np.isneginf(result.logits).all(-1)
    sink: Any = 0.0
    if operands.sinks is not None:
        sink = np.where(dead, 1.0, np.exp(operands.sinks[None, :, None] - result.lse))
    else:
        np.testing.assert_array_equal(np.isneginf(result.lse), dead)
        sink = np.where(dead, 1.0, 0.0)
    np.testing.assert_allclose(result.weights.sum(-1) + sink, 1, **CLOSE)
    assert (result.weights >= 0).all()


@few
@given(problems(), specs())
def test_the_output_lies_in_the_convex_hull_of_the_allowed_values(problem: Problem, spec: AttentionSpec) -> None:
    operands = replace(draw(spec, problem), sinks=None)
    result = attend(spec, operands, ("logits",))
    group = problem.Hq // problem.Hkv
    values = np.repeat(operands.v, group, 1)[:, :, None]
    allowed = (result.logits > -np.inf)[..., None]
    low = np.where(allowed, values, np.inf).min(3)
    high = np.where(allowed, values, -np.inf).max(3)
    some = allowed.any(3)
    slack = 1e-12 * np.abs(operands.v).max()
    assert (np.where(some, (low - slack <= result.output) & (result.output <= high + slack), result.output == 0)).all()


@few
@given(problems(), specs(), st.floats(-3, 3))
def test_attention_is_linear_in_v(problem: Problem, spec: AttentionSpec, factor: float) -> None:
    operands = draw(spec, problem)
    other = np.asarray(np.random.default_rng(problem.seed).standard_normal(operands.v.shape))
    values: list[Array] = [operands.v, other, np.asarray(operands.v + factor * other)]
    parts = [attend(spec, replace(operands, v=v)).output for v in values]
    np.testing.assert_allclose(parts[2], parts[0] + factor * parts[1], rtol=1e-9, atol=1e-11)


@few
@given(problems(), st.integers(-12, 14))
def test_an_infinite_window_is_none_and_one_to_the_left_is_causal(problem: Problem, offset: int) -> None:
    operands = replace(draw(AttentionSpec(), problem), offset=offset)
    bits = [attend(AttentionSpec(window=w), operands).output.tobytes() for w in (None, (None, None), (30, 30))]
    assert bits[0] == bits[1] == bits[2]
    causal, window = (attend(AttentionSpec(**spec), operands) for spec in ({"causal": True}, {"window": (None, 0)}))
    assert causal.output.tobytes() == window.output.tobytes()
    assert causal.lse.tobytes() == window.lse.tobytes()


@few
@given(problems(), specs())
def test_gqa_is_attention_with_repeated_heads(problem: Problem, spec: AttentionSpec) -> None:
    operands = draw(spec, problem)
    group = problem.Hq // problem.Hkv
    repeated = replace(operands, k=np.repeat(operands.k, group, 1), v=np.repeat(operands.v, group, 1))
    shared, other = attend(spec, operands), attend(spec, repeated)
    np.testing.assert_allclose(shared.output, other.output, **CLOSE)
    d_output = np.random.default_rng(problem.seed).standard_normal(shared.output.shape)
    grads, wide = (attnbench.vjp(d_output=d_output, spec=spec, **given_of(o)) for o in (operands, repeated))
    for name in "kv":
        b, _, s, d = wide[name].shape
        np.testing.assert_allclose(grads[name], wide[name].reshape(b, problem.Hkv, group, s, d).sum(2), 1e-8, 1e-9)


@few
@given(problems(), st.sampled_from([None, 2.0]))
def test_concat_is_additive_with_the_two_halves(problem: Problem, softcap: float | None) -> None:
    concat = AttentionSpec("concat", softcap=softcap)
    operands = draw(concat, problem)
    assert operands.params is not None
    w, v, d = operands.params["W"], operands.params["v"], problem.D
    halves = {"Wq": w[:, :d], "Wk": w[:, d:], "b": np.zeros_like(v), "v": v}
    additive, split = AttentionSpec("additive", softcap=softcap), replace(operands, params=halves)
    np.testing.assert_allclose(attend(concat, operands).output, attend(additive, split).output, **CLOSE)
    d_output = np.ones((problem.B, problem.Hq, problem.Tq, problem.Dv))
    grads = attnbench.vjp(d_output=d_output, spec=concat, **given_of(operands))
    other = attnbench.vjp(d_output=d_output, spec=additive, **given_of(split))
    joined = np.concatenate([other["params"]["Wq"], other["params"]["Wk"]], 1)
    np.testing.assert_allclose(grads["params"]["W"], joined, 1e-8, 1e-11)
    np.testing.assert_allclose(grads["q"], other["q"], 1e-8, 1e-11)


@few
@given(problems(square=True, operands=False), specs())
def test_decoding_token_by_token_is_prefill(problem: Problem, spec: AttentionSpec) -> None:
    spec = replace(spec, causal=True)
    o = draw(spec, problem)
    whole = attend(spec, o)
    for t in range(problem.Tq):
        step = replace(o, q=o.q[:, :, t : t + 1], k=o.k[:, :, t : t + 1], v=o.v[:, :, t : t + 1])
        result = attend(spec, replace(step, past_k=o.k[:, :, :t], past_v=o.v[:, :, :t]))
        np.testing.assert_allclose(result.output[:, :, 0], whole.output[:, :, t], **CLOSE)
        np.testing.assert_allclose(result.lse[:, :, 0], whole.lse[:, :, t], **CLOSE)


@few
@given(problems(), specs(), st.integers(0, 12))
def test_halves_of_the_keys_merged_by_lse_are_the_whole(problem: Problem, spec: AttentionSpec, cut: int) -> None:
    o = replace(draw(spec, replace(problem, operands=())), mask=None)
    mask = np.random.default_rng(problem.seed).random((problem.Tq, problem.S)) < 0.7
    cut = min(cut, problem.S)
    whole = attend(spec, replace(o, mask=mask))
    parts = []
    for keys in (slice(0, cut), slice(cut, None)):
        part = replace(o, k=o.k[:, :, keys], v=o.v[:, :, keys], mask=np.ascontiguousarray(mask[:, keys]))
        parts.append(attend(spec, part, ("lse",)))
    lse = np.logaddexp(parts[0].lse, parts[1].lse)
    with np.errstate(invalid="ignore"):
        shares = [np.where(np.isneginf(p.lse), 0, np.exp(p.lse - lse))[..., None] for p in parts]
    merged = sum(share * p.output for share, p in zip(shares, parts, strict=True))
    np.testing.assert_allclose(merged, whole.output, **CLOSE)
    np.testing.assert_allclose(lse, whole.lse, **CLOSE)


@few
@given(problems(square=True), specs(), st.sampled_from(["float64", "float32", "bfloat16", "float16"]))
def test_a_key_after_the_frontier_changes_no_bit(problem: Problem, spec: AttentionSpec, dtype: str) -> None:
    spec, problem = replace(spec, causal=True), replace(problem, dtype=dtype)
    o = draw(spec, problem)
    frontier = problem.Tq // 2
    k, v = o.k.copy(), o.v.copy()
    k[:, :, frontier:], v[:, :, frontier:] = 7.0, -3.0
    before, after = attend(spec, o), attend(spec, replace(o, k=k, v=v))
    for name in ("output", "lse", "weights"):
        first, second = (getattr(result, name)[:, :, :frontier] for result in (before, after))
        assert first.tobytes() == second.tobytes(), name


@few
@given(problems(), specs())
def test_the_same_call_twice_gives_the_same_bits(problem: Problem, spec: AttentionSpec) -> None:
    operands = draw(spec, problem)
    assert attend(spec, operands).output.tobytes() == attend(spec, operands).output.tobytes()


@few
@given(problems(), specs(), st.integers(0, 2))
def test_a_batch_entry_alone_has_the_bits_that_it_has_among_others(
    problem: Problem, spec: AttentionSpec, entry: int
) -> None:
    """Batch invariance, as docs/agreement.md records it: of numpy/naive with every score that is one product."""
    spec = spec if spec.score in ("dot", "general", "cosine") else replace(spec, score="dot")
    operands, b = draw(spec, problem), min(entry, problem.B - 1)
    batched = ("q", "k", "v", "mask", "bias", "kv_lengths", "q_segments", "kv_segments")
    alone: dict[str, Any] = {n: a[b : b + 1] for n in batched if (a := getattr(operands, n)) is not None}
    by_itself, all_of_them = attend(spec, replace(operands, **alone)), attend(spec, operands)
    assert by_itself.output.tobytes() == all_of_them.output[b : b + 1].tobytes()
    assert by_itself.lse.tobytes() == all_of_them.lse[b : b + 1].tobytes()


@few
@given(problems(), specs())
def test_masks_lengths_and_biases_of_minus_infinity_say_the_same(problem: Problem, spec: AttentionSpec) -> None:
    operands = draw(spec, replace(problem, operands=("sinks", "kv_lengths")))
    assert operands.kv_lengths is not None
    mask = (np.arange(problem.S)[None] < operands.kv_lengths[:, None])[:, None, None]
    masked = replace(operands, kv_lengths=None, mask=mask)
    biased = replace(operands, kv_lengths=None, bias=np.where(mask, 0.0, -np.inf))
    expected = attend(spec, operands)
    for restricted in (masked, biased):
        result = attend(spec, restricted)
        np.testing.assert_array_equal(result.output, expected.output)
        np.testing.assert_array_equal(result.lse, expected.lse)


@few
@given(problems(group=False), st.integers(-5, 15))
def test_alibi_is_the_bias_that_it_stands_for(problem: Problem, offset: int) -> None:
    spec = AttentionSpec(causal=True)
    operands = replace(draw(spec, problem), offset=offset)
    slopes = np.linspace(0.1, 1.0, problem.Hq)
    distance = np.abs(np.arange(problem.Tq)[:, None] + offset - np.arange(problem.S))
    bias = -slopes[:, None, None] * distance + (0 if operands.bias is None else operands.bias)
    sloped, biased = attend(spec, replace(operands, slopes=slopes)), attend(spec, replace(operands, bias=bias))
    np.testing.assert_allclose(sloped.output, biased.output, **CLOSE)


@pytest.mark.parametrize("shape", [(), (5,), (3, 1), (2, 1, 1), (1, 1, 3, 5), (2, 2, 3, 5)])
def test_the_gradient_of_a_broadcast_bias_is_summed_and_has_its_shape(shape: tuple[int, ...]) -> None:
    o = draw(AttentionSpec(), Problem(B=2, Hq=2, Tq=3, S=5, D=4, dtype="float64"))
    d_output = np.random.default_rng(0).standard_normal((2, 2, 3, 4))
    bias = np.random.default_rng(1).standard_normal(shape)
    grad = attnbench.vjp(o.q, o.k, o.v, d_output, bias=bias)["bias"]
    full = np.broadcast_to(bias, (2, 2, 3, 5)).copy()
    whole = attnbench.vjp(o.q, o.k, o.v, d_output, bias=full)["bias"]
    axes = tuple(i for i, n in enumerate((1,) * (4 - len(shape)) + shape) if n == 1)
    np.testing.assert_allclose(grad, whole.sum(axes, keepdims=True).reshape(shape), 1e-10, 1e-14)
