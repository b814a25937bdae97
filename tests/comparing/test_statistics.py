"""The statistics keep their level, agree with scipy, and refuse what is no time."""

import itertools
import math
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attnbench.comparing import statistics
from attnbench.comparing.statistics import (
    MIN_BURSTS,
    Differences,
    equivalent,
    ratio_interval,
    replicate_spread,
    tail_count,
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


@pytest.mark.parametrize("alpha", [1 - 0.95, 1 - 0.9, 0.01, 0.05 / 21])
def test_as_many_differences_are_cut_off_as_scipys_test_rejects(alpha: float) -> None:
    """Exactly where a side has up to eight bursts, by the normal distribution beyond, as scipy has it."""
    for n, m in [*itertools.product(range(1, 10), (1, 4, 7)), (8, 14), (9, 14), (12, 14)]:
        rejected = [u for u in range(n * m // 2) if _scipys_p(n, m, u) <= alpha]
        assert tail_count(n, m, alpha) == (max(rejected) if rejected else None), (n, m)


def _scipys_p(n: int, m: int, u: int) -> float:
    """The p-value of two samples without ties for which exactly u pairs have the first above the second."""
    whole, rest = divmod(u, m)
    above = [m + 1.0 + i for i in range(whole)]
    between = [rest + 0.5] if whole < n else []
    below = [-1.0 - i for i in range(n - whole - len(between))]
    return float(stats.mannwhitneyu(above + between + below, [1.0 + i for i in range(m)]).pvalue)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 7, 100]))
@settings(max_examples=150, deadline=None)
def test_differences_are_selected_to_the_last_bit(seed: int, n: int, m: int, at_once: int) -> None:
    """Ties included: every order statistic is the one of all differences, written out and sorted."""
    rng = np.random.default_rng(seed)
    base, head = np.log(rng.lognormal(sigma=0.1, size=n)), np.log(rng.lognormal(sigma=0.1, size=m))
    if seed % 3:
        base, head = np.round(base, seed % 3), np.round(head, seed % 3)
    dense = np.sort(np.subtract.outer(head, base), axis=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "AT_ONCE", at_once)
        selected = Differences(base, head)
        assert selected.median() == float(np.median(dense))
        for k in {0, n * m - 1, n * m // 3, n * m // 2}:
            assert selected.at(k) == float(dense[k])


@pytest.mark.parametrize(("n", "m"), [(20_000, 20_000), (7, 6_000)])
@pytest.mark.parametrize("digits", [3, 15])
def test_tens_of_thousands_of_rounds_take_megabytes(n: int, m: int, digits: int) -> None:
    """All pairwise differences of 20,000 rounds are 3.2 GB; and scipy's exact test of 7 and 6,000 takes seconds."""
    rng = np.random.default_rng(5)
    base, head = (
        np.round(rng.lognormal(sigma=0.01, size=n), digits),
        np.round(rng.lognormal(sigma=0.01, size=m), digits),
    )
    tracemalloc.start()
    interval = ratio_interval(list(base), list(1.1 * head))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60 * 2**20
    assert interval.ratio == pytest.approx(1.1, rel=0.01)
    assert interval.low <= interval.ratio <= interval.high < 1.02 * interval.low


def test_a_selection_looks_at_every_row_a_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each pivot every row is halved: the pivots are few, whatever the numbers."""
    rng, pivots, pivot = np.random.default_rng(6), list[int](), Differences._pivot

    def counted(self: Differences, low: Any, high: Any) -> float:
        pivots.append(1)
        return pivot(self, low, high)

    monkeypatch.setattr(statistics, "AT_ONCE", 1000)
    monkeypatch.setattr(Differences, "_pivot", counted)
    for sigma in (1e-6, 0.01, 3.0):
        pivots.clear()
        Differences(sigma * rng.standard_normal(3000), sigma * rng.standard_t(1, 3000)).at(1_234_567)
        assert len(pivots) <= 33  # log(9,000,000 / 1000) / log(4/3), and one more


def test_too_few_for_the_confidence_gives_an_unbounded_interval() -> None:
    found = ratio_interval([1.0, 1.1, 1.2], [5.0, 5.1, 5.2], confidence=0.99)
    assert (found.low, found.high) == (0.0, math.inf)
    assert found.inverse.high == math.inf
    assert tail_count(3, 3, 0.01) is None


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


def test_replicates_are_told_apart_in_one_pass() -> None:
    """One process for each round, as pyperf may have: 20,000 of them looked at one by one are 400 million values."""
    looked_at = 0

    class Counted(tuple[float, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[float]:
            nonlocal looked_at
            looked_at += len(self)
            return super().__iter__()

    values = Counted(float(i) for i in range(1, 20_001))
    assert replicate_spread(Bursts(values, tuple(range(20_000)))) == pytest.approx(stats.sem(np.log(list(values))))
    assert looked_at <= 3 * 20_000
