"""Probes: what each shows of a right kernel, and of one that is wrong in just what it looks at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.eager.attention import Eager
from attnbench.agree.rules.facts import answer, facts_of
from attnbench.agree.rules.probes import (
    Box,
    alignment,
    attention_matrix,
    kv_head_map,
    poisoned_rows,
    slope,
    support,
    transposed_attention,
)
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, prepare
from attnbench.attention.inputs import draw
from attnbench.attention.oracle import reference
from attnbench.attention.problem import Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import load_backend
from attnbench.backends.implementation import Implementation

SIZES = {"B": 2, "Hq": 4, "Hkv": 2, "Tq": 33, "S": 65, "D": 16, "Dv": 8}


def drawn(spec: AttentionSpec, *operands: str, **changes: Any) -> tuple[Array, Array, Array, Call]:
    problem = Problem(**{**SIZES, **changes}, operands=operands)
    return prepare(spec, draw(spec, problem))


def box(kernel: Implementation | None = None) -> Box:
    return Box(load_backend("numpy"), kernel or Eager().implementation("right"))


CAUSAL = AttentionSpec(causal=True, align="bottom_right")


class Shifted(Eager):
    """One key too wide."""

    def positions(self, call: Call) -> Array:
        return super().positions(call) + 1


class Tiled(Eager):
    """Head h reads h % Hkv."""

    def heads_of_keys(self, array: Array, call: Call) -> Array:
        return np.tile(array, (1, call.sizes.group, 1, 1))


def test_facts_are_the_oracle() -> None:
    """The vectorised evaluation that readings change is the oracle, when nothing is changed."""
    spec = AttentionSpec(causal=True, align="bottom_right", window=(40, None), softcap=2.0, dropout=0.25)
    operands = ("bias_minus_inf", "kv_lengths", "mask", "q_lengths", "sinks", "slopes", "segments")
    q, k, v, call = drawn(spec, *operands)
    computed, expected = answer(facts_of(q, k, v, call)), reference(q, k, v, call)
    np.testing.assert_allclose(computed.output, expected.output, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(computed.softmax.lse, expected.lse, rtol=1e-12)
    np.testing.assert_array_equal(computed.allowed, expected.allowed)


@pytest.mark.parametrize("score", ["general", "additive", "concat", "cosine"])
@pytest.mark.parametrize("scale", [None, "log_n"])
def test_facts_are_the_oracle_in_every_score(score: str, scale: str | None) -> None:
    spec = AttentionSpec(score=score, scale=scale)
    q, k, v, call = drawn(spec, "mask")
    computed, expected = answer(facts_of(q, k, v, call)), reference(q, k, v, call)
    np.testing.assert_allclose(computed.output, expected.output, rtol=1e-11, atol=1e-13)


def test_identity_gives_the_attention_matrix() -> None:
    q, k, v, call = drawn(CAUSAL)
    matrix = attention_matrix(box(), q, k, call)
    assert matrix is not None
    np.testing.assert_allclose(matrix, reference(q, k, v, call).weights, rtol=1e-5, atol=1e-9)


def test_the_support_is_exact() -> None:
    q, k, v, call = drawn(CAUSAL, "mask")
    facts = facts_of(q, k, v, call)
    right, wrong = attention_matrix(box(), q, k, call), attention_matrix(box(Shifted().implementation("x")), q, k, call)
    assert right is not None
    assert wrong is not None
    assert support(right, facts).exact
    seen = support(wrong, facts)
    assert seen.extra.any()
    assert not seen.missing.any()
    assert "sees key" in seen.sentence()


def test_a_weight_that_vanishes_by_rounding_is_not_missing() -> None:
    q, k, v, call = drawn(AttentionSpec(scale=300.0))
    matrix = attention_matrix(box(), q, k, call)
    assert matrix is not None
    assert (matrix == 0).any()
    assert support(matrix, facts_of(q, k, v, call)).exact


@pytest.mark.parametrize(("dtype", "near"), [("float64", 1e-12), ("float32", 1e-5), ("bfloat16", 2e-3)])
@pytest.mark.parametrize("spec", [AttentionSpec(), CAUSAL, AttentionSpec(softcap=1.5)])
def test_the_slope_of_a_right_kernel_is_one(dtype: str, near: float, spec: AttentionSpec) -> None:
    q, k, v, call = drawn(spec, "bias", dtype=dtype)
    matrix = attention_matrix(box(), q, k, call)
    assert matrix is not None
    measured = slope(matrix, facts_of(q, k, v, call))
    assert measured is not None
    assert abs(measured[0] - 1) < near


@pytest.mark.parametrize("factor", [0.992, 1.003, -1.0, 4.0])
def test_a_wrong_scale_shows_as_its_slope(factor: float) -> None:
    class Off(Eager):
        def product(self, q: Array, k: Array) -> Array:
            return np.asarray(super().product(q, k) * q.dtype.type(factor))

    q, k, v, call = drawn(AttentionSpec())
    matrix = attention_matrix(box(Off().implementation("off")), q, k, call)
    assert matrix is not None
    measured = slope(matrix, facts_of(q, k, v, call))
    assert measured is not None
    assert measured[0] == pytest.approx(factor, rel=1e-5)


def test_head_ids_show_the_map() -> None:
    q, k, _, call = drawn(AttentionSpec())
    assert kv_head_map(box(), q, k, call) == [0, 0, 1, 1]
    assert kv_head_map(box(Tiled().implementation("tiled")), q, k, call) == [0, 1, 0, 1]


@pytest.mark.parametrize(("align", "offset"), [("top_left", 0), ("bottom_right", 32)])
def test_key_indices_show_the_alignment(align: str, offset: int) -> None:
    call = drawn(AttentionSpec(causal=True, align=align))[3]
    assert alignment(box(), 33, 65, call) == offset
    assert alignment(box(Shifted().implementation("x")), 33, 65, call) == offset + 1


def test_an_identity_cotangent_gives_the_transpose() -> None:
    q, k, v, call = drawn(CAUSAL)
    transposed = transposed_attention(box(), q, k, v, call)
    assert transposed is not None
    expected = np.swapaxes(reference(q, k, v, call).weights, -1, -2)
    np.testing.assert_allclose(transposed, expected, rtol=1e-5, atol=1e-9)


def test_poison_outside_leaves_no_trace() -> None:
    q, k, v, call = drawn(CAUSAL, "kv_lengths", Hq=2, Hkv=2)
    assert poisoned_rows(box(), q, k, v, call) == []
    assert poisoned_rows(box(), q, k, v, call, poison=float("nan")) == []


def test_poison_shows_a_finite_mask() -> None:
    class Finite(Eager):
        def weighted_sum(self, weights: Array, v: Array, allowed: Array) -> Array:
            del allowed
            return np.asarray((weights + weights.dtype.type(1e-6)) @ v)

    q, k, v, call = drawn(AttentionSpec(causal=True), Tq=65, Hq=2)
    assert poisoned_rows(box(Finite().implementation("finite")), q, k, v, call)


def test_a_kernel_that_cannot_take_other_values_is_left_alone() -> None:
    from attnbench.backends.implementation import Limit

    kernel = Eager().implementation("square")
    limited = replace(kernel.capabilities, limits=(Limit("Dv", at_most=2, reason="a tile"),))
    q, k, _, call = drawn(AttentionSpec(), Dv=3)
    assert attention_matrix(box(replace(kernel, capabilities=limited)), q, k, call) is None


def test_a_kernel_whose_values_are_as_wide_as_its_keys_is_asked_in_columns_of_that_width() -> None:
    kernel = Eager().implementation("square")
    limited = replace(kernel, capabilities=replace(kernel.capabilities, only=("equal_head_sizes",)))
    q, k, _, call = drawn(AttentionSpec(), Dv=SIZES["D"], S=SIZES["D"] + 3)
    partial, whole = (attention_matrix(box(implementation), q, k, call) for implementation in (limited, kernel))
    assert partial is not None
    assert whole is not None
    assert np.allclose(partial, whole, atol=1e-6)
