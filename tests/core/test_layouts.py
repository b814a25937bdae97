from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnbench as ab
from attnbench.attention import layouts
from attnbench.errors import SpecError

RNG = np.random.default_rng(0)
CU_Q, CU_K = np.array([0, 3, 3, 10, 15], np.int32), np.array([0, 5, 9, 16, 16], np.int32)


def normal(*shape: int) -> np.ndarray[Any, np.dtype[Any]]:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (layouts.to_bthd, layouts.from_bthd),
        (layouts.to_packed, lambda a: layouts.from_packed(a, 3)),
    ],
)
def test_there_and_back(there: Any, back: Any) -> None:
    logical = normal(2, 3, 5, 4)
    assert np.array_equal(back(there(logical)), logical)
    assert there(logical).shape[:2] == (2, 5)


def test_where_an_element_goes() -> None:
    logical = normal(2, 3, 5, 4)
    assert layouts.to_bthd(logical)[1, 4, 2, 3] == logical[1, 2, 4, 3]
    assert layouts.to_packed(logical)[1, 4, 2 * 4 + 3] == logical[1, 2, 4, 3]
    rows = normal(15, 3, 4)
    padded = layouts.pad("q", rows, CU_Q)
    assert padded.shape == (4, 3, 7, 4)
    assert padded[2, 1, 6, 3] == rows[9, 1, 3]
    assert not padded[0, :, 3:].any()
    assert np.array_equal(layouts.to_varlen(padded, CU_Q), rows)


@pytest.mark.parametrize("impl", ["numpy/naive", "numpy/blocked"])
def test_layouts_give_the_same_numbers(impl: str) -> None:
    q, k, v = normal(2, 4, 9, 8), normal(2, 2, 9, 8), normal(2, 2, 9, 5)
    spec = ab.AttentionSpec(causal=True)
    plain = ab.attend(q, k, v, impl=impl, spec=spec).output
    bthd = [layouts.from_bthd(layouts.to_bthd(a).copy()) for a in (q, k, v)]
    packed = [layouts.from_packed(layouts.to_packed(a), heads) for a, heads in ((q, 4), (k, 2), (v, 2))]
    for other in (bthd, packed):
        assert np.array_equal(ab.attend(*other, impl=impl, spec=spec).output, plain)


@pytest.mark.parametrize("impl", ["numpy/naive", "numpy/loops"])
@pytest.mark.parametrize("causal", [False, True])
def test_varlen_is_each_sequence_by_itself(impl: str, causal: bool) -> None:
    q, k, v = normal(15, 4, 8), normal(16, 2, 8), normal(16, 2, 5)
    spec = ab.AttentionSpec(causal=causal, align="bottom_right")
    dense = layouts.from_varlen(q, k, v, CU_Q, CU_K)
    whole = layouts.to_varlen(ab.attend(*dense[:3], impl=impl, spec=spec, **dense[3]).output, CU_Q)
    assert whole.shape == (15, 4, 5)
    for b in range(4):
        rows, keys = slice(CU_Q[b], CU_Q[b + 1]), slice(CU_K[b], CU_K[b + 1])
        sequence = [layouts.pad("x", a, np.array([0, len(a)])) for a in (q[rows], k[keys], v[keys])]
        alone = ab.attend(*sequence, impl=impl, spec=spec).output[0].swapaxes(0, 1)
        np.testing.assert_allclose(whole[rows], alone, rtol=0, atol=2e-6)


def test_varlen_gradients_come_back_too() -> None:
    q, k, v, d = normal(15, 2, 8), normal(16, 2, 8), normal(16, 2, 5), normal(15, 2, 5)
    *dense, lengths = layouts.from_varlen(q, k, v, CU_Q, CU_K)
    grads = ab.vjp(*dense, layouts.pad("d_output", d, CU_Q), **lengths)
    d_q, d_k = layouts.to_varlen(grads["q"], CU_Q), layouts.to_varlen(grads["k"], CU_K)
    sequence = [layouts.pad("x", a, np.array([0, len(a)])) for a in (q[3:10], k[9:16], v[9:16], d[3:10])]
    alone = ab.vjp(*sequence)
    np.testing.assert_allclose(d_q[3:10], alone["q"][0].swapaxes(0, 1), rtol=0, atol=2e-6)
    np.testing.assert_allclose(d_k[9:16], alone["k"][0].swapaxes(0, 1), rtol=0, atol=2e-6)
    assert not d_k[5:9].any()  # the sequence without queries


def test_no_sequences_and_empty_sequences() -> None:
    nothing = np.zeros(1, np.int32)
    q, k, v, lengths = layouts.from_varlen(normal(0, 2, 8), normal(0, 2, 8), normal(0, 2, 8), nothing)
    assert q.shape == (0, 2, 0, 8)
    out = ab.attend(q, k, v, **lengths).output
    assert layouts.to_varlen(out, nothing).shape == (0, 2, 8)


@pytest.mark.parametrize(
    ("cumulative", "says"),
    [
        ([0, 15], "integer array"),
        (np.array([0.0, 15.0]), "integer array"),
        (np.array([[0, 15]]), "integer array"),
        (np.array([], int), "start at 0"),
        (np.array([1, 15]), "start at 0"),
        (np.array([0, 9, 5, 15]), "never fall"),
        (np.array([0, 9]), "end at the number of rows, 15"),
        (np.array([0, 16], np.uint32), "end at the number of rows, 15"),
    ],
)
def test_malformed_cumulative_lengths(cumulative: Any, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        layouts.pad("q", normal(15, 2, 8), cumulative)
    with pytest.raises(SpecError):
        layouts.from_varlen(normal(15, 2, 8), normal(16, 2, 8), normal(16, 2, 8), cumulative, CU_K)


def test_what_does_not_fit() -> None:
    with pytest.raises(SpecError, match="4 and 1 sequences"):
        layouts.from_varlen(normal(15, 2, 8), normal(16, 2, 8), normal(16, 2, 8), CU_Q, np.array([0, 16]))
    with pytest.raises(SpecError, match="does not divide into 3 heads"):
        layouts.from_packed(normal(2, 5, 8), 3)
    with pytest.raises(SpecError, match="of 4 axes"):
        layouts.to_bthd(normal(2, 5, 8))
    with pytest.raises(SpecError, match="do not fit"):
        layouts.to_varlen(normal(2, 3, 5, 4), CU_Q)
