"""One place: when a sign is sure, and that noise alone makes it sure no more often than is said."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnbench.crossover.evidence import (
    ERROR,
    MOST_PAIRS,
    MOST_PLACES,
    PLAIN,
    RANKED,
    AxisPlace,
    hopeless,
    pairs_needed,
    rules_for,
    spread_of,
    sure,
    within,
)
from tests.crossover.simulated import recorded

ONE_SIDE = ERROR / MOST_PLACES


def heard(*values: float) -> AxisPlace:
    place = AxisPlace(100)
    for value in values:
        place.add(value)
    return place


def test_three_pairs_far_from_one_are_enough_and_two_are_not() -> None:
    assert heard(0.3, 0.3).sign == 0
    assert heard(0.3, 0.5, 0.3).sign == 1
    assert heard(-0.3, -0.5, -0.3).sign == -1
    assert heard(0.3, 0.5, 0.2).sign == 0


def test_five_pairs_clear_of_one_are_enough() -> None:
    assert heard(0.12, 0.13, 0.12, 0.13).sign == 0
    assert heard(0.12, 0.13, 0.12, 0.13, 0.12).sign == 1
    assert heard(0.12, 0.13, 0.12, 0.13, -0.12).sign == 0


def test_ten_small_ones_to_one_side_are_enough_and_one_to_the_other_side_takes_more() -> None:
    assert heard(*[0.01] * 9).sign == 0
    assert heard(*[0.01] * 10).sign == 1
    values = [0.01 + i / 1e4 for i in range(9)]
    spoilt = heard(*values, -0.2)
    assert spoilt.sign == 0
    for value in values[:6]:
        spoilt.add(value)
    assert (len(spoilt.values), spoilt.sign) == (16, 1)


def test_between_looks_nothing_is_asked_and_what_is_sure_stays() -> None:
    assert sure([0.01] * 11, rules_for(1)) == 0
    place = heard(0.5, 0.5, 0.5)
    place.add(-0.5)
    assert place.sign == 1


@pytest.mark.parametrize("matches", [1, 3, 6, 10, 15])
def test_all_pairs_of_names_together_spend_no_more_than_the_error(matches: int) -> None:
    rules = rules_for(matches)
    plain = sum(chance**pairs for (pairs, _), (_, chance, _) in zip(rules.plain, PLAIN, strict=True))
    assert matches * MOST_PLACES * (plain + rules.ranked_error) <= ERROR + 1e-12
    assert sum(RANKED.shares) <= 1 + 1e-9
    assert rules.ranked, "and there are looks at which a sign can be sure"


def test_of_two_names_the_rules_are_those_of_the_page_and_of_more_they_take_more_pairs() -> None:
    assert rules_for(1).plain == ((3, 1.25), (5, 1.12), (7, 1.06))
    assert rules_for(3).plain == ((4, 1.25), (6, 1.12), (8, 1.06))
    assert [min(rules_for(matches).ranked) for matches in (1, 3, 15)] == [10, 13, 16]
    with pytest.raises(ValueError, match="one match or more"):
        rules_for(0)


def test_what_cannot_become_sure_in_the_pairs_that_are_left_is_given_up() -> None:
    values = [0.004, -0.004] * 5
    assert hopeless(heard(*values), 0.03, 99), "64 pairs are not enough for 0.5 of a standard error"
    assert not hopeless(heard(*values[:8]), 0.03, 99), "too early"
    clear = heard(*[0.02] * 8, -0.01, 0.02)
    assert not hopeless(clear, 0.03, 40)
    assert hopeless(clear, 0.03, 2), "no time"


def test_within_what_nobody_leads_holds_and_has_no_number_after_few_pairs() -> None:
    rng, wrong = np.random.default_rng(2), 0
    for _ in range(40):
        places = [heard(*(0.02 + 0.03 * rng.standard_normal(16))) for _ in range(8)]
        wrong += within(places) < math.exp(0.02)
    assert wrong <= 3
    assert within([heard(*[0.01] * 5)]) == math.inf
    assert within([]) == math.inf


@pytest.mark.parametrize("worst", [False, True], ids=["all runs", "the three worst"])
def test_recorded_noise_is_as_rarely_far_from_one_as_the_plain_rule_takes_it_to_be(worst: bool) -> None:
    noise = recorded(worst=worst)
    for factor, chance, _ in PLAIN:
        beyond = max((noise > math.log(factor)).mean(), (noise < -math.log(factor)).mean())
        assert beyond < chance, f"beyond {factor} to one side in {beyond:.3f}"


@pytest.mark.parametrize("law", ["normal", "heavy", "recorded"])
def test_a_place_at_which_both_are_equal_is_sure_no_more_often_than_its_share(law: str) -> None:
    rng, cells = np.random.default_rng(1), 200
    shape = (cells, MOST_PAIRS)
    draws = {
        "normal": rng.normal(0, 0.03, shape),
        "heavy": 0.02 * rng.standard_t(2, shape),
        "recorded": rng.choice(recorded(), shape) * rng.choice((-1, 1), shape),
    }
    wrong = 0
    for values in draws[law]:
        place = AxisPlace(1)
        for value in values:
            place.add(float(value))
        wrong += place.sign != 0
    # Both sides together; three standard errors of the count.
    assert wrong / cells <= 2 * ONE_SIDE + 3 * math.sqrt(2 * ONE_SIDE / cells)


def test_noise_that_is_never_centred_is_seen() -> None:
    assert heard(*[0.02] * 10).sign == 1, "the planted fault of the test above: it can fail"


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        AxisPlace(1).add(math.nan)


def test_the_price_falls_with_the_ratio_and_has_no_number_at_one() -> None:
    near, far = heard(0.02, 0.021, 0.02), heard(0.05, 0.051, 0.05)
    assert pairs_needed(far, 0.03) == 7
    assert (pairs_needed(near, 0.03) or 0) > 7
    assert pairs_needed(heard(0.0, 0.0), 0.03) is None
    assert spread_of([near]) < 0.01
