"""With versions that a declaration was not seen with, the arithmetic is probed and the rows say so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attnbench.agree import arithmetic
from attnbench.agree.arithmetic import held, precision_of
from attnbench.agree.baseline import Baseline
from attnbench.agree.check.rows import check_feature
from attnbench.agree.declare.words import arithmetic as in_words
from attnbench.attention import load_backend
from attnbench.implementation import Capabilities, Implementation
from attnbench.precision import Precision, default_precision

NEVER = "numpy<1"  # with which nothing here was seen
NARROW = Precision(logits="bfloat16", p_cast="bfloat16", stored_output="bfloat16", seen=NEVER)
WIDE = Precision(exp_ulp=2.0, seen="numpy<0.5")


def narrow(*declared: Precision) -> Implementation:
    """Eager attention that keeps logits and P in bfloat16, declared as told to."""
    can = Capabilities(dtypes=("bfloat16",), precision={"bfloat16": declared})
    own = Baseline()
    return Implementation("numpy/narrow", can, own.attend, own.vjp)


def test_the_first_declaration_that_explains_plain_cases_is_held_to_with_other_versions() -> None:
    found = held(narrow(WIDE, NARROW), "bfloat16", "cpu")
    assert found.precision == replace(NARROW, seen="")
    assert found.probed is not None
    assert found.probed.startswith("numpy ")
    assert found.probed.endswith(": arithmetic probed, and as declared for numpy<1")


def test_the_default_is_held_to_where_no_declaration_explains_them() -> None:
    found = held(narrow(WIDE), "bfloat16", "cpu")
    assert found.precision == default_precision("bfloat16")
    assert found.probed is not None
    assert found.probed.endswith(": arithmetic probed, and not as declared for numpy<0.5: held to the default")


def test_a_kernel_that_raises_is_held_to_the_default() -> None:
    def refusing(*_: Any) -> Any:
        msg = "not today"
        raise RuntimeError(msg)

    broken = replace(narrow(NARROW), attend=refusing)
    assert precision_of(broken, "bfloat16", "cpu") == default_precision("bfloat16")


def test_what_was_seen_is_not_probed_and_what_was_probed_is_not_probed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    other = narrow(NARROW)
    first = held(other, "bfloat16", "cpu")
    monkeypatch.setattr(arithmetic, "answered", None)
    assert held(other, "bfloat16", "cpu") is first
    seen = replace(NARROW, seen="numpy>=1")
    assert held(narrow(NARROW, seen), "bfloat16", "cpu") == arithmetic.Held(seen)
    assert held(narrow(), "bfloat16", "cpu") == arithmetic.Held(default_precision("bfloat16"))


def test_a_row_says_that_its_arithmetic_was_probed() -> None:
    row = check_feature(load_backend("numpy"), narrow(NARROW), "scale", "bfloat16")
    assert row.status == "ok"
    assert row.declared is not None
    assert "P rounded to bfloat16, " in in_words(row.declared)
    assert in_words(row.declared).endswith(": arithmetic probed, and as declared for numpy<1")
