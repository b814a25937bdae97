"""The same bits again, alone and in chunks: an answer with the first difference, never a disagreement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.cases.by_feature import REPEATABLE
from attnbench.agree.check.rows import CheckRow, check_feature
from attnbench.api import Call, Capabilities, Implementation, Limit
from attnbench.backends.attend import resolve
from attnbench.interface.checks.answers import required

BACKEND, NAIVE = resolve("numpy/naive")
Attend = Callable[[Any, Any, Any, Call], Any]


def row_of(attend: Attend, question: str, can: Capabilities | None = None) -> CheckRow:
    kernel = Implementation("numpy/mine", can or Capabilities(causal=True), attend)
    return check_feature(BACKEND, kernel, question, "float32")


def by_row(q: Any, k: Any, v: Any, call: Call) -> Any:
    """Each row by itself, the same way whatever stands beside it."""
    output = np.empty((*q.shape[:3], v.shape[3]), q.dtype)
    for b, h, i in np.ndindex(*q.shape[:3]):
        seen = k.shape[2] if not call.spec.causal else max(0, i + call.offset + 1)
        scores = np.array([(q[b, h, i] * row).sum() for row in k[b, h, :seen]], q.dtype) * q.dtype.type(call.scale)
        terms = np.exp(scores - scores.max())
        output[b, h, i] = (terms[:, None] * v[b, h, :seen]).sum(0) / terms.sum()
    return output


@pytest.mark.parametrize("question", REPEATABLE)
@pytest.mark.parametrize("only", [(), ("causal",)])
def test_a_kernel_that_takes_each_row_by_itself_says_yes(question: str, only: tuple[str, ...]) -> None:
    row = row_of(by_row, question, Capabilities(causal=True, only=only))
    assert (row.status, row.answer, row.reason, row.fault) == ("ok", "yes", None, None)
    assert CheckRow.from_dict(row.to_dict()) == row


def test_other_bits_on_every_call_are_told_with_the_first_difference() -> None:
    rng = np.random.default_rng(0)

    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        order = rng.permutation(k.shape[2])
        return by_row(q, k[:, :, order], v[:, :, order], call)

    row = row_of(attend, "deterministic")
    assert (row.status, row.answer) == ("ok", "no")
    assert row.reason is not None
    assert row.reason.startswith("output[0, 0, 0, 0]: ")
    assert "in call 2" in row.reason
    assert row.case == "forward B3 H2 T32 S96 D16 float32"


def test_a_difference_in_a_later_call_is_seen() -> None:
    calls: list[int] = []

    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        calls.append(0)
        output = by_row(q, k, v, call)
        if len(calls) == 4:
            output[-1, -1, -1, -1] = np.nextafter(output[-1, -1, -1, -1], np.float32(9))
        return output

    row = row_of(attend, "deterministic")
    assert str(row.reason).startswith("output[2, 1, 31, 15]: ")
    assert "in call 4" in str(row.reason)


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        (lambda q: q.shape[0] > 1, "alone, batch entry 0"),
        (lambda q: q.shape[2] == 16, "in chunks of 16, queries from 0"),
        (lambda q: q.shape[2] == 1, "in chunks of 1, queries from 0"),
    ],
)
def test_bits_that_depend_on_what_stands_beside_them_are_told(reads: Callable[[Any], bool], said: str) -> None:
    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        output = by_row(q, k, v, call)
        return np.nextafter(output, np.float32(9)) if reads(q) else output

    assert row_of(attend, "deterministic").answer == "yes"
    row = row_of(attend, "batch_invariant")
    assert (row.status, row.answer) == ("ok", "no")
    assert said in str(row.reason)


ONLY_BOTTOM = Capabilities(causal=True, only=("causal",), alignments=("bottom_right",))
CHUNKED = {
    "where they stand": (Capabilities(causal=True, only=("causal",)), "in chunks of 16, queries"),
    "bottom right": (ONLY_BOTTOM, "in chunks of 16 without later keys, queries"),
    "blocks": (
        replace(ONLY_BOTTOM, limits=(Limit("Tq", "in blocks", multiple_of=16),)),
        "in chunks of 16 without later keys, queries",
    ),
    "top left": (replace(ONLY_BOTTOM, alignments=("top_left",)), "in chunks of 16 after all queries before them, "),
    "square": (Capabilities(causal=True, only=("causal", "square")), "in chunks of 16 after all queries before them, "),
}


@pytest.mark.parametrize("name", CHUNKED)
def test_a_restricted_kernel_is_asked_for_chunks_as_it_takes_them(name: str) -> None:
    can, said = CHUNKED[name]

    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        output = NAIVE.attend(q, k, v, call).output
        return np.nextafter(output, np.float32(9)) if q.shape[2] < 32 else output

    row = row_of(attend, "batch_invariant", can)
    assert (row.status, row.answer) == ("ok", "no")
    assert said in str(row.reason)


def test_a_kernel_that_takes_the_rows_of_a_restricted_call_by_itself_says_yes() -> None:
    row = row_of(by_row, "batch_invariant", ONLY_BOTTOM)
    assert (row.status, row.answer, row.reason) == ("ok", "yes", None)


def test_where_no_chunk_can_be_asked_there_is_no_answer_and_a_yes_that_is_required_is_not_met() -> None:
    row = row_of(NAIVE.attend, "batch_invariant", Capabilities(only=("square",)))
    assert (row.status, row.answer, row.cases) == ("unsupported", None, 0)
    assert "chunks of queries could not be asked: it does not support Tq other than S" in str(row.reason)
    (unmet,) = required([row], ["batch_invariant"])
    assert (unmet.status, unmet.fault) == ("wrong", "required")


@pytest.mark.parametrize(
    ("question", "said"), [("deterministic", "in call 2"), ("batch_invariant", "alone, batch entry")]
)
def test_gradients_are_asked_too(question: str, said: str) -> None:
    assert NAIVE.vjp is not None
    true_vjp, calls = NAIVE.vjp, list[int]()

    def vjp(q: Any, k: Any, v: Any, call: Call, d_output: Any, d_lse: Any) -> Any:
        grads = true_vjp(q, k, v, call, d_output, d_lse)
        calls.append(0)
        changed = len(calls) == 2 if question == "deterministic" else q.shape[0] == 1
        return grads | {"k": np.nextafter(grads["k"], np.float32(9)) if changed else grads["k"]}

    row = check_feature(BACKEND, replace(NAIVE, vjp=vjp), question, "float32")
    assert row.answer == "no"
    assert said in str(row.reason)
