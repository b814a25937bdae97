"""The two kinds of suites: what each is declared with, and what is said of a wrong declaration."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from attnbench.api.suites import AttentionSpec, Case, ObservedSuite, Probe, Problem, Story, Suite, TimedSuite
from attnbench.errors import UsageError

STORY = Story(question="How long?")


def case(T: int) -> Case | None:
    return Case(AttentionSpec(), Problem(Tq=T, D=8)) if T < 100 else None


def observe(probe: Probe, T: int) -> dict[str, float]:
    del probe
    return {"T": T}


AXES = {"T": (16, 24, 100)}
TIMED = TimedSuite(name="timed", story=STORY, axes=AXES, case=case)
OBSERVED = ObservedSuite(name="observed", story=STORY, axes=AXES, observe=observe)
# What a type checker refuses by itself; these tests are about those who have none.
Timed: Callable[..., Any] = TimedSuite
Observed: Callable[..., Any] = ObservedSuite
AnySuite: Callable[..., Any] = Suite


def test_each_is_a_suite_of_its_kind() -> None:
    assert isinstance(TIMED, Suite)
    assert isinstance(OBSERVED, Suite)
    assert (TIMED.timed, OBSERVED.timed) == (True, False)


def test_a_timed_suite_has_a_case_at_each_point_but_those_left_out() -> None:
    assert [(point, timed.problem.Tq) for point, timed in TIMED.cases()] == [({"T": 16}, 16), ({"T": 24}, 24)]


def test_an_observed_suite_has_points_alone() -> None:
    assert list(OBSERVED.cases()) == [({"T": T}, None) for T in AXES["T"]]
    assert OBSERVED.block_of({"T": 16}, "cpu", 1) == ""


def test_other_levels_make_a_suite_of_the_same_kind() -> None:
    assert TIMED.with_axes({"T": [8]}) == replace(TIMED, axes={"T": (8,)})
    assert OBSERVED.with_axes({"T": [8]}) == replace(OBSERVED, axes={"T": (8,)})


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (
            lambda: AnySuite("x", "How long?", AXES, case=case),
            r"suite 'x' is of one of two kinds: TimedSuite, with case\(\*\*point\).*ObservedSuite, with observe\(probe",
        ),
        (lambda: AnySuite(name="x", story=STORY, axes=AXES), "suite 'x' is of one of two kinds"),
        (
            lambda: Timed(name="x", story=STORY, axes=AXES, case=case, observe=observe),
            "suite 'x' is timed, not observed: 'observe' belongs to ObservedSuite",
        ),
        (
            lambda: Observed(name="x", story=STORY, axes=AXES, observe=observe, beside=("T",)),
            "suite 'x' is observed, not timed: 'beside' belongs to TimedSuite",
        ),
        (
            lambda: Timed(name="x", question="How long?", axes=AXES, case=case),
            r"suite 'x' gives its question in its story: story=Story\(question=\.\.\.\)",
        ),
        (
            lambda: Timed(name="x", story="How long?", axes=AXES, case=case),
            r"suite 'x' has 'How long\?' in the place of its story; write story=Story\(question=\.\.\.\)",
        ),
        (
            lambda: Timed(name="x", story=STORY, axes={"t": (1,)}, case=case),
            r"suite 'x' declares the axes \['t'\] but reads \['T'\]",
        ),
        (
            lambda: Observed(name="x", story=STORY, axes={"probe": (1,), "T": (1,)}, observe=observe),
            r"suite 'x' declares the axes \['T', 'probe'\] but reads \['T'\]",
        ),
        (
            lambda: replace(OBSERVED, tiers={"smoke": {"size": (1,)}}),
            "suite 'observed' has no axis 'size' for its tier 'smoke'",
        ),
        (
            lambda: replace(TIMED, thin=(lambda d: d > 1,)),
            "suite 'timed' has no axis 'd' for its rule of thinning to read",
        ),
        (
            lambda: replace(TIMED, beside=("t",)),
            "suite 'timed' has no axis 't' to stand beside each other; it has T",
        ),
    ],
)
def test_a_wrong_declaration_says_what_is_right(declare: Callable[[], Suite], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        declare()


def test_what_nobody_knows_is_refused() -> None:
    with pytest.raises(TypeError, match=r"TimedSuite takes no 'cases'; did you mean 'case'\?"):
        Timed(name="x", story=STORY, axes=AXES, cases=case)
    with pytest.raises(TypeError, match="TimedSuite: missing a required argument: 'case'; it takes name, story, axes"):
        Timed(name="x", story=STORY, axes=AXES)
