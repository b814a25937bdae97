"""Sums of which many terms are equal: a kernel that adds one after the other lies within the bounds all the same."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from attnbench.agree.judge import bounds, gradient_bounds
from attnbench.agree.judge.alike import alike_terms, root_of_groups
from attnbench.attention.arrays import Array
from attnbench.attention.call import Call, Operands
from tests.agree.judging import judged, worst
from tests.agree.kernels import F32, added, casting, per_head, sequential, sequential_stages, sequential_vjp
from tests.agree.test_bounds import PLAIN

U32 = 2.0**-24
SIZES = {  # heads, queries, keys
    "equal keys": (1, 8, 4096),
    "nearly equal keys": (1, 8, 4096),
    "equal queries": (1, 1024, 16),
    "equal queries and few keys": (1, 2048, 4),
    "equal queries of a group": (8, 512, 16),
    "equal queries and a bias": (1, 4096, 16),
}


def vjp(q: Array, k: Array, v: Array, call: Call, d_output: Array, d_lse: Array | None) -> dict[str, Array]:
    """That of ``sequential``, which adds the heads of a group pairwise; here one after the other as well."""
    grads = sequential_vjp(q, k, v, call, d_output, d_lse)
    weights, _, _ = sequential_stages(q, k, v, call)
    s, d_out = call.sizes, d_output.astype(F32)
    d_weights = added(d_out[..., :, None, c] * per_head(v, call)[..., None, :, c] for c in range(s.Dv))
    d_scores = weights * (d_weights - added(weights[..., j, None] * d_weights[..., j, None] for j in range(s.S)))
    d_scores = d_scores * F32(call.scale)

    def over(terms: Array, rows: Array) -> Array:
        places = [(slice(None), slice(g, None, s.group), i) for g in range(s.group) for i in range(s.Tq)]
        return np.asarray(added(terms[at][..., None] * rows.astype(F32)[at][..., None, :] for at in places))

    return grads | {"k": over(d_scores, q), "v": over(weights, d_out)}


def operands(kind: str) -> tuple[Operands, Array]:
    """Inputs of which most keys or queries, and the cotangents of those queries, are the same; the rest differ."""
    heads, t, s = SIZES[kind]
    rng = np.random.default_rng(1)
    q, d_output = (rng.standard_normal((1, heads, t, size)).astype(np.float32) for size in (2, 4))
    k, v = (rng.standard_normal((1, 1, s, size)).astype(np.float32) for size in (2, 4))
    if "keys" in kind.split(" and ", maxsplit=1)[0]:
        same = rng.random(s) < 0.9
        k[:, :, same] *= 0 if kind == "equal keys" else 1e-5
        q *= 3
    else:
        same = rng.random(t) < 0.9
        q[:, :, same], d_output[:, :, same] = q[:, :1, :1], d_output[:, :1, :1]
    bias = np.zeros((1, 1, 1, s), np.float32) if "bias" in kind else None
    return Operands(q, k, v, bias=bias), d_output


def largest(kind: str) -> float:
    given, d_output = operands(kind)
    return worst(judged(replace(sequential, vjp=vjp), PLAIN, given, d_output, outputs=("lse",)))


@pytest.mark.parametrize("kind", SIZES)
def test_a_sequential_sum_of_equal_terms_lies_within_the_bounds(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert largest(kind) <= 1
    for module in (bounds, gradient_bounds):
        monkeypatch.setattr(module, "alike_terms", lambda terms, *_: np.zeros(len(terms)))
    assert largest(kind) > 1, "without counting them it would be accused"


@pytest.mark.parametrize("seed", range(4))
def test_equal_weights_are_cast_alike(seed: int) -> None:
    """A thousand keys that are four tokens over and over."""
    rng = np.random.default_rng(seed)
    which, tokens = rng.integers(0, 4, 1024), rng.standard_normal((4, 2))
    values = np.array([[1, 1], [-1, -1], [1, -1], [-1, 1]])
    q, k, v = (
        array[None, None].astype(ml_dtypes.bfloat16)
        for array in (rng.normal(size=(8, 2)), tokens[which], values[which])
    )
    assert worst(judged(casting, PLAIN, Operands(q, k, v))) <= 1


def test_equal_terms_are_counted_by_their_groups() -> None:
    rows = np.array([[0.1, 0.2, 0.3, 0.4, 0.5], [0.0, 0.0, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1, 0.7], [0.25] * 5])
    assert alike_terms(rows, U32) == pytest.approx([5**0.5, 3, 17**0.5, 5])
    assert alike_terms(rows, U32, 2) == pytest.approx([10**0.5, 6, (2 + 4 * 16) ** 0.5, 10])
    values = np.array([[1, 1], [1, -1], [1, 1], [1, -1], [2, 2]])
    assert root_of_groups(rows, values, U32) == pytest.approx(
        np.array([[0, 0], [2, 1], [(0.16 + 1.96) ** 0.5, 1.4], [1.5, 0.5]])
    )


def test_terms_are_equal_that_differ_by_less_than_a_sum_can_tell() -> None:
    near = np.full((1, 1000), 1e-3) * (1 + 1e-6 * np.random.default_rng(0).random(1000))
    assert alike_terms(near, U32) == pytest.approx([1000])
    assert alike_terms(near, 2.0**-53) == pytest.approx([1000**0.5], rel=0.1)


def test_zeros_round_nothing_and_different_terms_are_no_group() -> None:
    assert list(alike_terms(np.zeros((2, 0)), U32)) == [0, 0]
    assert list(alike_terms(np.zeros((2, 3)), U32)) == [0, 0]
    weights = np.exp(np.random.default_rng(0).standard_normal((4, 4096)))
    assert np.all(alike_terms(weights / weights.sum(1, keepdims=True), U32) < 1.3 * 64)
