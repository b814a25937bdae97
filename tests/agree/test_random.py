"""Random combinations: valid, covering, reproducible; correct implementations are not accused, faulty ones are."""

from __future__ import annotations

import json

import pytest

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.case_text import case_from_text
from attnbench.agree.cases.random_cases import Coverage, RandomCases
from attnbench.agree.check.random_rows import RandomResult, check_random, together
from attnbench.agree.judge.trial import trial
from attnbench.agree.mutants import MUTANTS
from attnbench.attention.precision import DTYPES
from attnbench.attention.problem import Case
from attnbench.backends.attend import load_backend, resolve
from attnbench.backends.bind import inputs_of
from tests.agree.kernels import FAULTS, online

_, NAIVE = resolve("numpy/naive")
CASES = RandomCases(NAIVE, seed=11)
MANY = [CASES[i] for i in range(600)]


def test_every_case_is_a_problem_of_the_spec_and_comes_back_from_its_text() -> None:
    for planned in MANY[:100]:
        inputs_of(planned.case)
        assert Case.from_dict(json.loads(json.dumps(planned.case.to_dict()))) == planned.case


def test_every_class_of_the_plan_is_seen_and_most_pairs_of_them() -> None:
    coverage = Coverage(planned.row for planned in MANY).to_dict(CASES.levels)
    assert coverage["unseen"] == []
    assert coverage["classes"] == coverage["classes_seen"] == sum(map(len, CASES.levels.values()))
    assert 0.4 * coverage["pairs"] < coverage["pairs_seen"] < coverage["pairs"]
    assert all(dims.fits(planned.row) for planned in MANY)


def test_a_class_that_was_not_seen_is_named() -> None:
    coverage = Coverage(planned.row for planned in MANY if planned.row["mask"] != "mask_tile").to_dict(CASES.levels)
    assert coverage["unseen"] == ["mask mask_tile"]
    assert coverage["classes_seen"] == coverage["classes"] - 1


def test_the_sequence_is_a_function_of_the_seed() -> None:
    again, other = RandomCases(NAIVE, seed=11), RandomCases(NAIVE, seed=12)
    assert [again[i] for i in (7, 3, 0)] == [CASES[i] for i in (7, 3, 0)]
    assert other[0] != CASES[0]


def test_draws_of_one_combination_differ_in_their_values_alone() -> None:
    cases = RandomCases(NAIVE, seed=3, draws=4)
    for first in range(0, 40, 4):
        four = [cases[i].case for i in range(first, first + 4)]
        assert len({case.problem.seed for case in four}) == 4
        assert len({case.spec for case in four}) == 1
        if cases[first].row["where"] not in dims.DRAWN_NUMBERS:
            assert len({inputs_of(case).kind() for case in four}) == 1
    assert cases[0].row != cases[4].row


def test_only_what_is_declared_is_drawn() -> None:
    cases = RandomCases(online)
    assert cases.levels["score"] == ["dot"]
    assert cases.levels["window"] == ["off"]
    assert not [mode for mode in cases.levels["mode"] if "float64" in mode or "backward" in mode]
    trials = [trial(load_backend("numpy"), online, cases[i].case) for i in range(60)]
    assert {judged.status for judged in trials} == {"ok"}, [judged.reason for judged in trials if judged.status != "ok"]


def agrees(name: str, count: int, draws: int = 1) -> None:
    backend, implementation = resolve(name)
    result = check_random(backend, implementation, DTYPES, 0, count, seed=5, draws=draws)
    assert (result.cases, result.wrong) == (count, 0), result.disagreements
    assert result.error_ratio is not None
    assert 0.3 < result.error_ratio <= 1
    assert len(result.levels) == count


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
    result = check_random(load_backend("numpy"), MUTANTS[name].implementation(), DTYPES, 0, 60)
    assert result.wrong > 0
    disagreement = result.disagreements[0]
    again = trial(load_backend("numpy"), MUTANTS[name].implementation(), case_from_text(disagreement["case"]))
    assert again.status == "wrong"


def test_a_fault_of_arithmetic_is_caught() -> None:
    assert check_random(load_backend("numpy"), FAULTS["temperature"], ("float32",), 0, 40).wrong > 10


def test_parts_add_up_and_survive_json() -> None:
    parts = [
        RandomResult("numpy/x", 3, 1, 1, float("inf"), None, [{"case": "a"}], [{"score": "dot"}], {"score": ["dot"]}),
        RandomResult("numpy/x", 2, 0, 0, 0.5, 0.25),
    ]
    whole = together("numpy/x", parts)
    assert (whole.cases, whole.unsupported, whole.wrong, whole.gradient_ratio) == (5, 1, 1, 0.25)
    assert whole.possible == {"score": ["dot"]}
    assert RandomResult.from_dict(json.loads(json.dumps(whole.to_dict()))) == whole
