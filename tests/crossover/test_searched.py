"""How often searches are right, of two names and of several: a few here, 200 of each as a proof."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnbench.crossover.evidence import SignRules, rules_for
from attnbench.crossover.search import Grid
from tests.crossover.searched import PAGE, SEVERAL, all_searched, searched
from tests.crossover.simulated import (
    CURVES,
    START_S,
    THREE,
    THREE_CROSS,
    THREE_TWINS,
    VISIT_S,
    Machine,
    all_walked,
    drawn_from,
    recorded,
)


def test_of_three_names_the_two_crossings_of_those_that_lead_are_told() -> None:
    seen = all_searched(THREE, THREE_CROSS, drawn_from(recorded()), 6, budget_s=400)
    assert seen.right == 6
    assert seen.counts[2] == 6, "the crossing of the first and the third is of no use: the second leads there"


@pytest.mark.parametrize("seed", [10, 11])
def test_a_match_that_was_given_up_by_its_share_of_the_time_is_asked_again_once_the_others_are_done(seed: int) -> None:
    """After ten pairs the place of A and B needs about thirty more, and a third of the time that is left is less."""
    times = {"a": lambda _: 0.0, "b": lambda _: 0.012, "c": lambda _: 0.03}
    machine = Machine(drawn_from(recorded()), np.random.default_rng(seed), budget_s=100 * (START_S + VISIT_S))
    said = all_walked(times, machine, Grid(64, 64))
    assert (said.word, said.stretches[0].names) == ("none", ("a",))
    assert len(said.searches["a", "b"].places[64].values) == 36


def test_of_three_twins_nobody_is_told_to_lead() -> None:
    seen = all_searched(THREE_TWINS, {}, drawn_from(recorded()), 10)
    assert seen.words == {"cannot-be-told": 10}
    assert seen.right >= 9


def test_the_error_of_one_pair_of_names_given_to_each_of_three_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that the tests of several names can fail: rules that spend far too much."""
    loose = SignRules(((1, 1.02),), rules_for(1).ranked_error)
    monkeypatch.setattr("tests.crossover.simulated.rules_for", lambda _: loose)
    assert all_searched(THREE_TWINS, {}, drawn_from(recorded()), 5).right < 3


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("name", CURVES)
def test_two_hundred_searches_of_each_curve_are_those_of_the_page(name: str) -> None:
    """At least 95 of 100 answers hold."""
    seen = searched(name, drawn_from(recorded()))
    assert seen.right >= 190, seen
    assert seen.row(name) in PAGE.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("name", CURVES)
def test_two_hundred_searches_in_the_noise_of_the_three_worst_runs(name: str) -> None:
    assert searched(name, drawn_from(recorded(worst=True))).right >= 190


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("worst", [False, True], ids=["all", "worst"])
@pytest.mark.parametrize("name", SEVERAL)
def test_two_hundred_answers_of_three_names(name: str, worst: bool) -> None:
    """All signs of an answer hold together in at least 95 of 100, three standard errors of the count allowed."""
    times, truth = SEVERAL[name]
    seen = all_searched(times, truth, drawn_from(recorded(worst=worst)))
    assert seen.searches - seen.right <= 200 * 0.05 + 3 * math.sqrt(200 * 0.05 * 0.95)
    assert worst or seen.row(name) in PAGE.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.proof
def test_without_the_split_three_twins_are_wrong_more_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """By normal noise, in which the ranks spend what they may."""

    def normal(rng: np.random.Generator, count: int) -> np.ndarray:
        return rng.normal(0, 0.02, count)

    split = all_searched(THREE_TWINS, {}, normal, budget_s=600)
    rules = rules_for(1)
    monkeypatch.setattr("tests.crossover.simulated.rules_for", lambda _: rules)
    whole = all_searched(THREE_TWINS, {}, normal, budget_s=600)
    assert whole.right < split.right
