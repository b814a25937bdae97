"""A kernel whose sizes are limited has a plan as well, of all that its limits leave."""

from __future__ import annotations

from itertools import combinations

import pytest

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.case_text import case_text
from attnbench.agree.cases.covering import pairs_in
from attnbench.agree.cases.levels import levels_of, why_none
from attnbench.agree.cases.plan import planned_cases
from attnbench.agree.cases.random_cases import RandomCases
from attnbench.agree.cases.sizes import size_rows
from attnbench.agree.check.boundaries import judge_case
from attnbench.agree.check.random_rows import _CASES, check_random
from attnbench.api import Capabilities, Implementation, Limit
from attnbench.backends.attend import load_backend
from attnbench.errors import SpecError
from tests.agree.check.kernels import sized

FLOAT32 = ("float32",)


def limited(*limits: Limit, **declared: object) -> Implementation:
    can = Capabilities(dtypes=FLOAT32, limits=limits, **declared)  # type: ignore[arg-type]
    return Implementation("numpy/limited", can, sized("plain", lambda _: False).attend)


def at_most(of: str, bound: int) -> Limit:
    return Limit(of, "small", at_most=bound)


def tiles(of: str, of_size: int) -> Limit:
    return Limit(of, "tiles", multiple_of=of_size)


LIMITS = {
    "one query": (at_most("Tq", 1),),
    "few queries": (at_most("Tq", 16),),
    "small heads": (at_most("D", 32),),
    "one head of keys": (at_most("Hkv", 1),),
    "large heads": (tiles("D", 128),),
    "eight heads": (tiles("Hq", 8),),
    "tiles": (tiles("Tq", 128), tiles("S", 128)),
    "many keys": (Limit("S", "many", at_least=128),),
    "few pairs": (at_most("Tq*S", 4096), at_most("B*Hq", 8)),
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_a_limit_leaves_a_plan_of_what_it_allows(limits: tuple[Limit, ...]) -> None:
    kernel = limited(*limits, gqa=True)
    levels = levels_of(kernel, FLOAT32)
    assert levels["mode"] == ["float32 forward"]
    for name in dims.SIZES:
        first = {"Tq": dims.LENGTHS, "S": [*dims.LENGTHS, dims.SQUARE], "heads": dims.HEADS, "B": dims.BATCH}
        every = first.get(name) or (dims.HEAD_SIZES if name == "D" else dims.VALUE_SIZES)
        assert levels[name] == [level for level in every if next(size_rows(limits, {name: level}), None)], name
    assert len(levels["S"]) > 3


def test_a_kernel_for_one_new_token_that_is_wrong_somewhere_is_found() -> None:
    attend = sized("decode", lambda sizes: sizes.S > 300).attend
    can = Capabilities(dtypes=FLOAT32, limits=(Limit("Tq", "one new token", at_most=1),))
    kernel, backend = Implementation("numpy/decode", can, attend), load_backend("numpy")
    plan = [planned for planned in planned_cases(kernel, FLOAT32) if planned.case.problem.S > 300]
    assert len(plan) > 20
    assert "wrong" in {judge_case(backend, kernel, case_text(planned.case)).status for planned in plan[:20]}


def test_values_are_drawn_among_those_that_the_limits_allow() -> None:
    kernel = limited(tiles("Tq", 16), tiles("S", 16))
    levels, plan = levels_of(kernel, FLOAT32), planned_cases(kernel, FLOAT32)
    seen = set.union(*(pairs_in(planned.row) for planned in plan))
    every = [((x, i), (y, j)) for x, y in combinations(levels, 2) for i in levels[x] for j in levels[y]]
    missing = [dict(pair) for pair in every if dims.fits(dict(pair)) and frozenset(pair) not in seen]
    limits = kernel.capabilities.limits
    assert [
        planned for planned in missing if not set(planned) <= set(dims.SIZES) or next(size_rows(limits, planned), None)
    ] == []
    for size in (128, 256, 512):
        about = [
            planned.case.problem for planned in plan if (planned.row["Tq"], planned.row["S"]) == (str(size), str(size))
        ]
        assert [p for p in about if p.Tq == p.S == size]
    assert "8192+" in levels["S"]


def test_where_nothing_is_left_it_is_said_why() -> None:
    kernel = limited(Limit("S", "a whole book", at_least=20_000))
    assert planned_cases(kernel, FLOAT32) == []
    assert "S (a whole book)" in why_none(kernel, FLOAT32)
    assert why_none(kernel, ("float16",)) == "takes none of float16"
    result = check_random(load_backend("numpy"), kernel, FLOAT32, 0, 3)
    assert (result.cases, result.unsupported) == (0, 3)
    assert "S (a whole book)" in (result.reason or "")


def test_random_cases_keep_to_the_limits() -> None:
    kernel = limited(*(tiles(name, 64) for name in ("Tq", "S", "D", "Dv")))
    result = check_random(load_backend("numpy"), kernel, FLOAT32, 0, 6)
    assert (result.cases, result.wrong) == (6, 0), result.disagreements


def test_random_cases_that_cannot_be_drawn_are_unsupported() -> None:
    kernel = limited()
    cases = RandomCases(kernel, FLOAT32)
    cases.levels["Tq"] = []
    with pytest.raises(SpecError, match="no random case was found"):
        cases[0]
    _CASES[id(kernel), FLOAT32, "cpu", 0, 1] = cases
    result = check_random(load_backend("numpy"), kernel, FLOAT32, 0, 3)
    assert (result.cases, result.unsupported, result.wrong) == (0, 3, 0)
    assert "no random case was found" in (result.reason or "")
