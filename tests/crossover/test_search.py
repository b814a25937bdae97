"""The search: where it looks, what it answers, and how often that holds on curves that are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from attnbench.crossover.answer import Crossing, flips, zero_of
from attnbench.crossover.evidence import MOST_PLACES, AxisPlace
from attnbench.crossover.search import Grid, Search
from tests.crossover.simulated import CURVES, GRID, Machine, Walk, drawn_from, holds, recorded, walked


def still(_: np.random.Generator, count: int) -> np.ndarray:
    """No noise to speak of."""
    return np.full(count, 1e-5)


def simulated(curve: Callable[[int], float], grid: Grid = GRID, seed: int = 0) -> Walk:
    return walked(curve, Machine(drawn_from(recorded()), np.random.default_rng(seed)), grid)


def quiet(curve: Callable[[int], float], budget_s: float = 180.0) -> Walk:
    return walked(curve, Machine(still, np.random.default_rng(0), budget_s))


def test_a_grid_is_even_on_the_scale_of_logarithms_and_of_whole_numbers_alone() -> None:
    assert Grid(64, 8192).scan() == [64, 128, 256, 512, 1024, 2048, 4096, 8192]
    assert Grid(1, 4).scan() == [1, 2, 3, 4]
    assert Grid(96, 256).scan() == [96, 117, 142, 173, 210, 256], "a narrow range is looked at closely"
    assert Grid(8, 256, 8).scan()[0] == 8
    assert all(x % 8 == 0 for x in Grid(8, 256, 8).scan())
    assert Grid(4, 64, 4).near(9.9) == 8
    assert Grid(3, 100, 4).near(1000) == 99, "the last that a step reaches"


def test_a_crossing_is_closed_in_until_its_ends_are_near() -> None:
    run = quiet(lambda x: 0.35 * math.log2(x / 613))
    answer = run.search.answer()
    (crossing,) = answer.crossings
    assert crossing.low < 613 <= crossing.high
    assert crossing.high <= 1.06 * crossing.low
    assert abs(crossing.at - 613) < 12
    assert (crossing.faster_below, crossing.faster_above) == ("b", "a")
    assert len(run.search.places) <= MOST_PLACES


def test_a_dip_between_two_places_of_the_scan_is_looked_into() -> None:
    centre = math.log2(1450)

    def curve(x: int) -> float:
        return 0.9 * (math.log2(x) - centre) ** 2 - 0.12

    answer = quiet(curve, 900).search.answer()
    assert len(answer.crossings) == 2, "B leads from about 1130 to 1860; the scan alone sees A at 1024 and at 2048"


def test_whoever_leads_everywhere_leads_by_no_more_than_it_does() -> None:
    answer = simulated(lambda x: 0.1 + 0.05 * math.log2(x / 64)).search.answer()
    assert (answer.word, answer.faster) == ("none", "a")
    assert answer.least is not None
    assert 1.0 <= answer.least <= math.exp(0.1) + 0.02


def test_adjacent_numbers_are_as_near_as_it_gets() -> None:
    answer = simulated(lambda x: 0.3 * (x - 5.5), Grid(1, 16)).search.answer()
    (crossing,) = answer.crossings
    assert (crossing.low, crossing.high) == (5, 6)
    assert crossing.at in (5, 6)


def test_a_jump_is_found_where_it_is() -> None:
    answer = simulated(lambda x: 0.4 if x >= 1000 else -0.4).search.answer()
    (crossing,) = answer.crossings
    assert crossing.low < 1000 <= crossing.high
    assert crossing.high / crossing.low < 1.4, "a jump is halved, not aimed at: there is no slope"


def test_a_lead_that_does_not_hold_just_beyond_a_crossing_is_seen() -> None:
    """As where a kernel computes in tiles of 128, and 140 tokens take two of them."""

    def curve(x: int) -> float:
        return -0.3 if x == 128 or x > 200 else 0.3

    answer = quiet(curve, 900).search.answer()
    assert len(answer.crossings) == 3
    assert answer.crossings[-1].low > 128
    (stretch,) = flips(answer.crossings)
    assert (stretch.names, stretch.crossings) == (("a", "b"), 3)
    assert stretch.low < 128 <= stretch.high


def test_crossings_far_apart_and_those_of_others_are_single_points() -> None:
    first, near, far = (
        Crossing(at, low, high, "a", "b") for at, low, high in ((110, 100, 120), (200, 180, 230), (900, 800, 1000))
    )
    assert [(s.low, s.high) for s in flips([far, near, first])] == [(100, 230)]
    assert flips([first, far]) == ()
    assert flips([first, Crossing(200, 180, 230, "b", "c")]) == ()


def test_a_place_that_cannot_be_measured_bounds_the_axis() -> None:
    search = Search("a", "b", Grid(64, 8192))
    assert search.stop(2048, "out of memory", beyond=True) == [2048, 4096, 8192]
    assert [place.x for place in search.live] == [64, 128, 256, 512, 1024]
    for place in search.live:
        place.values += [0.5] * 3
        place.sign = 1
    assert search.answer().word == "none"
    assert search.grid.high == 2047


def test_one_that_is_refused_in_the_middle_leaves_the_others() -> None:
    search = Search("a", "b", Grid(64, 8192))
    assert search.stop(512, "not supported") == [512]
    assert len(search.live) == 7


def test_nothing_measured_cannot_be_told() -> None:
    assert Search("a", "b", Grid(64, 8192)).answer().word == "cannot-be-told"


def test_the_zero_of_monotone_means_is_between_them() -> None:
    places = [AxisPlace(x, values=[y]) for x, y in ((100, -0.2), (200, 0.1), (300, -0.05), (400, 0.3))]
    zero = math.exp(zero_of(places, rising=True))
    assert 100 < zero < 200
    assert math.exp(zero_of(places[:1], rising=True)) == pytest.approx(100)


@pytest.mark.parametrize("name", CURVES)
def test_known_curves_in_recorded_noise(name: str) -> None:
    curve, truth = CURVES[name]
    answers = [simulated(curve, seed=seed).search.answer() for seed in range(3)]
    assert sum(not holds(answer, truth) for answer in answers) == 0
    # Of a notch both ends are to be told, or neither is: then an interval holds all three.
    assert all((len(truth) - len(answer.crossings)) % 2 == 0 for answer in answers)
    assert sum(len(answer.crossings) == len(truth) for answer in answers) >= (2 if name == "in tiles" else 3)


def test_twins_open_no_place_beyond_the_scan_and_leave_a_third_of_the_budget() -> None:
    walks = [simulated(lambda _: 0.0, seed=seed) for seed in range(8)]
    assert {len(walk.search.places) for walk in walks} == {8}
    assert all(walk.search.answer().word == "cannot-be-told" for walk in walks)
    assert np.mean([walk.machine.now for walk in walks]) < 0.75 * 180


def test_no_more_is_spent_on_twins_with_ten_times_the_budget() -> None:
    walk = walked(lambda _: 0.0, Machine(drawn_from(recorded()), np.random.default_rng(0), 1800.0))
    assert walk.machine.now < 600


def test_a_lead_of_three_in_a_hundred_is_not_given_up() -> None:
    """The proof that the rule above does not give up what can be told."""
    answer = walked(lambda _: 0.03, Machine(drawn_from(recorded()), np.random.default_rng(0), 600.0)).search.answer()
    assert (answer.word, answer.faster) == ("none", "a")


def test_places_just_beyond_a_crossing_are_looked_at_on_both_sides() -> None:
    walk = quiet(lambda x: 0.35 * math.log2(x / 613), 900)
    (crossing,) = walk.search.answer().crossings
    for side in (-1, 1):
        end = crossing.high if side > 0 else crossing.low
        beyond = [x for x in walk.search.places if 0 < side * math.log(x / end) <= math.log(1.3)]
        assert len(beyond) >= 2, (crossing, sorted(walk.search.places))


def test_a_search_that_trusts_a_single_pair_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the test above can fail."""
    monkeypatch.setattr("attnbench.crossover.evidence.sure", lambda values, _: 1 if values[0] > 0 else -1)
    answers = [simulated(lambda _: 0.0, seed=seed).search.answer() for seed in range(3)]
    assert any(answer.crossings for answer in answers)
