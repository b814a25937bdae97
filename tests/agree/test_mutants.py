"""The check is itself checked: every planted fault is found in every dtype, and the control is not accused."""

from __future__ import annotations

import pytest

from attnbench.agree.check import check_implementation
from attnbench.agree.eager import Eager
from attnbench.agree.mutants import all_mutants, applies, mutant
from attnbench.attention import load_backend
from attnbench.precision import DTYPES


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_control_agrees(dtype: str) -> None:
    """The stock from which the mutants are bred is right; otherwise killing them proves nothing."""
    rows = check_implementation(load_backend("numpy"), Eager().implementation("control"), [dtype], deep=True)
    assert not [row for row in rows if row.status == "wrong"]
    assert sum(row.cases for row in rows if row.status == "ok") > 30


@pytest.mark.parametrize("name", sorted(all_mutants()))
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_mutant_is_killed(name: str, dtype: str) -> None:
    """At the default depth, in each dtype where the fault is one."""
    if not applies(name, dtype):
        return
    rows = check_implementation(load_backend("numpy"), mutant(name), [dtype])
    wrong = [row for row in rows if row.status == "wrong"]
    assert wrong, f"{name} survived in {dtype}"
    assert all(row.reason and row.fault and row.case for row in wrong)


def test_there_are_enough_mutants_of_enough_kinds() -> None:
    """Ten parameters of one fault are not ten kinds."""
    kinds = {one.kind for one in all_mutants().values()}
    assert len(all_mutants()) >= 30
    assert len(kinds) >= 10
