"""The search: where it looks, what it answers, and how often that holds on curves that are known."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from attnbench.crossover.answer import CrossoverAnswer, zero_of
from attnbench.crossover.evidence import MOST_PLACES, AxisPlace
from attnbench.crossover.search import Grid, Search
from tests.crossover.simulated import CURVES, Simulated, drawn_from, recorded


def still(_: np.random.Generator, count: int) -> np.ndarray:
    """No noise to speak of."""
    return np.full(count, 1e-5)


def simulated(curve: Callable[[int], float], grid: Grid | None = None, seed: int = 0) -> Simulated:
    noise = drawn_from(recorded())
    return Simulated(curve, noise, np.random.default_rng(seed), grid or Grid(64, 8192))


def holds(answer: CrossoverAnswer, truth: tuple[float, ...]) -> bool:
    """Whether every crossing that is claimed holds one of the true ones, each another, and a lead has none."""
    if answer.word == "none" and truth:
        return False
    left = list(truth)
    for crossing in answer.crossings:
        inside = [x for x in left if crossing.low <= x <= crossing.high]
        if not inside:
            return False
        left.remove(inside[0])
    return True


def test_a_grid_is_even_on_the_scale_of_logarithms_and_of_whole_numbers_alone() -> None:
    assert Grid(64, 8192).scan() == [64, 128, 256, 512, 1024, 2048, 4096, 8192]
    assert Grid(1, 4).scan() == [1, 2, 3, 4]
    assert Grid(8, 256, 8).scan()[0] == 8
    assert all(x % 8 == 0 for x in Grid(8, 256, 8).scan())
    assert Grid(4, 64, 4).near(9.9) == 8
    assert Grid(3, 100, 4).near(1000) == 99, "the last that a step reaches"


def test_a_crossing_is_closed_in_until_its_ends_are_near() -> None:
    run = Simulated(lambda x: 0.35 * math.log2(x / 613), still, np.random.default_rng(0))
    answer = run.answer()
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

    answer = Simulated(curve, still, np.random.default_rng(0), budget_s=900).answer()
    assert len(answer.crossings) == 2, "B leads from about 1130 to 1860; the scan alone sees A at 1024 and at 2048"


def test_whoever_leads_everywhere_leads_by_no_more_than_it_does() -> None:
    answer = simulated(lambda x: 0.1 + 0.05 * math.log2(x / 64)).answer()
    assert (answer.word, answer.faster) == ("none", "a")
    assert answer.least is not None
    assert 1.0 <= answer.least <= math.exp(0.1) + 0.02


def test_adjacent_numbers_are_as_near_as_it_gets() -> None:
    answer = simulated(lambda x: 0.3 * (x - 5.5), Grid(1, 16)).answer()
    (crossing,) = answer.crossings
    assert (crossing.low, crossing.high) == (5, 6)
    assert crossing.at in (5, 6)


def test_a_jump_is_found_where_it_is() -> None:
    answer = simulated(lambda x: 0.4 if x >= 1000 else -0.4).answer()
    (crossing,) = answer.crossings
    assert crossing.low < 1000 <= crossing.high
    assert crossing.high / crossing.low < 1.4, "a jump is halved, not aimed at: there is no slope"


def test_a_lead_that_does_not_hold_just_beyond_a_crossing_is_seen() -> None:
    """As where a kernel computes in tiles of 128, and 140 tokens take two of them."""

    def curve(x: int) -> float:
        return -0.3 if x == 128 or x > 200 else 0.3

    answer = Simulated(curve, still, np.random.default_rng(0), budget_s=900).answer()
    assert len(answer.crossings) == 3
    assert answer.crossings[-1].low > 128


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
    answers = [simulated(curve, seed=seed).answer() for seed in range(3)]
    assert sum(not holds(answer, truth) for answer in answers) == 0
    assert all(len(answer.crossings) == len(truth) for answer in answers)


def test_a_search_that_trusts_a_single_pair_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the test above can fail."""
    monkeypatch.setattr("attnbench.crossover.evidence.sure", lambda values: 1 if values[0] > 0 else -1)
    answers = [simulated(lambda _: 0.0, seed=seed).answer() for seed in range(3)]
    assert any(answer.crossings for answer in answers)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("worst", [False, True], ids=["all", "worst"])
@pytest.mark.parametrize("name", CURVES)
def test_two_hundred_searches_of_each_curve(name: str, worst: bool) -> None:
    """At least 95 of 100 intervals hold the crossing, and at most 5 of 100 claim one where there is none."""
    curve, truth = CURVES[name]
    noise, wrong, words = drawn_from(recorded(worst=worst)), 0, Counter[str]()
    for seed in range(200):
        answer = Simulated(curve, noise, np.random.default_rng(seed)).answer()
        wrong += not holds(answer, truth)
        words[answer.word] += 1
    assert wrong <= 10, f"{wrong} of 200 wrong: {words}"
