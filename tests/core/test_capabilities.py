"""Support that is not whole: what is declared, what a call then misses, and how a contradiction is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from attnbench.agree.cases.by_feature import check_cases
from attnbench.api import Capabilities, Limit, Precision, UsageError, implementation
from attnbench.attention.needs import with_operands
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import POSITIONS, AttentionSpec
from attnbench.backends.asked import needs_of
from attnbench.backends.bind import inputs_of
from attnbench.backends.implementation import ONLY

ALL = Capabilities(causal=True, window=True, lengths=True, slopes=True, batch_offset=True, mask=True)
SQUARE = {"B": 2, "Tq": 8, "S": 8, "D": 4}
WIDE = {"B": 2, "Tq": 8, "S": 12, "D": 4}


def missing(can: Capabilities, sizes: dict[str, int], *operands: str, scale: Any = None, **spec: Any) -> str | None:
    problem = replace(Problem.from_dict(dict(sizes)), operands=operands)
    return can.missing(needs_of(Case(AttentionSpec(scale=scale, **spec), problem)))


BOTTOM = replace(ALL, alignments=("bottom_right",))
TOP = replace(ALL, alignments=("top_left",))
CORNERS = replace(ALL, alignments=("top_left", "bottom_right"))


@pytest.mark.parametrize(
    ("can", "sizes", "operands", "spec", "why"),
    [
        (BOTTOM, WIDE, (), {"causal": True, "align": "bottom_right"}, None),
        (BOTTOM, SQUARE, (), {"causal": True}, None),
        (BOTTOM, WIDE, ("past",), {"causal": True}, None),
        (BOTTOM, WIDE, (), {}, None),
        (
            BOTTOM,
            WIDE,
            (),
            {"causal": True, "align": "top_left"},
            "queries at top_left; its alignments are bottom",
        ),
        (BOTTOM, WIDE, (), {"window": (1, 1), "align": "top_left"}, "queries at top_left"),
        (BOTTOM, WIDE, ("slopes",), {"align": "top_left"}, "queries at top_left"),
        (BOTTOM, WIDE, ("offset_negative",), {"causal": True}, "queries at offset"),
        (BOTTOM, WIDE, ("offsets",), {"causal": True}, "queries at offset"),
        (BOTTOM, WIDE, ("kv_lengths",), {"causal": True, "align": "bottom_right"}, None),
        (TOP, WIDE, (), {"causal": True, "align": "top_left"}, None),
        (TOP, WIDE, (), {"causal": True, "align": "bottom_right"}, "queries at bottom_right"),
        (
            CORNERS,
            WIDE,
            ("offset_negative",),
            {"causal": True},
            "queries at offset; its alignments are top_left,",
        ),
        (ALL, WIDE, ("offset_negative",), {"causal": True}, None),
    ],
)
def test_where_queries_may_stand(
    can: Capabilities, sizes: dict[str, int], operands: tuple[str, ...], spec: dict[str, Any], why: str | None
) -> None:
    reason = missing(can, sizes, *operands, **spec)
    assert reason is None if why is None else reason is not None and why in reason


@pytest.mark.parametrize(
    ("name", "taken", "refused", "why"),
    [
        ("causal", ({}, (), {"causal": True}), ({}, (), {}), "calls that are not causal"),
        ("square", ({}, (), {}), ({"S": 12}, (), {}), "Tq other than S"),
        (
            "key_lengths",
            ({}, ("kv_lengths",), {}),
            ({}, ("kv_lengths", "q_lengths"), {}),
            "q_lengths, but kv_lengths alone",
        ),
        ("equal_head_sizes", ({}, (), {}), ({"Dv": 3}, (), {}), "Dv other than D"),
        ("default_scale", ({}, (), {"scale": 0.5}), ({}, (), {"scale": 0.4}), "a scale other than the default"),
        ("contiguous", ({}, ("mask",), {}), None, "operands that are not contiguous"),
    ],
)
def test_what_every_call_must_be(name: str, taken: Any, refused: Any, why: str) -> None:
    can = replace(ALL, only=(name,))
    sizes, operands, spec = taken
    assert missing(can, SQUARE | sizes, *operands, **spec) is None
    if refused is None:  # no operand has another layout by itself: a problem says so
        needs = needs_of(Case(AttentionSpec(), Problem.from_dict(dict(SQUARE))))
        reason = can.missing(with_operands(needs, ("layout_step",)))
        assert ALL.missing(with_operands(needs, ("layout_step",))) is None
    else:
        sizes, operands, spec = refused
        reason = missing(can, SQUARE | sizes, *operands, **spec)
        assert missing(ALL, SQUARE | sizes, *operands, **spec) is None
    assert reason == f"does not support {why} (it declares only={name!r})"


def test_every_restriction_is_tried_above() -> None:
    assert set(ONLY) == {"causal", "square", "key_lengths", "equal_head_sizes", "default_scale", "contiguous"}


@pytest.mark.parametrize(
    ("limit", "sizes", "why"),
    [
        (Limit("D", "tiles of 16", at_least=16), {"D": 8}, "D = 8 is below 16: tiles of 16"),
        (Limit("D", "tiles of 16", at_least=16), {"D": 16}, None),
        (Limit("Tq*S", "small", at_least=65), SQUARE, "Tq*S = 64 is below 65: small"),
        (Limit("Hq", "", at_least=1, at_most=2, multiple_of=2), {"Hq": 1, "Hkv": 1}, "Hq = 1 is not a multiple of 2: "),
        (Limit("B", "one", at_most=1), {"B": 2}, "B = 2 is above 1: one"),
    ],
)
def test_a_limit_bounds_a_size_on_either_side(limit: Limit, sizes: dict[str, int], why: str | None) -> None:
    assert missing(replace(ALL, limits=(limit,)), SQUARE | sizes) == why


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"only": "square"}, "only is a tuple of names; got 'square', write ('square',)"),
        ({"only": ("squares",)}, "did you mean 'square'?"),
        ({"alignments": "top_left", "causal": True}, "alignments is a tuple of names"),
        ({"alignments": ("topleft",), "causal": True}, "did you mean 'top_left'?"),
        ({"alignments": (), "causal": True}, "alignments is empty"),
        ({"alignments": ("top_left",)}, "and none is declared"),
        ({"only": ("causal",)}, "only='causal' restricts causal, which is not declared; write causal=True"),
        ({"only": ("key_lengths",)}, "write lengths=True"),
        ({"only": ("default_scale",), "log_n": True}, "contradicts log_n=True"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_told(declared: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Capabilities(**declared)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({}, "needs at_most=, at_least= or multiple_of="),
        ({"at_least": 0}, "at_least of a limit of D is a whole number of 1 or more; got 0"),
        ({"multiple_of": 1.5}, "got 1.5"),
        ({"at_least": 9, "at_most": 8}, "leaves nothing: at_least=9 is above at_most=8"),
    ],
)
def test_a_limit_that_makes_no_sense_is_told(bounds: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        Limit("D", "tiles", **bounds)
    assert said in str(caught.value)


def test_the_reason_of_a_restriction_can_be_given() -> None:
    can = replace(ALL, only=("square",), lacks={"not_square": "self-attention"})
    assert str(missing(can, WIDE)).endswith("(it declares only='square'): self-attention")


@pytest.mark.parametrize("name", ["float32", "dot", "cpu", "causal"])
def test_a_reason_why_something_is_missing_that_is_declared_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"lacks= gives a reason for {name}, which is declared as supported"):
        implementation("numpy/mine", replace(ALL, lacks={name: "it has none"}))(print)


def test_needs_are_told_without_drawing_the_whole_case() -> None:
    """Larger than a small case in both lengths, as the bench asks about them."""
    for row in check_cases("float32", deep=True):
        case, p = row.case, row.case.problem
        call = inputs_of(case).call
        assert needs_of(case) == with_operands(call.needs(gradients=case.gradients), p.operands), case.label()
    tall = Case(AttentionSpec(causal=True, align="bottom_right"), Problem(Tq=64, S=128))
    assert needs_of(tall).positions == {"bottom_right", "offset"}
    assert missing(replace(ALL, only=("square",)), {"Tq": 64, "S": 128}) is not None
    assert set(POSITIONS) == {"top_left", "bottom_right", "offset"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"bfloat16": "bfloat16"}, "precision= of bfloat16 is a Precision or a tuple of them; got 'bfloat16': write "),
        ({"float16": (Precision(), None)}, "precision= of float16 is a Precision or a tuple of them; got (Precision("),
        (Precision(), "precision= is a dict from dtypes to what is declared of each; got Precision("),
    ],
)
def test_what_is_no_declaration_of_arithmetic_is_told(given: Any, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Capabilities(precision=given)
    assert said in str(raised.value)
    assert str(raised.value).endswith('write precision={"bfloat16": Precision(p_cast="bfloat16")}')
