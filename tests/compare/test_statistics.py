"""The statistics keep their level, agree with scipy, and refuse what is no time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attnbench.compare.statistics import (
    MIN_BURSTS,
    _samples_with_u,
    _tail_count,
    equivalent,
    ratio_interval,
    replicate_spread,
)
from attnbench.results.summary import Bursts

BURSTS = st.lists(st.floats(1e-5, 1e2), min_size=MIN_BURSTS, max_size=20)
SETTINGS = settings(max_examples=40, deadline=None)


@given(BURSTS, BURSTS)
@SETTINGS
def test_the_interval_holds_its_ratio_and_mirrors(base: list[float], head: list[float]) -> None:
    found, mirrored = ratio_interval(base, head), ratio_interval(head, base)
    assert found.low <= found.ratio <= found.high
    assert mirrored.ratio == pytest.approx(1 / found.ratio)
    assert mirrored.low == pytest.approx(1 / found.high)
    assert found.inverse.high == pytest.approx(mirrored.high)


@given(BURSTS, BURSTS, st.floats(0.01, 100.0))
@SETTINGS
def test_a_factor_on_one_side_is_a_factor_on_the_interval(base: list[float], head: list[float], factor: float) -> None:
    found, scaled = ratio_interval(base, head), ratio_interval(base, [factor * one for one in head])
    assert scaled.ratio == pytest.approx(factor * found.ratio)
    assert scaled.low == pytest.approx(factor * found.low)
    assert scaled.high == pytest.approx(factor * found.high)


@given(st.integers(0, 2**32 - 1), st.integers(MIN_BURSTS, 15), st.integers(MIN_BURSTS, 15))
@SETTINGS
def test_the_interval_is_where_scipys_test_does_not_reject(seed: int, n: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    base, head = rng.lognormal(size=n), rng.lognormal(size=m)
    found = ratio_interval(list(base), list(head))
    inside, outside = found.low * 1.0001, found.low * 0.9999
    assert stats.mannwhitneyu(head / inside, base).pvalue > 0.05
    assert stats.mannwhitneyu(head / outside, base).pvalue <= 0.05


@given(st.integers(1, 9), st.integers(1, 9), st.data())
@SETTINGS
def test_samples_are_built_with_the_statistic_asked_for(n: int, m: int, data: st.DataObject) -> None:
    u = data.draw(st.integers(0, n * m))
    first, second = _samples_with_u(n, m, u)
    assert (len(first), len(second)) == (n, m)
    assert stats.mannwhitneyu(first, second).statistic == u


def test_too_few_for_the_confidence_gives_an_unbounded_interval() -> None:
    found = ratio_interval([1.0, 1.1, 1.2], [5.0, 5.1, 5.2], confidence=0.99)
    assert (found.low, found.high) == (0.0, math.inf)
    assert found.inverse.high == math.inf
    assert _tail_count(3, 3, 0.01) is None


def test_coverage_is_what_it_says() -> None:
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(400):
        base, head = np.exp(0.02 * rng.standard_t(3, 12)), 1.1 * np.exp(0.02 * rng.standard_t(3, 12))
        found = ratio_interval(list(base), list(head))
        hits += found.low <= 1.1 <= found.high
    assert 0.93 <= hits / 400 <= 0.985


def test_the_spread_between_runs_widens_in_quadrature() -> None:
    rng = np.random.default_rng(3)
    base, head = (list(np.exp(0.01 * rng.standard_normal(20))) for _ in range(2))
    narrow, wide = ratio_interval(base, head), ratio_interval(base, head, spread=0.02)
    up = math.log(narrow.high / narrow.ratio)
    assert math.log(wide.high / wide.ratio) == pytest.approx(math.hypot(up, 1.959964 * 0.02), rel=1e-6)
    assert wide.ratio == narrow.ratio


def test_equivalence_needs_narrow_intervals() -> None:
    rng = np.random.default_rng(4)
    base, head = (list(np.exp(0.01 * rng.standard_normal(20))) for _ in range(2))
    assert equivalent(base, head, 0.05)
    assert not equivalent(base, [1.05 * one for one in head], 0.05)
    assert not equivalent(base, head, 0.05, spread=0.05)
    assert not equivalent(base[:3], head[:3], 0.05)


@pytest.mark.parametrize("bad", [[], [1.0, float("nan")], [1.0, 0.0], [-1.0], [float("inf")]])
def test_what_is_no_time_is_an_error_and_never_an_answer(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="head: times are finite and above 0"):
        ratio_interval([1.0] * 6, bad)


def test_replicates_show_the_spread_of_a_runs_level() -> None:
    apart = Bursts((1.0, 1.0, 1.1, 1.1), (0, 0, 1, 1))
    assert replicate_spread(apart) == pytest.approx(stats.sem([0.0, math.log(1.1)]))
    assert replicate_spread(Bursts((1.0, 2.0), (0, 0))) == 0.0
