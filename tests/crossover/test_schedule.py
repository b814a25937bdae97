"""Time: what a pair has time for, what is too dear, and that larger places are begun when smaller ones were seen."""

from __future__ import annotations

import math

import pytest

from attnbench.crossover.evidence import AxisPlace
from attnbench.crossover.schedule import FARTHEST, Cost, Schedule, check_budget
from attnbench.errors import UsageError


def places(*xs: int) -> list[AxisPlace]:
    return [AxisPlace(x) for x in xs]


def known(budget_s: float = 180.0, power: float = 2.0) -> Schedule:
    schedule = Schedule(budget_s, power)
    schedule.learn(2.0, 5.0, {64: Cost(0.5, 1.5, 0.5, 0.001), 512: Cost(1.0, 2.0, 0.5, 0.06)})
    return schedule


def test_the_first_pair_has_the_lower_half() -> None:
    wanted = places(64, 128, 256, 512, 1024)
    assert [place.x for place in Schedule(60.0).fitting(wanted, 60.0)] == [64, 128, 256]
    assert Schedule(1.0).fitting(wanted, 1.0) == []
    assert len(Schedule(math.inf).fitting(wanted, math.inf)) == 3


def test_the_first_pair_has_one_place_alone_where_there_is_little_time() -> None:
    wanted = places(64, 128, 256, 512, 1024, 2048, 4096, 8192)
    counts = {left: len(Schedule(left).fitting(wanted, left)) for left in (2.5, 5.0, 5.5, 20.0)}
    assert counts == {2.5: 1, 5.0: 2, 5.5: 2, 20.0: 4}


def test_a_budget_in_which_no_pair_would_be_begun_is_refused() -> None:
    check_budget(2.6, "2.6s")
    with pytest.raises(UsageError, match=r"--budget 2\.5s is too short .* type --budget 20s or more"):
        check_budget(2.5, "2.5s")


def test_a_place_is_begun_when_a_nearer_one_was_seen() -> None:
    chosen = [place.x for place in known().fitting(places(64, 1024, 512 * int(FARTHEST) * 2), 100.0)]
    assert chosen == [64, 1024]


def test_cost_grows_with_the_work_and_never_below_what_is_fixed() -> None:
    schedule = known()
    longer, shorter = schedule.cost(1024), schedule.cost(32)
    assert longer is not None
    assert shorter is not None
    assert math.isclose(longer.again_s, 0.5 + 4 * 0.5)
    assert longer.first_s > longer.again_s
    assert shorter.again_s >= 0.5
    assert Schedule(9.0).cost(64) is None


def test_what_takes_too_much_of_the_budget_is_too_dear() -> None:
    assert known(100.0).too_dear(places(64, 512, 1024)) is None
    dear = known(100.0).too_dear(places(64, 2048, 1900))
    assert dear is not None
    assert dear.x == 1900
    assert known(math.inf).too_dear(places(2048)) is None
    measured = AxisPlace(2048, values=[0.1])
    assert known(9.0).too_dear([measured]) is None, "what was measured once goes on"


def test_no_more_is_chosen_than_there_is_time_for() -> None:
    chosen = known().fitting([AxisPlace(64, values=[1.0]), AxisPlace(512, values=[1.0]), AxisPlace(256)], 3.2)
    assert [place.x for place in chosen] == [64]
