"""The plan covers what it says, for every declared feature alone, and finds what is wrong somewhere only."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from attnbench.agree.case_text import case_from_text, case_text
from attnbench.agree.check import dimensions as dims
from attnbench.agree.check.boundaries import judge_case, with_boundaries
from attnbench.agree.check.covering import Design, pairs_in
from attnbench.agree.check.features import features_of, put_down
from attnbench.agree.check.plan import DEEP, QUICK, boundary_cases, levels_of, planned_cases
from attnbench.agree.check.rows import UNTRIED, CheckRow
from attnbench.agree.trial import BLUNT
from attnbench.api import Capabilities, Implementation
from attnbench.attention import load_backend, resolve
from attnbench.inputs import stream
from attnbench.precision import DTYPES
from tests.agree.check.kernels import SOUND, WRONG, soft

FLAGS: tuple[str, ...] = (
    "causal", "gqa", "mask", "bias", "window", "lengths", "segments", "softcap", "sinks", "dropout", "slopes",
    "head_scale", "log_n", "lse", "stages",
)  # fmt: skip
# What says something only beside another feature.
BESIDE = {"batch_offset": "causal", "nan_isolation": "lengths"}


def declaring(**declared: object) -> Implementation:
    return Implementation("numpy/declares", Capabilities(**declared), soft)  # type: ignore[arg-type]


def test_a_design_holds_every_pair_that_can_be() -> None:
    levels = {"a": ("0", "1", "2"), "b": ("0", "1"), "c": ("0", "1", "2", "3")}
    design = Design(levels, lambda row: not (row.get("a") == "2" and row.get("b") == "1"), stream(0, "test"))
    rows = design.rows()
    seen = set.union(*(pairs_in(row) for row in rows))
    every = {frozenset(((x, i), (y, j))) for x, y in combinations(levels, 2) for i in levels[x] for j in levels[y]}
    assert every - seen == {frozenset((("a", "2"), ("b", "1")))}
    assert design.impossible == [(("a", "2"), ("b", "1"))]
    assert len(rows) < 3 * 2 * 4
    missing = set.union(*(pairs_in(row) for row in rows[:-1]))
    assert every - missing - {frozenset((("a", "2"), ("b", "1")))}, "no row of a design is for nothing"


def test_the_plan_holds_every_two_classes_of_all_that_naive_supports() -> None:
    _, kernel = resolve("numpy/naive")
    available, plan = levels_of(kernel, DTYPES), planned_cases(kernel)
    assert set(available["Tq"]) == set(dims.LENGTHS)
    assert set(available["S"]) == {*dims.LENGTHS, dims.SQUARE}
    for name, levels in available.items():
        assert {one.row[name] for one in plan} == set(levels), name
    seen = set.union(*(pairs_in(one.row) for one in plan))
    every = [
        frozenset(((x, i), (y, j))) for x, y in combinations(available, 2) for i in available[x] for j in available[y]
    ]
    missing = [pair for pair in every if pair not in seen]
    # Too much work, or without a meaning: poison without a place, a cache that is longer than the keys, and their like.
    assert len(missing) < 0.05 * len(every)
    assert not [p for p in missing if {name for name, _ in p} <= {"mode", "mask", "bias", "causal", "window", "score"}]


def test_the_plan_is_the_same_every_time_and_its_texts_are_its_cases() -> None:
    _, kernel = resolve("numpy/naive")
    first, again = (boundary_cases(kernel, DTYPES, (), depth=QUICK) for _ in range(2))
    assert first == again
    assert [case_text(case_from_text(text)) for text in first] == first
    assert len(boundary_cases(kernel, DTYPES, ("sinks",), depth=QUICK)) < len(first)
    assert DEEP != QUICK


def test_every_case_can_fail() -> None:
    """None whose bound is so wide that it would say nothing; one of that kind is not tried, and says why."""
    backend, kernel = resolve("numpy/naive")
    found = [judge_case(backend, kernel, case) for case in boundary_cases(kernel, DTYPES, (), depth=QUICK)]
    assert [(one.case, one.reason) for one in found if one.status != "ok"] == []
    blunt = judge_case(backend, kernel, "Tq=2 S=300 D=8 dtype=bfloat16 distribution=large_mean")
    assert (blunt.status, blunt.reason) == (UNTRIED, BLUNT)
    before = [CheckRow(kernel.name, "sizes", "bfloat16", "cpu", UNTRIED, 0)]
    rows = with_boundaries(before, [blunt], gradients=True)
    # It is about two rows and is counted in the first of them.
    told = {row.feature: (row.status, row.cases, row.asked, row.untried) for row in rows}
    assert told == {"sizes": (UNTRIED, 0, 1, None), "inputs": (UNTRIED, 0, 1, {BLUNT: 1})}


@pytest.mark.parametrize("flag", [*FLAGS, *BESIDE])
def test_every_declared_feature_has_cases_in_every_dtype_that_need_nothing_else(flag: str) -> None:
    plan = planned_cases(declaring(dtypes=DTYPES, gradients=True, **{flag: True, BESIDE.get(flag, flag): True}))
    for dtype in DTYPES:
        about = [one for one in plan if one.case.problem.dtype == dtype and one.case.gradients]
        with_it = [one for one in about if flag in features_of(one.case)]
        assert len(with_it) >= 2, (flag, dtype, len(about))
        assert len({one.row["S"] for one in with_it} | {one.row["Tq"] for one in with_it}) >= 3, (flag, dtype)


def test_where_every_shape_is_compiled_few_shapes_carry_all_classes_of_sizes() -> None:
    _, kernel = resolve("numpy/naive")
    plan = planned_cases(kernel, by_shape=True)
    shapes = {tuple(one.row[name] for name in dims.SIZES) for one in plan}
    assert len(shapes) <= 20
    for name, levels in levels_of(kernel, DTYPES).items():
        assert {one.row[name] for one in plan} == set(levels), name


def first_wrong(kernel: Implementation, step: int = 1) -> str | None:
    """The first case of one sweep of the plan that disagrees, in float32 alone; of every ``step``-th case."""
    backend = load_backend("numpy")
    cases = [case_text(one.case) for one in planned_cases(kernel, ("float32",))[::step]]
    results = (judge_case(backend, kernel, case) for case in cases)
    return next((one.reason for one in results if one.status == "wrong"), None)


@pytest.mark.parametrize("kernel", WRONG, ids=lambda kernel: kernel.variant)
def test_what_is_wrong_somewhere_is_found(kernel: Implementation) -> None:
    assert first_wrong(kernel) is not None


@pytest.mark.parametrize("kernel", SOUND, ids=lambda kernel: kernel.variant)
def test_a_sound_twin_is_not_accused(kernel: Implementation) -> None:
    assert first_wrong(kernel, step=4) is None


def test_a_disagreement_is_put_down_to_one_row() -> None:
    cases = [(("causal", "mask", "sizes"), True), (("causal", "sizes"), True), (("mask", "sizes"), False)]
    cases += [(("sizes",), False), (("window", "mask", "sizes"), True), (("window", "sizes"), True)]
    assert put_down(cases) == ["causal", "causal", None, None, "window", "window"]
    assert put_down([(("sizes",), False)]) == [None]


def test_no_disagreement_is_lost_and_rows_count_their_cases() -> None:
    kernel = next(one for one in WRONG if one.variant == "many-keys")
    backend = load_backend("numpy")
    results = [judge_case(backend, kernel, case) for case in boundary_cases(kernel, ("float32",), (), depth=QUICK)]
    long = judge_case(backend, kernel, "Tq=3 S=2100 D=8")
    assert long.status == "wrong"
    before = [CheckRow(kernel.name, "sizes", "float32", "cpu", "ok", 2, error_ratio=0.1, asked=2)]
    (row, *others) = with_boundaries(before, [*results, long], gradients=False)
    assert row.feature == "sizes"
    assert row.status == "wrong"
    assert row.failing
    assert row.cases > 2
    assert all(one.status == "ok" for one in others)
    assert np.isfinite(row.error_ratio or 0.0)
