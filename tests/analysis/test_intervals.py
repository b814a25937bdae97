"""Intervals over seeds: their coverage, and their edges."""

import math

import numpy as np
import pytest

from attnbench.analysis.intervals import Interval, geometric_interval, mean_interval


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    intervals = [mean_interval(row) for row in rng.standard_normal((1000, 8))]
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals)
    assert 930 <= covered <= 970


def test_one_seed_says_nothing_about_others() -> None:
    assert mean_interval([2.0]) == Interval(2.0, -math.inf, math.inf, 1)


def test_equal_values_have_no_width() -> None:
    assert mean_interval([1.0, 1.0, 1.0]) == Interval(1.0, 1.0, 1.0, 3)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [math.inf]])
def test_values_that_are_not_finite_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval(values)


def test_ratios_are_averaged_on_the_log_scale() -> None:
    interval = geometric_interval([0.5, 2.0])
    assert interval.value == pytest.approx(1.0)
    assert interval.low * interval.high == pytest.approx(1.0)
    with pytest.raises(ValueError, match="above 0"):
        geometric_interval([1.0, 0.0])


def test_text_has_no_negative_zero() -> None:
    assert Interval(-1e-9, -0.5, 1.0, 8).text() == "0.000 [-0.500, 1.000]"
    assert Interval(1.5, 1.5, 1.5, 1).text(".2f") == "1.50"
    assert Interval(1.5, -math.inf, math.inf, 1).text() == "1.500 [-inf, inf]"
