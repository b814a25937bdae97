"""The plan covers what it says, for every declared feature alone, and finds what is wrong somewhere only."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import combinations

import numpy as np
import pytest

from attnbench.agree.cases import dimensions as dims
from attnbench.agree.cases.case_text import case_from_text, case_text
from attnbench.agree.cases.covering import Design, pairs_in
from attnbench.agree.cases.features import features_of, put_down
from attnbench.agree.cases.levels import levels_of
from attnbench.agree.cases.making import Planned, has_a_key
from attnbench.agree.cases.plan import COMPILED_CASES, DEEP, QUICK, boundary_cases, others, planned_cases
from attnbench.agree.check.boundaries import judge_case, with_boundaries
from attnbench.agree.check.rows import UNTRIED, CheckRow
from attnbench.agree.judge.trial import BLUNT
from attnbench.api import Capabilities, Implementation
from attnbench.attention.arrays import Array
from attnbench.attention.inputs import stream
from attnbench.attention.precision import DTYPES
from attnbench.backends.attend import load_backend, resolve
from tests.agree.check import kernels
from tests.proofs import part

FLAGS: tuple[str, ...] = (
    "causal", "gqa", "mask", "bias", "window", "lengths", "segments", "softcap", "sinks", "dropout", "slopes",
    "head_scale", "log_n", "lse", "stages",
)  # fmt: skip
WRONG = {kernel.variant: kernel for kernel in kernels.WRONG}
SOUND = {kernel.variant: kernel for kernel in kernels.SOUND}
# What says something only beside another feature.
BESIDE = {"batch_offset": "causal", "nan_isolation": "lengths"}


def unasked(q: Array, k: Array, v: Array, call: object) -> Array:
    """A kernel of which only the declaration is looked at."""
    raise NotImplementedError


def declaring(**declared: object) -> Implementation:
    return Implementation("numpy/declares", Capabilities(**declared), unasked)  # type: ignore[arg-type]


def test_a_design_holds_every_pair_that_can_be() -> None:
    levels = {"a": ("0", "1", "2"), "b": ("0", "1"), "c": ("0", "1", "2", "3")}
    design = Design(levels, lambda row, _: not (row.get("a") == "2" and row.get("b") == "1"), stream(0, "test"))
    rows = design.rows()
    seen = set.union(*(pairs_in(row) for row in rows))
    every = {frozenset(((x, i), (y, j))) for x, y in combinations(levels, 2) for i in levels[x] for j in levels[y]}
    assert every - seen == {frozenset((("a", "2"), ("b", "1")))}
    assert design.impossible == [(("a", "2"), ("b", "1"))]
    assert len(rows) < 3 * 2 * 4
    missing = set.union(*(pairs_in(row) for row in rows[:-1]))
    assert every - missing - {frozenset((("a", "2"), ("b", "1")))}, "no row of a design is for nothing"


def test_a_pair_is_not_given_up_for_what_stands_beside_it() -> None:
    levels = {"a": ("0", "1", "2"), "b": ("0", "1", "2"), "c": ("0", "1", "2"), "d": ("0", "1", "2")}
    tried: list[dict[str, str]] = []

    def stands(row: dict[str, str]) -> list[dict[str, str]]:
        tried.append(row)
        return [] if row["a"] == "1" and row["b"] == "2" else [row]

    design = Design(levels, lambda *_: True, stream(0, "test"), stands=stands)
    rows = design.rows()
    seen = set.union(*(pairs_in(row) for row in rows))
    every = {frozenset(((x, i), (y, j))) for x, y in combinations(levels, 2) for i in levels[x] for j in levels[y]}
    assert every - seen == {frozenset((("a", "1"), ("b", "2")))}
    assert design.impossible == [(("a", "1"), ("b", "2"))]
    assert sum(not stands(row) for row in list(tried)) < 12, "what was seen not to stand is not tried again"


@cache
def of_naive() -> tuple[dict[str, list[str]], list[Planned]]:
    _, kernel = resolve("numpy/naive")
    return levels_of(kernel, DTYPES), planned_cases(kernel)


def possible(levels: dict[str, list[str]]) -> list[frozenset[tuple[str, str]]]:
    """The pairs of levels that no rule excludes."""
    every = [((x, i), (y, j)) for x, y in combinations(levels, 2) for i in levels[x] for j in levels[y]]
    return [frozenset(pair) for pair in every if dims.fits(dict(pair))]


def is_out_of_reach(pair: frozenset[tuple[str, str]]) -> bool:
    """What no rule says of two levels alone: gradients beside a NaN, and a cache beside so many queries."""
    names = {name for name, _ in pair}
    if "poison" in names:
        return bool(names & {"wanted", "cotangent"}) and not {level for _, level in pair}.isdisjoint(dims.SEEN)
    return ("where", "past") in pair and bool(pair & {("Tq", level) for level in ("1024+", "2048+", "4096+")})


def test_the_plan_holds_every_two_classes_of_all_that_naive_supports() -> None:
    available, plan = of_naive()
    assert set(available["Tq"]) == set(dims.LENGTHS)
    assert set(available["S"]) == {*dims.LENGTHS, dims.SQUARE}
    for name, levels in available.items():
        assert {planned.row[name] for planned in plan} == set(levels), name
    seen = set.union(*(pairs_in(planned.row) for planned in plan if not planned.dead))
    missing = [pair for pair in possible(available) if pair not in seen]
    assert [pair for pair in missing if not is_out_of_reach(pair)] == []


def test_no_case_of_the_plan_is_without_a_key_but_for_a_few_that_cover_nothing() -> None:
    _, plan = of_naive()
    dead = [planned for planned in plan if not has_a_key(planned.case)]
    assert dead == [planned for planned in plan if planned.dead]
    assert len(dead) == 4


def test_long_sequences_are_tried_with_lengths_that_tiles_divide_and_others() -> None:
    _, plan = of_naive()
    for name in ("Tq", "S"):
        for level in ("1024+", "2048+", "4096+", "8192+"):
            values = Counter(
                getattr(planned.case.problem, name) % 64 == 0 for planned in plan if planned.row[name] == level
            )
            assert min(values[True], values[False]) >= 5, (name, level)


def test_every_dtype_is_tried_without_gradients_too_and_sees_a_nan_there() -> None:
    _, plan = of_naive()
    for dtype in DTYPES:
        about = [planned for planned in plan if planned.row["mode"] == f"{dtype} forward"]
        assert {"nan_query", "nan_key", "nan_value"} <= {planned.row["poison"] for planned in about}
        assert {planned.row["S"] for planned in about} == {*dims.LENGTHS, dims.SQUARE}


def test_masks_and_biases_of_every_rank_stand_beside_several_heads_and_batch_entries() -> None:
    _, plan = of_naive()
    for name in ("mask", "bias"):
        about = [planned for planned in plan if planned.case.problem.B > 1 and planned.case.problem.Hq > 1]
        assert {planned.row[name] for planned in about} == set(dims.FEATURES[name])


def test_the_plan_is_the_same_every_time_and_its_texts_are_its_cases() -> None:
    _, kernel = resolve("numpy/naive")
    first, again = (boundary_cases(kernel, DTYPES, (), depth=QUICK) for _ in range(2))
    assert first == again
    assert [case_text(case_from_text(text)) for text in first] == first
    assert len(boundary_cases(kernel, DTYPES, ("sinks",), depth=QUICK)) < len(first)
    assert DEEP != QUICK


def not_ok(cases: list[str]) -> list[tuple[str, str | None]]:
    """Those that numpy/naive fails, or in which the bound is so wide that it cannot."""
    backend, kernel = resolve("numpy/naive")
    results = (judge_case(backend, kernel, case) for case in cases)
    return [(result.case, result.reason) for result in results if result.status != "ok"]


@pytest.mark.slow
@pytest.mark.proof
def test_every_case_of_the_whole_plan_can_fail() -> None:
    _, kernel = resolve("numpy/naive")
    assert not_ok(boundary_cases(kernel, DTYPES, ())) == []


def test_every_case_can_fail() -> None:
    """None whose bound is so wide that it would say nothing; one of that kind is not tried, and says why."""
    backend, kernel = resolve("numpy/naive")
    assert not_ok(boundary_cases(kernel, DTYPES, (), depth=QUICK)) == []
    blunt = judge_case(backend, kernel, "Tq=2 S=300 D=8 dtype=bfloat16 distribution=large_mean")
    assert (blunt.status, blunt.reason) == (UNTRIED, BLUNT)
    before = [CheckRow(kernel.name, "sizes", "bfloat16", "cpu", UNTRIED, 0)]
    rows = with_boundaries(before, [blunt], gradients=True)
    # It is about two rows and is counted in the first of them.
    seen = {row.feature: (row.status, row.cases, row.asked, row.untried) for row in rows}
    assert seen == {"sizes": (UNTRIED, 0, 1, None), "inputs": (UNTRIED, 0, 1, {BLUNT: 1})}


@pytest.mark.parametrize("flag", part((*FLAGS, *BESIDE), ("causal", "lengths", "dropout", "lse", "nan_isolation")))
def test_every_declared_feature_has_cases_in_every_dtype_that_need_nothing_else(flag: str) -> None:
    plan = planned_cases(declaring(dtypes=DTYPES, gradients=True, **{flag: True, BESIDE.get(flag, flag): True}))
    for dtype in DTYPES:
        about = [planned for planned in plan if planned.case.problem.dtype == dtype and planned.case.gradients]
        with_it = [planned for planned in about if flag in features_of(planned.case)]
        assert len(with_it) >= 2, (flag, dtype, len(about))
        assert len({planned.row["S"] for planned in with_it} | {planned.row["Tq"] for planned in with_it}) >= 3, (
            flag,
            dtype,
        )


@pytest.mark.parametrize(
    "declared",
    [
        {"causal": True, "mask": True, "bias": True, "lse": True, "gqa": True, "lengths": True},
        {"causal": True},
        {"causal": True, "only": ("causal", "square")},
    ],
    ids=["much", "no shared heads", "causal and square"],
)
def test_where_every_case_is_compiled_few_hold_every_class_and_each_dtype_most(declared: dict[str, object]) -> None:
    kernel = declaring(dtypes=DTYPES, gradients=True, **declared)
    available = levels_of(kernel, DTYPES)
    plan = planned_cases(kernel, compiles=True, most=COMPILED_CASES)
    assert len(plan) <= COMPILED_CASES
    every = [planned for first in plan for planned in (first, *others(kernel, first))]
    for name, levels in available.items():
        assert {planned.row[name] for planned in every} == set(levels), name
    modes = [mode for mode in available["mode"] if mode.endswith("backward")]
    seen = {(planned.row["mode"], name, level) for planned in every for name, level in planned.row.items()}
    for mode in modes:
        wanted = [(name, level) for name in available for level in available[name] if name != "mode"]
        wanted = [(name, level) for name, level in wanted if dims.fits({"mode": mode, name: level})]
        missing = [(name, level) for name, level in wanted if (mode, name, level) not in seen]
        # A dozen cases of a dtype hold a dozen lengths and groups of heads.
        assert all(count <= 6 for count in Counter(name for name, _ in missing).values()), (mode, missing)
        assert len([name for name, _ in missing if name not in ("Tq", "S", "heads")]) <= 8, (mode, missing)
    poisons = {*dims.SEEN} & set(available["poison"])
    for dtype in DTYPES:
        tried = {planned.row["poison"] for planned in every if planned.row["mode"] == f"{dtype} forward"}
        assert not poisons or tried & poisons


def first_wrong(kernel: Implementation, step: int = 1) -> str | None:
    """The first case of one sweep of the plan that disagrees, in float32 alone; of every ``step``-th case."""
    backend = load_backend("numpy")
    cases = [case_text(planned.case) for planned in planned_cases(kernel, ("float32",))[::step]]
    results = (judge_case(backend, kernel, case) for case in cases)
    return next((planned.reason for planned in results if planned.status == "wrong"), None)


@pytest.mark.parametrize("name", part(WRONG, ("tile-start", "fives", "many-keys", "length-0")))
def test_what_is_wrong_somewhere_is_found(name: str) -> None:
    assert first_wrong(WRONG[name]) is not None


@pytest.mark.parametrize("name", part(SOUND, ("causal", "lengths")))
def test_a_sound_twin_is_not_accused(name: str) -> None:
    assert first_wrong(SOUND[name], step=4) is None


def test_a_long_tail_that_a_running_sum_loses_accuses_nobody() -> None:
    """Its weights are below half a unit in the last place of the sum so far, and all of them are lost downwards."""
    sizes = "scale=3.5 B=2 Hq=18 Hkv=3 Tq=11 S=3072 D=3"
    case = f"{sizes} seed=1955211550 distribution=large_mean operands=layout_expanded,zeros"
    result = judge_case(load_backend("numpy"), SOUND["grouped"], case)
    assert result.status == "ok", result.reason


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("name", SOUND)
def test_a_sound_twin_is_accused_by_no_case_of_the_plan(name: str) -> None:
    assert first_wrong(SOUND[name]) is None


def test_a_disagreement_is_put_down_to_one_row() -> None:
    cases = [(("causal", "mask", "sizes"), True), (("causal", "sizes"), True), (("mask", "sizes"), False)]
    cases += [(("sizes",), False), (("window", "mask", "sizes"), True), (("window", "sizes"), True)]
    assert put_down(cases) == ["causal", "causal", None, None, "window", "window"]
    assert put_down([(("sizes",), False)]) == [None]


def test_no_disagreement_is_lost_and_rows_count_their_cases() -> None:
    kernel = WRONG["many-keys"]
    backend = load_backend("numpy")
    plain = ("Tq=3 S=9", "Tq=1 S=2049 D=3", "Tq=9 S=3 operands=layout_step", "Tq=2 S=4097 D=1", "Tq=17 S=65")
    results = [judge_case(backend, kernel, case) for case in plain]
    long = judge_case(backend, kernel, "Tq=3 S=2100 D=8")
    assert long.status == "wrong"
    before = [CheckRow(kernel.name, "sizes", "float32", "cpu", "ok", 2, error_ratio=0.1, asked=2)]
    (row, *others) = with_boundaries(before, [*results, long], gradients=False)
    assert row.feature == "sizes"
    assert row.status == "wrong"
    assert row.failing
    assert row.cases > 2
    assert all(other.status == "ok" for other in others)
    assert np.isfinite(row.error_ratio or 0.0)
