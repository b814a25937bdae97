"""With versions that a declaration was not seen with, the arithmetic is probed and the rows say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attnbench.agree.check.rows import check_feature
from attnbench.agree.check.words import arithmetic as in_words
from attnbench.agree.eager.baseline import Baseline
from attnbench.agree.judge import arithmetic
from attnbench.agree.judge.arithmetic import held, precision_of
from attnbench.agree.judge.trial import trial
from attnbench.attention.precision import Precision, default_precision
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends.attend import load_backend
from attnbench.backends.implementation import Capabilities, Implementation, Limit
from attnbench.errors import UnsupportedError
from tests.agree.kernels import raising

NEVER = "numpy<1"  # with which nothing here was seen
NARROW = Precision(logits="bfloat16", p_cast="bfloat16", stored_output="bfloat16", seen=NEVER)
WIDE = Precision(exp_ulp=2.0, seen="numpy<0.5")


def narrow(*declared: Precision) -> Implementation:
    """Eager attention that keeps logits and P in bfloat16, declared as told to."""
    can = Capabilities(dtypes=("bfloat16",), precision={"bfloat16": declared})
    eager = Baseline()
    return Implementation("numpy/narrow", can, eager.attend, eager.vjp)


def test_the_first_declaration_that_explains_plain_cases_is_held_to_with_other_versions() -> None:
    held_to = held(narrow(WIDE, NARROW), "bfloat16", "cpu")
    assert held_to.precision == replace(NARROW, seen="")
    assert held_to.probed is not None
    assert held_to.probed.startswith("numpy ")
    assert held_to.probed.endswith(": arithmetic probed, and as declared for numpy<1")


def test_the_default_is_held_to_where_no_declaration_explains_them() -> None:
    held_to = held(narrow(WIDE), "bfloat16", "cpu")
    assert held_to.precision == default_precision("bfloat16")
    assert held_to.probed is not None
    assert held_to.probed.endswith(": arithmetic probed, and not as declared for numpy<0.5: held to the default")


def test_a_kernel_that_raises_is_held_to_the_default() -> None:
    broken = replace(narrow(NARROW), attend=raising)
    assert precision_of(broken, "bfloat16", "cpu") == default_precision("bfloat16")


def in_blocks(kernel: Implementation, limits: tuple[Limit, ...] = (), factor: float = 1.0) -> Implementation:
    """It refuses what is not in blocks of 16 queries."""

    def attend(q: Any, k: Any, v: Any, call: Any) -> Any:
        if call.sizes.Tq % 16:
            msg = "queries in blocks of 16"
            raise UnsupportedError(msg)
        result = kernel.attend(q, k, v, call)
        return replace(result, output=(result.output * factor).astype(q.dtype))

    return replace(kernel, attend=attend, vjp=None, capabilities=replace(kernel.capabilities, limits=limits))


BLOCKS = Case(AttentionSpec(), Problem(B=2, Hq=2, Tq=32, S=64, D=16, Dv=8, dtype="bfloat16"))


def test_the_plain_cases_keep_to_the_limits_of_a_kernel() -> None:
    limited = in_blocks(narrow(NARROW), (Limit("Tq", "in blocks", multiple_of=16),))
    assert held(limited, "bfloat16", "cpu").precision == replace(NARROW, seen="")
    assert trial(load_backend("numpy"), limited, BLOCKS).status == "ok"


def test_what_could_not_be_probed_is_neither_right_nor_wrong() -> None:
    """A kernel that refuses the plain cases; what no declaration of it would explain is wrong all the same."""
    refusing = in_blocks(narrow(NARROW))
    held_to = held(refusing, "bfloat16", "cpu")
    assert held_to.precision == default_precision("bfloat16")
    assert held_to.probed is not None
    assert ": arithmetic could not be probed, and is not known to be as declared for numpy<1: " in held_to.probed
    assert held_to.probed.endswith("queries in blocks of 16")
    numpy = load_backend("numpy")
    left = trial(numpy, refusing, BLOCKS)
    assert (left.status, left.reason, left.fault) == ("unsupported", held_to.probed, None)
    assert trial(numpy, in_blocks(narrow(NARROW), factor=1.1), BLOCKS).status == "wrong"
    assert trial(numpy, in_blocks(narrow(WIDE)), BLOCKS).status == "wrong"


def test_what_was_seen_is_not_probed_and_what_was_probed_is_not_probed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    other = narrow(NARROW)
    first = held(other, "bfloat16", "cpu")
    monkeypatch.setattr(arithmetic, "answered", None)
    assert held(other, "bfloat16", "cpu") is first
    seen = replace(NARROW, seen="numpy>=1")
    assert held(narrow(NARROW, seen), "bfloat16", "cpu") == arithmetic.Held(seen, seen)
    usual = default_precision("bfloat16")
    assert held(narrow(), "bfloat16", "cpu") == arithmetic.Held(usual, usual)


def test_a_row_says_that_its_arithmetic_was_probed() -> None:
    row = check_feature(load_backend("numpy"), narrow(NARROW), "scale", "bfloat16")
    assert row.status == "ok"
    assert row.declared is not None
    assert "P rounded to bfloat16, " in in_words(row.declared)
    assert in_words(row.declared).endswith(": arithmetic probed, and as declared for numpy<1")
