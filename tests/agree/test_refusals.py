"""What a kernel refuses is no disagreement and no agreement; a feature of which it takes nothing is not declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attnbench.agree.check.random_rows import check_random
from attnbench.agree.check.refusals import GENERAL
from attnbench.agree.check.rows import CheckRow, check_feature
from attnbench.agree.diagnose.examine import examine
from attnbench.api import Call, Capabilities, Implementation, Limit, UnsupportedError
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import resolve
from attnbench.errors import UndeliveredError

BACKEND, NAIVE = resolve("numpy/naive")
WORDS = "tiles of the tensor cores only"
PLAIN = Capabilities(causal=True, mask=True, lengths=True, scores=("dot", "cosine"))
NOT_CAUSAL = Case(AttentionSpec(), Problem(B=2, Hq=2, Tq=5, S=7, D=4))


def refusing(when: Callable[[Any, Call], bool], can: Capabilities = PLAIN, words: str = WORDS) -> Implementation:
    """numpy/naive, forward, that refuses some calls itself and declares nothing of it."""

    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        if when(q, call):
            raise UnsupportedError(words)
        return NAIVE.attend(q, k, v, call)

    return Implementation("numpy/refusing", can, attend)


def row_of(kernel: Implementation, feature: str, dtype: str = "float32") -> CheckRow:
    return check_feature(BACKEND, kernel, feature, dtype)


def test_some_cases_refused_are_counted_with_the_kernels_words_and_what_would_declare_them() -> None:
    row = row_of(refusing(lambda _, c: c.spec.causal and c.offset != c.sizes.S - c.sizes.Tq), "causal")
    assert (row.status, row.fault) == ("ok", None)
    assert row.cases + row.refused == row.asked
    assert 0 < row.refused < row.asked
    why = f"refused by the kernel: {WORDS} (to declare that: alignments=('bottom_right',))"
    assert row.left_out == {why: row.refused}


def test_in_a_square_the_widest_of_the_alignments_that_fit_is_named() -> None:
    can = replace(PLAIN, only=("causal", "square"))
    kernel = refusing(lambda _, c: bool((np.asarray(c.offset) != 0).any()), can)
    row = row_of(kernel, "causal")
    assert row.refused > 0
    (why,) = [words for words in row.left_out or {} if WORDS in words]
    assert why == f"refused by the kernel: {WORDS} (to declare that: alignments=('top_left', 'bottom_right'))"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_feature_of_which_some_other_case_is_taken_is_no_false_declaration(dtype: str) -> None:
    """In float64 few cases stand for a feature, and all of these are refused here: the others are asked."""
    row = row_of(refusing(lambda _, c: c.spec.causal and c.offset != c.sizes.S - c.sizes.Tq), "causal", dtype)
    assert (row.status, row.cases > 0, row.refused > 0) == ("ok", True, True)


ALWAYS: list[tuple[str, Callable[[Any, Call], bool], tuple[str, ...]]] = [
    ("causal", lambda _, c: c.spec.causal, ("causal=True and float32", "leave causal=True out")),
    ("mask", lambda _, c: c.mask is not None, ("leave mask=True out",)),
    ("cosine", lambda _, c: c.spec.score == "cosine", ("score cosine", "leave 'cosine' out of scores")),
    ("scale", lambda _, c: c.scale != AttentionSpec().scale_factor(c.sizes.D), ("only=('default_scale',)",)),
    ("sizes", lambda q, _: q.dtype == "float32", ("leave 'float32' out of dtypes",)),
]


@pytest.mark.parametrize(("feature", "when", "said"), ALWAYS)
def test_a_feature_of_which_every_case_is_refused_is_a_false_declaration(
    feature: str, when: Callable[[Any, Call], bool], said: tuple[str, ...]
) -> None:
    kernel = refusing(when)
    row = row_of(kernel, feature)
    if feature == "scale":  # one of its cases has the default
        assert (row.status, row.cases) == ("wrong", 0)
    assert (row.status, row.fault, row.cases, row.error_ratio) == ("wrong", "declaration", 0, None)
    assert row.refused > 0
    assert WORDS in str(row.reason)
    assert all(words in str(row.reason) for words in said), row.reason
    assert CheckRow.from_dict(row.to_dict()) == row


def test_what_is_offered_is_true() -> None:
    """With the field that was named nothing is refused any more, and the row is of the rest."""
    kernel = refusing(lambda _, c: c.spec.causal and c.offset != c.sizes.S - c.sizes.Tq)
    declared = replace(kernel, capabilities=replace(PLAIN, alignments=("bottom_right",)))
    row = row_of(declared, "causal")
    assert (row.status, row.refused) == ("ok", 0)
    assert any("its alignments are bottom_right" in why for why in row.left_out or {})


def test_no_field_is_named_that_leaves_out_what_another_row_takes() -> None:
    """It takes no mask beside causal, and each of them alone."""
    kernel = refusing(lambda _, c: c.mask is not None and c.spec.causal)
    row = row_of(kernel, "mask")
    assert row_of(kernel, "causal").cases > 0
    assert row.refused > 0
    (why,) = [words for words in row.left_out or {} if WORDS in words]
    assert why == f"refused by the kernel: {WORDS} ({GENERAL})"


def test_nothing_is_guessed_where_several_fields_would_do() -> None:
    row = row_of(refusing(lambda _, c: c.sizes.Tq == 33), "mask")
    assert row.refused > 0
    assert "to declare that" not in str(row.left_out)


@pytest.mark.parametrize("rule", ["rule_2", "rule_3", "probes", "deterministic", "batch_invariant"])
def test_a_rule_that_is_refused_is_neither_broken_nor_held(rule: str) -> None:
    row = row_of(refusing(lambda *_: True), rule)
    assert (row.status, row.cases, row.refused) == ("unsupported", 0, 1)
    assert row.reason == f"refused by the kernel: {WORDS}"


def test_a_rule_that_is_beyond_what_is_declared_is_not_refused() -> None:
    row = row_of(refusing(lambda *_: False, replace(PLAIN, limits=(Limit("Tq", "long", at_least=2000),))), "rule_3")
    assert (row.status, row.cases, row.refused) == ("unsupported", 0, 0)
    assert "Tq = 33 is below 2000" in str(row.reason)
    row = row_of(refusing(lambda *_: False, replace(PLAIN, limits=(Limit("B", "one", at_most=1),))), "rule_3")
    assert (row.status, row.cases, row.refused) == ("unsupported", 0, 0)
    assert row.reason == "cannot be asked for a direction: its limits leave 1 of 16 draws"
    short = (Limit("Tq", "one", at_most=1), Limit("B", "one", at_most=1))
    row = row_of(refusing(lambda *_: False, replace(PLAIN, limits=short)), "rule_2")
    assert (row.status, row.cases, row.refused) == ("unsupported", 0, 0)
    assert "its limits leave outputs of fewer than 256 elements" in str(row.reason)


def test_a_rule_for_which_it_does_not_deliver_is_broken() -> None:
    def attend(*_: Any) -> Any:
        raise UndeliveredError(WORDS)

    assert row_of(Implementation("numpy/late", PLAIN, attend), "rule_3").fault == "exception"


def test_random_cases_that_are_refused_are_counted_and_not_judged() -> None:
    result = check_random(BACKEND, refusing(lambda _, c: c.spec.causal), ("float32",), 0, 20)
    assert result.refused > 0
    assert (result.wrong, result.cases + result.unsupported) == (0, 20)
    assert result.refusal == WORDS
    assert len(result.levels) == result.cases


def test_an_examination_goes_on_behind_a_question_that_is_refused() -> None:
    calls: list[int] = []

    def attend(q: Any, k: Any, v: Any, call: Call) -> Any:
        calls.append(0)
        if len(calls) == 3:  # behind the trial, which calls twice
            raise UnsupportedError(WORDS)
        return 1.5 * NAIVE.attend(q, k, v, call).output

    examined = examine(BACKEND, Implementation("numpy/moody", PLAIN, attend), NOT_CAUSAL)
    assert examined.diagnosis.evidence == f"it does not take a question of the diagnosis: {WORDS}"
    assert not examined.diagnosis.known
    assert examined.cases != (NOT_CAUSAL,)
