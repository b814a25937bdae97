"""Groups: one name for several suites, each at the levels of a tier."""

import pytest

from attnbench import groups
from attnbench.backends import discover
from attnbench.errors import UsageError
from attnbench.suite import ObservedSuite, Probe, Story

ABLATIONS = {"backend-invariance", "context-length", "gradients", "saturation", "scaling", "score-variance"}


@pytest.mark.parametrize("group", groups.GROUPS)
def test_a_group_holds_the_ablations(group: str) -> None:
    assert {one.name for one in groups.members(group)} >= ABLATIONS


def test_the_standard_tier_is_what_the_suites_are_by_themselves() -> None:
    for one in groups.members("ablations-standard"):
        assert one.axes == discover.suite(one.name).axes


def test_the_smoke_tier_is_small_and_has_at_most_two_seeds() -> None:
    for one in groups.members("ablations-smoke"):
        assert len(list(one.points())) <= 12
        assert len(one.axes.get("seed", (0,))) <= 2


def test_the_full_tier_holds_the_standard_one() -> None:
    for one in groups.members("ablations-full"):
        own = discover.suite(one.name).axes
        assert all(set(own[axis]) <= set(levels) for axis, levels in one.axes.items())


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
