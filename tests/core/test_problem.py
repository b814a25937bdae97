from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from attnbench.attention.problem import DISTRIBUTIONS, OPERAND_GROUPS, OPERAND_KINDS, Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.errors import SpecError

BAD: list[tuple[dict[str, Any], str]] = [
    ({"B": -1}, "B is an integer >= 0; got -1"),
    ({"Hq": 0}, "Hq is an integer >= 1; got 0"),
    ({"D": 0}, "D is an integer >= 1; got 0"),
    ({"Tq": 1.5}, "Tq is an integer >= 0; got 1.5"),
    ({"Tq": "16"}, "Tq is an integer >= 0; got '16'"),
    ({"Tq": True}, "Tq is an integer >= 0; got True"),
    ({"S": -2}, "S is an integer >= 0; got -2"),
    ({"Hq": 4, "Hkv": 3}, "Hq = 4 query heads cannot share Hkv = 3: Hq must be a multiple of Hkv"),
    ({"Hq": 2, "Hkv": 4}, "Hq = 2 query heads cannot share Hkv = 4"),
    ({"seed": -1}, "seed is an integer >= 0; got -1"),
    ({"dtype": "fp16"}, "dtype 'fp16' is not one of float64, float32, bfloat16, float16"),
    ({"dtype": "bflaot16"}, "did you mean 'bfloat16'?"),
    ({"distribution": "gaussian"}, "distribution 'gaussian' is not one of normal, peaky"),
    ({"operands": ("masks",)}, "operand 'masks' is not one of mask, "),
    ({"operands": ("mask", "mask_keys")}, "a problem has at most one mask; got mask, mask_keys"),
    ({"operands": ("mask", "mask")}, "a problem has at most one mask; got mask, mask"),
    ({"operands": ("past",), "Tq": 8, "S": 4}, "so S = 4 cannot be below Tq = 8"),
]


@pytest.mark.parametrize(("given", "phrase"), BAD)
def test_what_is_not_a_problem_is_refused_with_a_sentence(given: dict[str, Any], phrase: str) -> None:
    with pytest.raises(SpecError) as caught:
        Problem(**given)
    assert phrase in str(caught.value)


def test_sizes_default_to_those_of_the_queries() -> None:
    problem = Problem(Hq=6, Tq=10, D=4)
    assert (problem.Hkv, problem.S, problem.Dv, problem.Da) == (6, 10, 4, 4)
    assert Problem(Tq=0, S=0, Dv=0, B=0).S == 0


def test_filled_in_sizes_mean_the_same_as_given_ones() -> None:
    assert Problem(Hq=2, Tq=8) == Problem(Hq=2, Hkv=2, Tq=8, S=8, Dv=16, Da=16)
    assert Problem(Hq=2).id == Problem(Hq=2, Hkv=2).id


def test_the_order_of_operands_does_not_matter() -> None:
    first, second = Problem(operands=("sinks", "bias")), Problem(operands=("bias", "sinks"))
    assert first == second
    assert first.id == second.id


def test_every_operand_kind_belongs_to_one_group() -> None:
    assert len(OPERAND_KINDS) == len(set(OPERAND_KINDS)) == sum(map(len, OPERAND_GROUPS.values()))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_round_trip_through_json(distribution: str) -> None:
    problem = Problem(B=2, Hq=4, Hkv=2, dtype="float16", distribution=distribution, operands=("mask", "sinks"))
    case = Case(AttentionSpec(scale=(1.0, 2.0, 3.0, 4.0), window=(3, None)), problem, "backward", ("lse", "weights"))
    again = Case.from_dict(json.loads(json.dumps(case.to_dict())))
    assert again == case
    assert hash(again) == hash(case)
    assert again.id == case.id


def test_ids_tell_cases_apart() -> None:
    plain = Case(AttentionSpec(), Problem())
    others = [
        Case(AttentionSpec(causal=True), Problem()),
        Case(AttentionSpec(), Problem(seed=1)),
        Case(AttentionSpec(), Problem(), "backward"),
        Case(AttentionSpec(), Problem(), outputs=("lse",)),
        plain.with_problem(dtype="float64"),
    ]
    assert len({case.id for case in [plain, *others]}) == 6
    assert plain.problem.id != others[1].problem.id


def test_problems_and_cases_are_immutable() -> None:
    for frozen, name in ((Problem(), "B"), (Case(AttentionSpec(), Problem()), "phase")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, name, 1)


@pytest.mark.parametrize(
    ("given", "phrase"),
    [
        ({"phase": "forwards"}, "phase 'forwards' is not one of forward, backward, decode; did you mean 'forward'?"),
        ({"phase": "decode"}, "decode asks about one new query, Tq = 1; got Tq = 16"),
        ({"outputs": ("lsee",)}, "output 'lsee' is not one of output, lse, "),
    ],
)
def test_what_is_not_a_case_is_refused_with_a_sentence(given: dict[str, Any], phrase: str) -> None:
    with pytest.raises(SpecError) as caught:
        Case(AttentionSpec(), Problem(), **given)
    assert phrase in str(caught.value)


def test_one_output_can_be_named_by_a_string() -> None:
    assert Case(AttentionSpec(), Problem(), outputs="lse").outputs == ("lse",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "phrase"),
    [
        ({"spec": {}, "problem": {}, "phse": "backward"}, "a Case has no field 'phse'; it has .*did you mean 'phase'"),
        ({"spec": {}}, "a Case has a problem, a table of its fields; got None"),
        ({"problem": {}, "spec": []}, r"a Case has a spec, a table of its fields; got \[\]"),
        ({"spec": {}, "problem": {"batch": 1}}, "a Problem has no field 'batch'"),
        ({"spec": {"casual": True}, "problem": {}}, "no field 'casual'.*did you mean 'causal'"),
    ],
)
def test_stored_cases_are_read_strictly(data: dict[str, Any], phrase: str) -> None:
    with pytest.raises(SpecError, match=phrase):
        Case.from_dict(data)


def test_the_label_says_what_differs_from_the_plain_case() -> None:
    problem = Problem(B=1, Hq=8, Hkv=2, Tq=4, S=8, D=64, Dv=32, distribution="huge", operands=("mask",))
    label = Case(AttentionSpec(causal=True, align="bottom_right"), problem, "backward").label()
    assert label == "backward causal align=bottom_right B1 H8/2 T4 S8 D64/32 float32 huge mask"
