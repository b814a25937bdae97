"""Sums of which many terms are equal: a kernel that adds one after the other lies within the bounds all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attnbench.agree import bounds, gradient_bounds
from attnbench.agree.bounds import alike_terms
from attnbench.call import Operands
from tests.agree.judging import judged, worst
from tests.agree.kernels import sequential
from tests.agree.test_bounds import PLAIN

Array = np.ndarray[Any, np.dtype[Any]]
KINDS = ["equal keys", "equal queries", "equal queries and few keys"]


def operands(kind: str) -> tuple[Operands, Array]:
    """Inputs of which most keys or queries, and the cotangents of those queries, are the same; the rest differ."""
    t, s = {"equal keys": (8, 4096), "equal queries": (1024, 16), "equal queries and few keys": (2048, 4)}[kind]
    rng = np.random.default_rng(1)
    q, k, v, d_output = (
        rng.standard_normal((1, 1, n, size)).astype(np.float32) for n, size in ((t, 2), (s, 2), (s, 4), (t, 4))
    )
    if kind == "equal keys":
        k[:, :, rng.random(s) < 0.9] = 0
        q *= 3
    else:
        same = rng.random(t) < 0.9
        q[:, :, same], d_output[:, :, same] = q[:, :, :1], d_output[:, :, :1]
    return Operands(q, k, v), d_output


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequential_sum_of_equal_terms_lies_within_the_bounds(kind: str) -> None:
    given, d_output = operands(kind)
    found = judged(sequential, PLAIN, given, d_output, outputs=("lse",))
    assert worst(found) <= 1, [one.sentence() for one in found.values()]


def test_without_counting_equal_terms_it_would_be_accused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bounds, gradient_bounds):
        monkeypatch.setattr(module, "alike_terms", lambda terms: np.zeros(len(terms)))
    assert max(worst(judged(sequential, PLAIN, *operands(kind), outputs=("lse",))) for kind in KINDS) > 1


def test_equal_terms_are_counted_by_their_groups() -> None:
    rows = np.array([[0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.5, 0.5], [0.1, 0.1, 0.1, 0.7], [0.25] * 4])
    assert alike_terms(rows) == pytest.approx([2, 2, 10**0.5, 4])


def test_terms_that_differ_by_a_rounding_are_equal_and_zeros_round_nothing() -> None:
    near = np.array([[0.1, np.nextafter(0.1, 1), 0.0]])
    assert alike_terms(near) == pytest.approx([2])
    assert list(alike_terms(np.zeros((2, 0)))) == [0, 0]
