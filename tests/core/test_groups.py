"""Groups: one name for several suites, each at the levels of a tier."""

import pytest

from attnbench import groups
from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.suite import ObservedSuite, Probe, Story

ABLATIONS = {"backend-invariance", "context-length", "gradients", "saturation", "scaling", "score-variance"}


@pytest.mark.parametrize("group", groups.GROUPS)
def test_a_group_holds_the_ablations(group: str) -> None:
    assert {suite.name for suite in groups.members(group)} >= ABLATIONS


def test_the_standard_tier_is_what_the_suites_are_by_themselves() -> None:
    for suite in groups.members("ablations-standard"):
        assert suite.axes == discover.suite(suite.name).axes


def test_the_smoke_tier_is_small_and_has_at_most_two_seeds() -> None:
    for suite in groups.members("ablations-smoke"):
        assert len(list(suite.points())) <= 12
        assert len(suite.axes.get("seed", (0,))) <= 2


def test_the_full_tier_holds_the_standard_one() -> None:
    for suite in groups.members("ablations-full"):
        standard = discover.suite(suite.name).axes
        assert all(set(standard[axis]) <= set(levels) for axis, levels in suite.axes.items())


def test_other_names_stand_for_themselves() -> None:
    assert groups.expanded(["smoke"]) == ["smoke"]
    with pytest.raises(UsageError, match="unknown suite 'ablations'"):
        groups.suites_of(["ablations"])


def test_a_tier_of_an_unknown_axis_is_an_error() -> None:
    def observe(probe: Probe, d: int) -> dict[str, float]:
        del probe
        return {"d": d}

    with pytest.raises(UsageError, match="has no axis 'size' for its tier 'smoke'"):
        ObservedSuite(
            name="x", story=Story(question="?"), axes={"d": (1,)}, observe=observe, tiers={"smoke": {"size": (1,)}}
        )
