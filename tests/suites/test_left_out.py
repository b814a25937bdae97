"""What timed suites leave out by kind: every pattern is of use, and says why."""

import fnmatch

import pytest

from attnbench.api.suites import TimedSuite
from attnbench.attention.problem import Case, Problem
from attnbench.attention.spec import AttentionSpec
from attnbench.backends import discover
from attnbench.measure.run.plan import make_plan
from attnbench.suites import left_out as kinds

KINDS = {name: kind for name, kind in vars(kinds).items() if isinstance(kind, kinds.Kind)}
TIMED = [name for name in discover.suite_names() if discover.suite(name).timed]


def test_a_pattern_of_a_backend_that_is_announced_must_match_something_of_it() -> None:
    known = ("torch/sdpa", "torch/chunked", "keras_jax/ops")
    patterns = ("torch/gone", "torch/sdpa*", "*/pallas", "keras_*/layer", "keras_*/ops", "absent/sdpa", "absent_*/x")
    assert kinds.stale(patterns, known) == ["torch/gone", "keras_*/layer"]


@pytest.mark.parametrize("name", TIMED)
def test_no_suite_leaves_out_what_does_not_exist(name: str) -> None:
    assert kinds.stale(discover.suite(name).leaves_out, discover.implementation_names()) == []


def test_what_one_suite_says_comes_before_the_kinds() -> None:
    patterns = kinds.left_out(kinds.TWINS, kinds.FAR_BEHIND, besides={"mlx/formula": "mine"})
    assert patterns["mlx/formula"] == "mine"
    assert next(why for pattern, why in patterns.items() if fnmatch.fnmatchcase("mlx/sdpa", pattern)).startswith("made")


def test_each_kind_has_a_reason_and_a_use() -> None:
    used = {why for name in TIMED for why in discover.suite(name).leaves_out.values()}
    assert {name for name, kind in KINDS.items() if kind.why not in used} == set()
    assert len({kind.why for kind in KINDS.values()}) == len(KINDS)


@pytest.mark.parametrize("name", ["speed", "decode", "memory", "masks", "threads"])
def test_what_is_left_out_is_measured_once_it_is_named(name: str) -> None:
    assert "mlx/sdpa" not in make_plan([name], probe=False).implementations()
    assert make_plan([name], patterns=["mlx/sdpa"], probe=False).implementations() == ("mlx/sdpa",)


def test_every_pattern_names_something_that_is_announced() -> None:
    known = discover.implementation_names()
    patterns = [*kinds.STORES_SCORES, *(pattern for kind in KINDS.values() for pattern in kind.patterns)]
    assert [pattern for pattern in patterns if not fnmatch.filter(known, pattern)] == []


def test_what_stores_all_scores_is_refused_by_its_pattern_where_they_do_not_fit() -> None:
    case = Case(AttentionSpec(), Problem(Hq=4, Tq=2**15, S=2**15, D=64))
    suite = discover.suite("memory")
    assert isinstance(suite, TimedSuite)
    refuse = suite.refuse
    assert refuse is not None
    assert "stores all scores" in str(refuse(case, "onnxruntime/attention"))
    assert refuse(case, "torch/blocked") is None
