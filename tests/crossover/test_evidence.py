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
    RANKED_ERROR,
    AxisPlace,
    pairs_needed,
    spread_of,
    sure,
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


def test_the_shares_of_the_error_are_no_more_than_all_of_it() -> None:
    plain = sum(chance**pairs for pairs, _, chance in PLAIN)
    assert plain + RANKED_ERROR <= ONE_SIDE + 1e-12
    assert sum(RANKED.shares) <= 1 + 1e-9


@pytest.mark.parametrize("worst", [False, True], ids=["all runs", "the three worst"])
def test_recorded_noise_is_as_rarely_far_from_one_as_the_plain_rule_takes_it_to_be(worst: bool) -> None:
    noise = recorded(worst=worst)
    for _, factor, chance in PLAIN:
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
