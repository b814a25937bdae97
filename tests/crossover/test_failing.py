"""Visits whose processes are not there: what a crash at one place is, what is too dear, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from attnbench.commands.live.crossover import json_document
from attnbench.crossover.axes import AXES, AxisSetting
from attnbench.crossover.envelope import concluded
from attnbench.crossover.evidence import AxisPlace
from attnbench.crossover.measuring import CrossoverOutcome, Ring, absent, exit_code
from attnbench.crossover.question import CrossoverQuestion
from attnbench.crossover.schedule import Cost, Schedule
from attnbench.crossover.search import Grid, Search
from attnbench.crossover.sentences import main_sentence, sentences
from attnbench.crossover.visits import Match
from attnbench.live.duo import Twin
from attnbench.live.pairs import Pairs
from attnbench.live.twin_state import TwinState

A, B = "numpy/naive", "numpy/blocked"


@dataclass
class Drawn:
    """Pairs of processes that are not there: a log-ratio for each place, or how B fails at it."""

    ratios: Mapping[int, float]
    fails: Mapping[int, str] = field(default_factory=dict)
    wobble: float = 0.0
    places: dict[str, AxisPlace] = field(default_factory=dict)

    def add(self, twin: Twin, place: AxisPlace) -> TwinState:
        """As ``Pairs.add``."""
        self.places[twin.id] = place
        return TwinState(twin, place)

    def pair(self, states: list[TwinState], *_: object, **__: object) -> dict[str, Any]:
        """As ``Pairs.pair``: who fails beside others has its next pair alone."""
        cells = {}
        for state in states:
            place = self.places[state.twin.id]
            if place.x not in self.fails:
                turned = self.wobble * (-1) ** len(place.values)
                place.add(self.ratios.get(place.x, self.ratios[0]) + turned)
                both = [{"side": side, "wall_ns": 4e7, "calls": 40} for side in "AB"]
                cells[state.twin.id] = {"bursts": both}
            elif len(states) > 1 and self.fails[place.x] in ("crashed", "oom"):
                state.apart = True
            else:
                state.end(self.fails[place.x], "B", f"it {self.fails[place.x]}")
        return {"greeted_s": 1.0, "seconds": 2.0, "cells": cells}


def told(
    drawn: Drawn, seconds: float = 1000.0, grid: Grid | None = None, axis: str = "tokens", pair_s: float = 2.0
) -> CrossoverOutcome:
    """What is said when all visits were made."""
    grid = grid or Grid(64, 512)
    question = CrossoverQuestion((A, B), AXES[axis], AxisSetting(), grid)
    schedule = Schedule(seconds, question.axis.power)
    match = Match(A, B, question, cast("Pairs", drawn), Search(A, B, grid), schedule)
    left, pairs = seconds, 0
    while match.visit(left):
        left, pairs = left - pair_s, pairs + 1
    ring = Ring(question.names, [match])
    word, crossings, stretches = concluded({(A, B): match.search}, question.names, absent(ring))
    stops = tuple(match.stops)
    code = exit_code(word, stops, measured=pairs > 0, interrupted=False)
    return CrossoverOutcome(
        question, (match,), word, crossings, stretches, "run", Path("run"), "machine", pairs, 1.0, None, code
    )


def test_a_crash_at_one_place_is_said_and_the_larger_ones_are_measured() -> None:
    outcome = told(Drawn({0: 0.5}, {128: "crashed"}))
    assert outcome.exit_code == 4
    said = main_sentence(outcome)
    assert said == f"no crossing: {A} is faster everywhere from T = 64 to 512, by a factor of 1.65 at least"
    assert f"{B} is left out at T = 128: crashed (it crashed)." in sentences(outcome)


def test_a_second_crash_ends_it_there() -> None:
    outcome = told(Drawn({0: 0.5}, {256: "crashed", 512: "crashed"}), grid=Grid(64, 4096))
    lines = sentences(outcome)
    assert f"{B} is left out at T = 256: crashed (it crashed)." in lines
    assert f"{B} stops at T = 512: crashed (it crashed)." in lines
    assert not any(place.values for x, place in outcome.matches[0].search.places.items() if x > 512)


def test_what_is_too_much_at_a_place_says_nothing_of_larger_ones_that_were_measured() -> None:
    lines = sentences(told(Drawn({0: 0.5}, {128: "oom"})))
    assert f"{B} is left out at T = 128: out of memory (it oom)." in lines


def test_what_crashed_beside_others_is_a_failure_though_no_time_was_left_to_try_it_alone() -> None:
    outcome = told(Drawn({0: 0.5}, {128: "crashed"}), seconds=6.0, pair_s=6.0)
    assert outcome.exit_code == 4
    assert any("T = 128: not measured: one of the two failed" in line for line in sentences(outcome))


def test_wrong_answers_of_many_places_are_one_line() -> None:
    outcome = told(Drawn({0: 0.5}, {128: "wrong", 256: "wrong", 512: "wrong"}))
    assert outcome.exit_code == 1
    assert f"{B} is left out at T = 128, 256, 512: wrong (it wrong)." in sentences(outcome)
    assert main_sentence(outcome).startswith(f"no crossing: {A} is faster at T = 64, by")


def test_a_place_far_beyond_those_that_failed_is_measured_all_the_same() -> None:
    outcome = told(Drawn({0: 0.5}, {118: "wrong", 217: "wrong"}), grid=Grid(64, 400))
    assert outcome.matches[0].search.places[400].sign == 1


def test_twins_are_told_within_what_and_what_more_would_cost() -> None:
    outcome = told(Drawn({0: 0.0}, wobble=0.004))
    assert outcome.exit_code == 3
    assert main_sentence(outcome) == f"{A} and {B} cannot be told apart: within ±0.401 % at all 4 places"
    assert any("are not expected to tell it" in line and "pairs that vary by" in line for line in sentences(outcome))
    assert outcome.pairs < 30


def test_a_lead_that_turns_more_than_once_is_no_single_point_and_the_document_has_it() -> None:
    beside = [*range(1, 128), *range(129, 200)]
    outcome = told(Drawn({0: -0.5, **dict.fromkeys(beside, 0.5)}))
    assert len(outcome.crossings) == 3
    low, high = outcome.crossings[0].low, outcome.crossings[-1].high
    turned = f"; not a single point: between {low} and {high} they change places more than once"
    assert main_sentence(outcome).endswith(turned)
    document = json_document(outcome)
    assert document["flips"] == [{"low": low, "high": high, "names": [B, A], "crossings": 3}]
    assert "tokens" not in document["setting"]


def test_what_is_too_dear_ends_the_axis_only_where_nothing_larger_was_measured() -> None:
    outcome = told(Drawn({0: 0.5}))
    match = outcome.matches[0]
    match.search.places[100] = AxisPlace(100)
    match.schedule.budget_s, match.schedule.costs = 1.0, {64: Cost(9, 9, 9, 1)}
    match.visit(9.0)
    assert any(line.startswith("T = 100: not measured: a first visit takes about") for line in sentences(outcome))


def test_where_no_pair_was_finished_it_is_said_what_to_type() -> None:
    said = [main_sentence(told(Drawn({0: 0.5}), seconds)) for seconds in (0.5, 30.0)]
    assert said[0].endswith("the budget was over before a pair was measured; type a longer one, such as --budget 20s")
    outcome = told(Drawn({0: 0.5}), 1.0)
    outcome.matches[0].schedule.budget_s = 60.0
    assert main_sentence(outcome).endswith("such as --budget 180s")


@pytest.mark.parametrize(("axis", "sign"), [("threads", "threads"), ("heads", "heads")])
def test_axes_of_few_numbers_are_all_visited(axis: str, sign: str) -> None:
    outcome = told(Drawn({0: 0.5, 1: -0.5}), grid=Grid(1, 4), axis=axis)
    assert main_sentence(outcome) == f"{A} is faster from {sign} >= 2 [1, 2]"
