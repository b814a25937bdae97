"""The check is itself checked: every planted fault is found in every dtype, and the control is not accused."""

from __future__ import annotations

import re

import pytest

from attnbench.agree.cases.by_feature import FEATURES, REPEATABLE, RULES
from attnbench.agree.check.rows import check_feature, check_implementation, first_disagreement
from attnbench.agree.eager.attention import Eager
from attnbench.agree.mutants import MUTANTS
from attnbench.attention.precision import DTYPES
from attnbench.backends.attend import load_backend

HARMLESS = [(name, dtype) for name, mutant in MUTANTS.items() for dtype in mutant.harmless]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_control_agrees(dtype: str) -> None:
    """The stock from which the mutants are bred is right; otherwise killing them proves nothing."""
    rows = check_implementation(load_backend("numpy"), Eager().implementation("control"), [dtype], deep=True)
    assert [row.feature for row in rows if row.feature not in (*RULES, *REPEATABLE)] == list(FEATURES)
    assert {row.status for row in rows} == {"ok"}, [row for row in rows if row.status != "ok"]
    assert sum(row.cases for row in rows) > 70


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_is_killed(name: str, dtype: str) -> None:
    """At the default depth, in each dtype where the fault is one; where it is none, the data say why."""
    mutant = MUTANTS[name]
    disagreement = first_disagreement(load_backend("numpy"), mutant.implementation(), dtype, mutant.telling)
    if not mutant.applies(dtype):
        assert disagreement is None, f"{name} is found in {dtype} after all: remove it from `harmless`"
        return
    assert disagreement is not None, f"{name} survived in {dtype}"
    _, failed = disagreement
    assert failed.reason
    assert failed.fault != "exception", failed.reason


def test_the_first_disagreement_is_one_of_the_whole_check() -> None:
    """Stopping early changes nothing but the time that it takes."""
    backend, mutant = load_backend("numpy"), MUTANTS["WindowRightTooLong"]
    disagreement = first_disagreement(backend, mutant.implementation(), "float16")
    assert disagreement is not None
    check_case, failed = disagreement
    row = check_feature(backend, mutant.implementation(), check_case.feature, "float16")
    assert (row.status, row.case, row.reason) == ("wrong", check_case.case.label(), failed.reason)
    assert first_disagreement(backend, Eager().implementation("control"), "float16") is None


def test_there_are_enough_mutants_of_enough_kinds() -> None:
    """Ten parameters of one fault are not ten kinds."""
    assert len(MUTANTS) >= 100
    assert len({mutant.kind for mutant in MUTANTS.values()}) >= 25
    assert len({mutant.report.project for mutant in MUTANTS.values() if mutant.report}) >= 40


@pytest.mark.parametrize("name", MUTANTS)
def test_every_mutant_says_what_it_is(name: str) -> None:
    """One sentence of description, a kind, features to try first, and a report that can be looked up."""
    mutant = MUTANTS[name]
    assert mutant.description.endswith("."), mutant.description
    assert len(mutant.description) < 120
    assert mutant.telling
    assert set(mutant.telling) <= set(FEATURES)
    assert len(mutant.harmless) < len(DTYPES)
    assert set(mutant.harmless) <= set(DTYPES)
    assert all(mutant.harmless.values())
    if mutant.report is not None:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", mutant.report.project)
        assert mutant.report.number > 0
        assert mutant.report.says
