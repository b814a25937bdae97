"""Random combinations: valid, covering, reproducible; correct implementations are not accused, faulty ones are."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from attnbench.agree.case_text import case_from_text
from attnbench.agree.mutants import MUTANTS
from attnbench.agree.random_cases import (
    AXES,
    FORBIDDEN,
    Coverage,
    RandomCases,
    levels_of,
    pairs_of,
    possible_pairs,
    supported_levels,
)
from attnbench.agree.random_check import RandomResult, check_random, together
from attnbench.agree.trial import trial
from attnbench.attention import load_backend, resolve
from attnbench.call import prepare
from attnbench.inputs import draw
from attnbench.precision import DTYPES
from attnbench.problem import Case, Problem
from attnbench.spec import AttentionSpec
from tests.agree.kernels import FAULTS, online

CASES = RandomCases(seed=11)


def test_every_case_is_a_problem_of_the_spec_and_comes_back_from_its_text() -> None:
    for i in range(400):
        case = CASES[i]
        prepare(case.spec, draw(case.spec, case.problem), case.outputs)
        assert Case.from_dict(json.loads(json.dumps(case.to_dict()))) == case


def test_every_pair_of_levels_that_can_be_is_seen_and_no_other() -> None:
    coverage = Coverage(levels_of(CASES[i]) for i in range(1000))
    counts = coverage.counts()
    assert min(counts.values()) >= 2, coverage.to_dict()
    assert set(counts) == possible_pairs(AXES)
    forbidden = {frozenset(pair) for pair in FORBIDDEN}
    assert not [pair for pair in coverage.seen if frozenset(pair) in forbidden]
    assert coverage.to_dict()["pairs_seen"] == len(counts)


def test_a_pair_that_was_not_seen_is_counted_as_missing() -> None:
    some = [levels for i in range(200) if (levels := levels_of(CASES[i]))["score"] != "dot" or levels["mask"] == "off"]
    counts = Coverage(some).counts()
    assert counts[("score", "dot"), ("mask", "mask")] == 0
    assert Coverage(some).to_dict()["fewest"] == 0


def test_the_sequence_is_a_function_of_the_seed() -> None:
    again, other = RandomCases(seed=11), RandomCases(seed=12)
    assert [again[i] for i in (7, 3, 0)] == [CASES[i] for i in (7, 3, 0)]
    assert other[0] != CASES[0]


def test_draws_of_one_combination_differ_in_their_values_alone() -> None:
    cases = RandomCases(seed=3, draws=4)
    free = {"distribution", "poison"}

    def fixed(case: Case) -> dict[str, str]:
        return {axis: level for axis, level in levels_of(case).items() if axis not in free}

    for first in range(0, 40, 4):
        four = [cases[i] for i in range(first, first + 4)]
        assert len({case.problem.seed for case in four}) == 4
        assert all(fixed(case) == fixed(four[0]) and case.spec == four[0].spec for case in four)
    assert fixed(cases[0]) != fixed(cases[4])


def test_only_what_is_declared_is_drawn() -> None:
    levels = supported_levels(online, DTYPES)
    assert levels["score"] == ("dot",)
    assert levels["phase"] == ("forward",)
    assert levels["window"] == ("off",)
    assert "float64" not in levels["dtype"]
    cases = RandomCases(levels=levels)
    found = [trial(load_backend("numpy"), online, cases[i]) for i in range(60)]
    assert {one.status for one in found} == {"ok"}, [one.reason for one in found if one.status != "ok"]


def agrees(name: str, count: int, draws: int = 1) -> None:
    backend, implementation = resolve(name)
    found = check_random(backend, implementation, DTYPES, 0, count, seed=5, draws=draws)
    assert (found.cases, found.wrong) == (count, 0), found.disagreements
    assert found.error_ratio is not None
    assert 0.3 < found.error_ratio <= 1
    assert len(found.levels) == count


def test_numpy_naive_agrees() -> None:
    agrees("numpy/naive", 150)


def test_torch_naive_agrees() -> None:
    pytest.importorskip("torch")
    agrees("torch/naive", 60)


def test_jax_naive_agrees() -> None:
    pytest.importorskip("jax")
    agrees("jax/naive", 12)


@pytest.mark.parametrize("name", ["MaskInverted", "SoftcapAfterMask", "HeadsTiled"])
def test_a_faulty_implementation_is_caught_with_a_case_that_shows_it_again(name: str) -> None:
    found = check_random(load_backend("numpy"), MUTANTS[name].implementation(), DTYPES, 0, 60)
    assert found.wrong > 0
    told = found.disagreements[0]
    again = trial(load_backend("numpy"), MUTANTS[name].implementation(), case_from_text(told["case"]))
    assert (again.status, again.reason) == ("wrong", told["reason"])


def test_a_fault_of_arithmetic_is_caught() -> None:
    assert check_random(load_backend("numpy"), FAULTS["temperature"], ("float32",), 0, 40).wrong > 10


def test_parts_add_up_and_survive_json() -> None:
    parts = [
        RandomResult("numpy/x", 3, 1, 1, float("inf"), None, [{"case": "a"}], [{"score": "dot"}]),
        RandomResult("numpy/x", 2, 0, 0, 0.5, 0.25),
    ]
    whole = together("numpy/x", parts)
    assert (whole.cases, whole.unsupported, whole.wrong, whole.gradient_ratio) == (5, 1, 1, 0.25)
    assert RandomResult.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole


def test_pairs_are_of_two_axes() -> None:
    levels: Mapping[str, str] = levels_of(CASES[0])
    assert len(pairs_of(levels)) == len(AXES) * (len(AXES) - 1) // 2


def test_what_is_never_drawn_is_a_level_of_its_own_and_not_off() -> None:
    operands = ("mask_tile", "bias_low", "offset_below", "kv_lengths_edges", "segments_edges", "sinks_edges")
    levels = levels_of(Case(AttentionSpec(), Problem(Tq=33, D=8, operands=operands)))
    assert [levels[axis] for axis in ("mask", "bias", "where")] == ["mask_tile", "bias_low", "offset_below"]
    assert [levels[axis] for axis in ("q_lengths", "kv_lengths", "segments", "sinks")] == ["off", "on", "on", "on"]
